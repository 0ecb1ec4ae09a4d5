"""What goes wrong, decided by a seed and a script: pure, the same faults for the same requests each time.

Every request and every stream frame has a number. Whether something happens to it depends on the seed, its kind and its
number alone, so that dropping one fault from a plan leaves the others where they were.
"""

from __future__ import annotations

import json
import random
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from qtsim.emulator.streams import PRIVATE, Delivery
from qtsim.errors import UsageError

LOST_BEFORE, LOST_AFTER = "before", "after"

REQUEST_KINDS = (
    "drop_before",  # the request never arrives, the connection closes
    "drop_after",  # it is executed, the answer is lost
    "late",  # it is held back, then executed and answered
    "slow",  # it is executed at once and answered late
    "http_429",
    "http_418",
    "unknown_503",  # A: may have been executed; every second one is
    "unavailable_503",  # B: not executed
    "overloaded_503",  # C: -1008, not executed; orders that only reduce are exempt
    "internal_503",  # D: not executed
    "timeout_1007",  # executed or not, as 503 A
    "bus_1006",
    "http_408",
    "timestamp_1021",
    "html",  # executed or not, the answer is no JSON
    "garbled",  # executed, the answer is cut
    "empty",  # executed, 200 without a body
    "reject",  # refused with the code of the script
    "partial",  # a market order fills in part and the rest expires
)
FRAME_KINDS = ("event_drop", "event_duplicate", "event_delay", "event_reorder", "disconnect")
OTHER_KINDS = ("stuck_trigger",)
KINDS = (*REQUEST_KINDS, *FRAME_KINDS, *OTHER_KINDS)
EARLIEST_ABSOLUTE_MS = 10**12
WRITES = ("POST", "PUT", "DELETE")


@dataclass(frozen=True)
class RequestFault:
    """What happens to one request."""

    kind: str
    hold_ms: int = 0
    """Before it is executed."""
    answer_delay_ms: int = 0
    executes: bool = True
    lost: bool = False
    """No answer: the connection closes."""
    status: int = 0
    """Of an answer in place of the exchange's own; 0 its own."""
    body: str = ""
    code: int = 0
    share: float = 1.0
    """Of a market order that is filled."""

    @property
    def replaces(self) -> bool:
        """Does the client get another answer than the exchange's?"""
        return bool(self.status)


@dataclass(frozen=True)
class Scripted:
    """One fault at the nth request (from 1) of an endpoint: `POST order`, `GET algoOrder`, or `*` for any."""

    endpoint: str
    nth: int
    kind: str
    hold_ms: int = 2000
    code: int = -2019
    executes: bool = True
    share: float = 0.5
    times: int = 1
    """How many requests in a row; 0: all from the nth on."""

    def __post_init__(self) -> None:
        """Raise UsageError for a kind that there is not."""
        if self.kind not in REQUEST_KINDS:
            raise UsageError(f"fault {self.kind!r} at {self.endpoint}: there are {', '.join(REQUEST_KINDS)}")

    def meets(self, endpoint: str, count: int) -> bool:
        """Is it this request's turn?"""
        return (
            self.endpoint in ("*", endpoint) and self.nth <= count and (not self.times or count < self.nth + self.times)
        )


@dataclass(frozen=True)
class ForeignAction:
    """Somebody else uses the account: `trade` a signed quantity at market, `cancel` all orders, `cancel_algos`."""

    at_ms: int
    what: str
    symbol: str
    qty: str = "0"
    position_side: str = "BOTH"

    def __post_init__(self) -> None:
        """Raise UsageError for something that cannot be done."""
        if self.what not in ("trade", "cancel", "cancel_algos"):
            raise UsageError(f"foreign action {self.what!r}: there are trade, cancel, cancel_algos")


@dataclass(frozen=True)
class FaultPlan:
    """Rates per request or frame, a script, and what happens at given times. The empty plan does nothing.

    Times are ms of the market's clock, except outages and the expiry of the listen key, which are ms of the wall. A
    time below 10¹² (the year 2001) counts from the start of the exchange.
    """

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    """Kind → probability, of requests only those that write (orders, cancels) unless `reads` is set."""
    reads: bool = False
    script: tuple[Scripted, ...] = ()
    late_ms: tuple[int, int] = (1000, 8000)
    frame_delay_ms: tuple[int, int] = (50, 3000)
    latency_ms: tuple[int, int] = (0, 0)
    """Market time that orders and cancels take to arrive, drawn evenly for each."""
    until_request: int = 0
    """Rates act up to this request number; 0 always."""
    query_lag_ms: int = 0
    """New orders are not found (-2013) for so long."""
    lists_lag: bool = False
    """Nor are they among the open orders."""
    stuck_triggers: tuple[int, ...] = ()
    """Numbers (from 1) of triggers that stay TRIGGERING without a child order."""
    foreign: tuple[ForeignAction, ...] = ()
    outages: tuple[tuple[int, int], ...] = ()
    """(from, to) of the wall in which the exchange does not answer at all; its streams end when one begins."""
    listen_key_expires_ms: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Raise UsageError for rates of kinds that there are not, or that are no probability."""
        for kind, rate in self.rates.items():
            if kind not in KINDS or kind in ("reject", "partial"):
                raise UsageError(f"fault rate {kind!r}: there are {', '.join(KINDS)}; reject and partial are scripted")
            if not 0.0 <= rate <= 1.0:
                raise UsageError(f"fault rate {kind} = {rate}: it is a probability, 0 to 1")
        for name in ("latency_ms", "late_ms", "frame_delay_ms"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise UsageError(f"fault plan: {name} = [{low}, {high}]: lowest first, and neither below 0")


class Faults:
    """A plan in use: counts requests, frames and triggers, and tells what happens to each."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.requests = 0
        self.frames = 0
        self.triggers = 0
        self.counts: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()

    def of_request(self, method: str, endpoint: str) -> RequestFault | None:
        """The fault of the next request; endpoint without version."""
        name = f"{method} {endpoint}"
        self.requests += 1
        self.counts[name] += 1
        fault = self._scripted(name) or self._drawn(method)
        if fault is not None:
            self.injected[fault.kind] += 1
        return fault

    def latency_ms(self) -> int:
        """How long the last request travels, if it is an order or a cancel."""
        low, high = self.plan.latency_ms
        return low if low == high else self._rng("latency", self.requests, "ms").randint(low, high)

    def of_frame(self, base: str, kind: str) -> Delivery:
        """How the next stream frame travels. Rates act on user streams; the market's frames are only disconnected."""
        self.frames += 1
        delivery = Delivery()
        for fault in FRAME_KINDS:
            if (base == PRIVATE or fault == "disconnect") and self._happens(fault, self.frames):
                self.injected[fault] += 1
                delay = self._rng(fault, self.frames, "ms").randint(*self.plan.frame_delay_ms)
                delivery = _changed(delivery, fault, delay)
        return delivery

    def sticks(self) -> bool:
        """Does the next trigger get stuck?"""
        self.triggers += 1
        stuck = self.triggers in self.plan.stuck_triggers or self._happens("stuck_trigger", self.triggers)
        self.injected["stuck_trigger"] += int(stuck)
        return stuck

    def is_out(self, wall_ms: int, began_ms: int) -> bool:
        """Does the exchange, started at `began_ms`, not answer at this time?"""
        outages = ((since(start, began_ms), since(end, began_ms)) for start, end in self.plan.outages)
        return any(start <= wall_ms < end for start, end in outages)

    def _scripted(self, name: str) -> RequestFault | None:
        for fault in self.plan.script:
            count = self.requests if fault.endpoint == "*" else self.counts[name]
            if fault.meets(name, count):
                return made_fault(fault.kind, fault.hold_ms, fault.executes, fault.code, fault.share)
        return None

    def _drawn(self, method: str) -> RequestFault | None:
        plan = self.plan
        if not plan.rates or (method not in WRITES and not plan.reads):
            return None
        if plan.until_request and self.requests > plan.until_request:
            return None
        for kind in REQUEST_KINDS:
            if self._happens(kind, self.requests):
                rng = self._rng(kind, self.requests, "how")
                return made_fault(kind, rng.randint(*plan.late_ms), rng.random() < 0.5)
        return None

    def _happens(self, kind: str, number: int) -> bool:
        rate = self.plan.rates.get(kind, 0.0)
        return rate > 0.0 and self._rng(kind, number, "whether").random() < rate

    def _rng(self, kind: str, number: int, what: str) -> random.Random:
        return random.Random(f"{self.plan.seed}:{kind}:{number}:{what}")


def since(ms: int, began_ms: int) -> int:
    """A plan's time as an absolute one."""
    return ms + began_ms if ms < EARLIEST_ABSOLUTE_MS else ms


def made_fault(
    kind: str, hold_ms: int = 2000, executes: bool = True, code: int = -2019, share: float = 0.5
) -> RequestFault:
    """The fault of a kind. executes: of those whose outcome is unknown to the client, whether it was executed."""
    unknown = "Unknown error, please check your request or try again later."
    answers: dict[str, tuple[bool, int, str]] = {
        "http_429": (False, 429, _error(-1003, "Too many requests; current limit of IP is 2400 requests per minute.")),
        "unknown_503": (executes, 503, _error(-1000, unknown)),
        "unavailable_503": (False, 503, "Service Unavailable."),
        "overloaded_503": (False, 503, _error(-1008, "Request throttled by system-level protection.")),
        "internal_503": (
            False,
            503,
            _error(-1001, "Internal error; unable to process your request. Please try again."),
        ),
        "timeout_1007": (
            executes,
            408,
            _error(-1007, "Timeout waiting for response from backend server. Send status unknown."),
        ),
        "bus_1006": (executes, 400, _error(-1006, "An unexpected response was received from the message bus.")),
        "http_408": (executes, 408, "Request Timeout"),
        "timestamp_1021": (False, 400, _error(-1021, "Timestamp for this request is outside of the recvWindow.")),
        "html": (executes, 502, "<html><head><title>502 Bad Gateway</title></head></html>"),
    }
    if kind in answers:
        executed, status, body = answers[kind]
        return RequestFault(kind, executes=executed, status=status, body=body)
    simple: dict[str, RequestFault] = {
        "drop_before": RequestFault(kind, executes=False, lost=True),
        "drop_after": RequestFault(kind, lost=True),
        "late": RequestFault(kind, hold_ms=hold_ms),
        "slow": RequestFault(kind, answer_delay_ms=hold_ms),
        "http_418": RequestFault(kind, executes=False, hold_ms=0),
        "garbled": RequestFault(kind),
        "empty": RequestFault(kind),
        "reject": RequestFault(kind, executes=False, code=code),
        "partial": RequestFault(kind, share=share),
    }
    return simple[kind]


def _error(code: int, msg: str) -> str:
    return json.dumps({"code": code, "msg": msg}, separators=(",", ":"))


def _changed(delivery: Delivery, fault: str, delay_ms: int) -> Delivery:
    if fault == "event_drop":
        return delivery._replace(copies=0)
    if fault == "event_duplicate":
        return delivery._replace(copies=delivery.copies * 2)
    if fault == "event_delay":
        return delivery._replace(delay_ms=delivery.delay_ms + delay_ms)
    if fault == "event_reorder":
        return delivery._replace(delay_ms=delivery.delay_ms + delay_ms, keeps_order=False)
    return delivery._replace(disconnects=True)


def read_plan(path: Path, seed: int | None = None) -> FaultPlan:
    """A plan from a TOML or JSON file with the fields of `FaultPlan`; `seed` replaces the file's.

    Raises
    ------
    UsageError
        The file cannot be read, is no TOML or JSON, or names something that there is not.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the fault plan: {getattr(error, 'strerror', None) or error}") from None
    try:
        content: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise UsageError(f"{path}: neither TOML nor JSON as its name says: {error}") from None
    known = {item.name for item in fields(FaultPlan)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise UsageError(f"{path}: no field {unknown[0]!r}; a fault plan has {', '.join(sorted(known))}")
    try:
        values = {name: _field(name, value) for name, value in content.items()}
        if seed is not None:
            values["seed"] = seed
        return FaultPlan(**values)
    except (TypeError, ValueError, UsageError) as error:
        raise UsageError(f"{path}: {error}") from None


def _field(name: str, value: Any) -> Any:
    if name == "script":
        return tuple(Scripted(**item) for item in value)
    if name == "foreign":
        return tuple(ForeignAction(**item) for item in value)
    if name == "outages":
        return tuple((int(start), int(end)) for start, end in value)
    return tuple(value) if isinstance(value, list) else value
