"""The one file of live trading that knows ccxt: it signs and sends, and answers come back as they were.

ccxt's own reading of errors is replaced: status, code and text go to the table in `outcomes`, which decides. Nothing is
retried here.
"""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

from qtsim.errors import QtsimError
from qtsim.live.binance.hosts import Hosts
from qtsim.live.latency import leaves
from qtsim.live.outcomes import NOT_SENT, Answer
from qtsim.live.redaction import Secret

EXTRA = 'pip install "qtsim[live]"'
TIMEOUT_MS = 10_000


class ExtraMissingError(QtsimError):
    """A library of the extra `live` is not installed."""


class RefusedError(Exception):
    """An answer that is no success, or none at all."""

    def __init__(self, answer: Answer, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"HTTP {answer.http} code {answer.code}: {answer.text}")
        self.answer = answer
        self.headers = headers or {}


def answer_of(status: int, body: str) -> Answer:
    """Status, code and text of a body, which may be anything."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        content = json.loads(body)
        code = int(content.get("code", 0))
        return Answer(status, code, str(content.get("msg", ""))[:300])
    return Answer(status, 0, " ".join(body.split())[:200])


class Client:
    """One connection to the REST interface. Every call raises RefusedError where it is not a plain success."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange
        self.headers: dict[str, str] = {}
        self.unanswered = 0  # requests under way

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Send one request by ccxt's name for it. Returns the JSON.

        Raises
        ------
        RefusedError
            Anything else than a 200 with JSON in it.
        """
        exchange = self._exchange
        exchange.last_response_headers = {}
        self.unanswered += 1
        try:
            found = await getattr(exchange, method)(params or {})
        except RefusedError:
            self.headers = _lower(exchange.last_response_headers) or self.headers
            raise
        except Exception as error:  # ccxt wraps every failure of the transport in classes of its own
            raise RefusedError(Answer(0, 0, _reason(error))) from None
        finally:
            self.unanswered -= 1
        self.headers = _lower(exchange.last_response_headers) or self.headers
        if not isinstance(found, (dict, list)):
            raise RefusedError(Answer(0, 0, "the answer is no JSON"))
        return found

    def set_time_difference(self, ms: int) -> None:
        """This machine's clock less the exchange's: taken off every timestamp."""
        self._exchange.options["timeDifference"] = ms

    def local_ms(self) -> int:
        """This machine's clock, ms; that of the transport where it has its own."""
        return int(self._exchange.milliseconds())

    async def close(self) -> None:
        """Close its connections."""
        await self._exchange.close()


def open_client(
    hosts: Hosts, key: Secret, secret: Secret, *, recv_window_ms: int, mixins: tuple[type, ...] = (), **more: Any
) -> Client:
    """A client of these hosts. mixins: classes before ccxt's, such as another transport.

    Raises
    ------
    ExtraMissingError
        ccxt is not installed.
    """
    try:
        import ccxt.async_support as ccxt
    except ImportError as error:
        raise ExtraMissingError(f"live trading needs ccxt: {EXTRA}") from error
    logging.getLogger("ccxt").setLevel(logging.WARNING)  # at DEBUG it writes headers

    def handle_errors(
        self: Any, status: int, reason: str, url: str, method: str, headers: Any, body: Any, *rest: Any
    ) -> None:
        text = body if isinstance(body, str) else ""
        found = answer_of(int(status), text)
        if int(status) != 200 or found.code < 0:
            raise RefusedError(found, _lower(headers))
        if not text.strip():
            raise RefusedError(Answer(200, 0, "no order id"))

    base: Any = type("Futures", (*mixins, ccxt.binanceusdm), {"handle_errors": handle_errors})

    async def fetch(self: Any, *request: Any, **named: Any) -> Any:
        leaves()
        return await base.fetch(self, *request, **named)

    made = type("Futures", (base,), {"fetch": fetch})
    exchange = made(
        {
            "apiKey": key.reveal(),
            "secret": secret.reveal(),
            "timeout": TIMEOUT_MS,
            "enableRateLimit": False,
            "options": {"recvWindow": recv_window_ms, "fetchCurrencies": False},
        }
    )
    for name, value in more.items():
        setattr(exchange, name, value)
    for name, path in (("fapiPublic", "v1"), ("fapiPrivate", "v1"), ("fapiPrivateV2", "v2"), ("fapiPrivateV3", "v3")):
        exchange.urls["api"][name] = f"{hosts.rest}/fapi/{path}"
    exchange.urls["api"]["sapi"] = f"{hosts.wallet or hosts.rest}/sapi/v1"
    return Client(exchange)


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in (headers or {}).items()}


def _reason(error: Exception) -> str:
    """What went wrong on the way, without addresses; a connection that was never made is said to be so."""
    cause = error.__cause__ or error
    name = type(cause).__name__
    if name in ("ClientConnectorError", "ClientConnectorDNSError", "gaierror", "ConnectionRefusedError"):
        return f"{NOT_SENT}: {name}"
    return name
