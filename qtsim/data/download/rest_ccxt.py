"""The one file of the download that knows ccxt, which comes with the extra `live`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from qtsim.data.download.fetch import asked_pause_s, check_url
from qtsim.data.download.rest import BUSY_PAUSE_S, Call, Rest, RestError, RestRefusedError, TryAgainError
from qtsim.errors import QtsimError

VENUE_URL = "https://fapi.binance.com"
EXTRA = 'pip install "qtsim[live]"'

_METHODS = {
    "time": "fapiPublicGetTime",
    "klines": "fapiPublicGetKlines",
    "markPriceKlines": "fapiPublicGetMarkPriceKlines",
    "fundingRate": "fapiPublicGetFundingRate",
    "exchangeInfo": "fapiPublicGetExchangeInfo",
    "leverageBracket": "fapiPrivateGetLeverageBracket",
}
"""ccxt's methods that send one request and nothing else: `load_markets` with a key would ask the spot wallet too."""
_BANNED = 418
_NOT_FOR_YOU = (401, 403, 451)
_MESSAGE_LENGTH = 160


class ExtraMissingError(QtsimError):
    """ccxt is not installed."""


@contextmanager
def open_rest(url: str, *, tries: int, timeout_s: float, key: str = "", secret: str = "") -> Iterator[Rest]:
    """Give access to the REST interface.

    Parameters
    ----------
    url : str
        The address, without a path.
    tries, timeout_s
        Attempts per request, and how long one may take.
    key, secret : str
        For signed requests; they are sent to no one else and appear in no message.

    Raises
    ------
    ExtraMissingError
        ccxt is not installed; the message names the extra.
    """
    url = check_url("data.rest_url", url)
    try:
        import ccxt
    except ImportError as error:
        raise ExtraMissingError(f"the REST interface needs ccxt: {EXTRA}") from error
    exchange = ccxt.binanceusdm({"timeout": int(timeout_s * 1000), "apiKey": key, "secret": secret})
    exchange.session.trust_env = True  # the same proxy as for archives
    for name, version in (("fapiPublic", "v1"), ("fapiPrivate", "v1")):
        exchange.urls["api"][name] = f"{url}/fapi/{version}"
    try:
        yield Rest(_caller(ccxt, exchange), urlsplit(url).netloc, tries=tries)
    finally:
        exchange.session.close()


def _caller(ccxt: Any, exchange: Any) -> Call:
    """Turn ccxt's answers and exceptions into this package's."""

    def call(endpoint: str, params: Mapping[str, Any]) -> Any:
        exchange.last_response_headers = None
        try:
            return getattr(exchange, _METHODS[endpoint])(dict(params))
        except ccxt.NetworkError as error:
            raise _network_error(ccxt, exchange, error) from error
        except ccxt.BaseError as error:
            raise RestRefusedError(f"{endpoint}: {_plain(error)}") from error

    return call


def _network_error(ccxt: Any, exchange: Any, error: Exception) -> Exception:
    """Tell what may pass from what will not."""
    text = _plain(error)
    headers = {str(name).lower(): str(value) for name, value in (exchange.last_response_headers or {}).items()}
    status = next((int(code) for code in re.findall(r"\b([45]\d\d)\b", text)), 0)
    if status in _NOT_FOR_YOU:
        return RestError(f"{text}; the exchange may not serve the place that you are in")
    pause = asked_pause_s(headers.get("retry-after"))
    if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
        if status == _BANNED and not pause:
            return RestError(f"this address is banned for a while: {text}")
        return TryAgainError(text, pause_s=pause or BUSY_PAUSE_S, is_refusal=True)
    return TryAgainError(text, pause_s=pause, is_refusal=bool(headers))


def _plain(error: Exception) -> str:
    """A message in one short line, without the query of an address, which for signed requests holds the signature."""
    text = " ".join(re.sub(r"\?\S*", "", str(error)).split()).removeprefix("binanceusdm ")
    return text if len(text) <= _MESSAGE_LENGTH else text[:_MESSAGE_LENGTH] + "…"
