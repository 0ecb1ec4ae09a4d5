"""What archives do not have (yet), over the exchange's REST interface: pages, retries, and the open bar left out.

Knows nothing of ccxt: it is given a function that sends one request (`rest_ccxt.open_rest` makes it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from qtsim.data.download.fetch import (
    FIRST_CONTACT_TRIES,
    LONGEST_ASKED_PAUSE_S,
    OfflineError,
    backoff_s,
)
from qtsim.data.frames import BAR_COLUMNS, Floats, make_frame, round_to_minute
from qtsim.data.timeframes import timeframe_ns, unix_scale
from qtsim.errors import DataError

MS = 1_000_000
BARS_PER_PAGE = 1500
"""The most that the exchange gives of bars; one more is refused."""
EVENTS_PER_PAGE = 1000
BUSY_PAUSE_S = 60.0
"""The exchange counts requests by the minute; where it does not say how long to wait, a minute is enough."""
ENDPOINTS = {"bars": "klines", "mark": "markPriceKlines"}
REGULAR = "regular"
"""Funding rows of another type (special fees, dividends) share a time with the regular one and are no rate."""


class Call(Protocol):
    """Sends one public request and returns the answer's JSON; signed requests are those of a client with a key."""

    def __call__(self, endpoint: str, params: Mapping[str, Any]) -> Any: ...


class RestError(DataError):
    """The REST interface refuses a request, or keeps failing."""


class RestRefusedError(RestError):
    """The REST interface understood a request and says no: an unknown symbol, for one. Others may still be answered."""


class TryAgainError(Exception):
    """A request that may succeed later.

    `pause_s`: how long the server asked to wait, 0 where it did not say. `is_refusal`: the server answered, so it can
    be reached.
    """

    def __init__(self, reason: str, *, pause_s: float = 0.0, is_refusal: bool = False) -> None:
        """Keep what the server said beside the reason."""
        super().__init__(reason)
        self.pause_s = pause_s
        self.is_refusal = is_refusal


class Rest:
    """Questions to the REST interface, one after the other.

    Parameters
    ----------
    call : Call
        Sends a request.
    host : str
        The server's name, for messages.
    tries : int
        Attempts per request.
    sleep : callable
        Waits a number of seconds.
    """

    def __init__(self, call: Call, host: str, *, tries: int, sleep: Callable[[float], object] = time.sleep) -> None:
        """Nothing is sent yet."""
        self.host = host
        self.requests = 0
        self._call = call
        self._tries = tries
        self._sleep = sleep
        self._has_contact = False

    def now(self) -> int:
        """Return the exchange's time, int64 ns: what has closed is for its clock to say, not for this machine's."""
        return int(self._ask("time", {})["serverTime"]) * MS

    def bars(self, kind: str, symbol: str, timeframe: str, start: int, end: int, now: int) -> pd.DataFrame:
        """Return the closed bars or mark bars that open in [start, end), int64 ns; none where the exchange has none.

        Raises
        ------
        OfflineError, RestError
        """
        step = timeframe_ns(timeframe)
        rows: list[Sequence[Any]] = []
        while start < end:
            page = self._ask(
                ENDPOINTS[kind],
                {
                    "symbol": symbol,
                    "interval": timeframe,
                    "startTime": -(-start // MS),
                    "endTime": (end - 1) // MS,
                    "limit": BARS_PER_PAGE,
                },
            )
            rows += page
            if len(page) < BARS_PER_PAGE:
                break
            start = _time_ns(page[-1][0]) + step
        # the last row is the bar that is still open
        closed = [row for row in rows if _time_ns(row[0]) + step <= now]
        columns = BAR_COLUMNS if kind == "bars" else BAR_COLUMNS[:-1]
        times = np.array([_time_ns(row[0]) for row in closed], dtype=np.int64)
        return make_frame(times, {name: _floats(row[i + 1] for row in closed) for i, name in enumerate(columns)})

    def funding(self, symbol: str, start: int, end: int) -> pd.DataFrame:
        """Return the funding events in [start, end), int64 ns, with the mark price where the exchange tells it.

        Raises
        ------
        OfflineError, RestError
        """
        rows: list[Mapping[str, Any]] = []
        while start < end:
            page = self._ask(
                "fundingRate",
                {"symbol": symbol, "startTime": -(-start // MS), "endTime": (end - 1) // MS, "limit": EVENTS_PER_PAGE},
            )
            rows += page
            if len(page) < EVENTS_PER_PAGE:
                break
            # from the last event on, never by steps of 8 hours: symbols pay every 4 hours or every hour too
            start = _time_ns(page[-1]["fundingTime"]) + MS
        regular = [row for row in rows if str(row.get("rateType") or REGULAR).lower() == REGULAR]
        times = round_to_minute(np.array([_time_ns(row["fundingTime"]) for row in regular], dtype=np.int64))
        marks = _floats(row.get("markPrice") or "nan" for row in regular)
        marks[marks == 0.0] = np.nan
        return make_frame(times, {"funding_rate": _floats(row["fundingRate"] for row in regular), "mark_price": marks})

    def symbols(self) -> list[Mapping[str, Any]]:
        """Return the exchange's entry of every symbol, as it gives it."""
        return list(self._ask("exchangeInfo", {})["symbols"])

    def brackets(self) -> list[Mapping[str, Any]]:
        """Return the leverage brackets of every symbol, as the exchange gives them; needs a key."""
        return list(self._ask("leverageBracket", {}))

    def _ask(self, endpoint: str, params: Mapping[str, Any]) -> Any:
        for count in range(1, self._tries + 1):
            try:
                answer = self._call(endpoint, params)
            except TryAgainError as error:
                self._has_contact = self._has_contact or error.is_refusal
                if not self._has_contact and count >= min(FIRST_CONTACT_TRIES, self._tries):
                    raise OfflineError(f"cannot reach {self.host}: {error}") from error
                if error.pause_s > LONGEST_ASKED_PAUSE_S:
                    raise RestError(
                        f"{self.host}: {error}; it asks to wait {error.pause_s:,.0f} s; run the same command again then"
                    ) from error
                if count == self._tries:
                    raise RestError(f"{self.host}, {endpoint}: {error} (in {count} tries)") from error
                self._sleep(error.pause_s or backoff_s(count))
            else:
                self._has_contact = True
                self.requests += 1
                return answer
        raise AssertionError("tries is at least 1")


def _time_ns(value: Any) -> int:
    number = int(value)
    return number * unix_scale(number)


def _floats(values: Any) -> Floats:
    # float() rounds correctly, as the reader of archives does: the same price from both is the same number
    return np.array([float(value) for value in values], dtype=np.float64)
