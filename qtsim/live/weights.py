"""The exchange's limits: how much of the request weight is used, and how long a ban lasts. Pure; told the time."""

from __future__ import annotations

import re
from collections.abc import Mapping

MINUTE_MS = 60_000
ORDINARY_SHARE = 0.8
"""Of the weight per minute; the rest is for orders that protect."""
FIRST_BAN_MS = 120_000
_UNTIL = re.compile(r"banned until (\d{13})")


class Budget:
    """Weight used in the exchange's current minute, by its own count where it tells."""

    def __init__(self, limit: int = 2400) -> None:
        self.limit = limit
        self._minute = -1
        self._used = 0
        self._until_ms = 0  # of a ban: nothing goes
        self._busy_until_ms = 0  # asked to slow down: only what protects goes, and that not at once

    def is_banned(self, now_ms: int) -> bool:
        """May nothing at all be sent?"""
        return now_ms < self._until_ms

    def wait_s(self, weight: int, now_ms: int, *, protective: bool = False) -> float:
        """Seconds until a request of this weight may go; 0 and counted where it may go now."""
        if self.is_banned(now_ms):
            return (self._until_ms - now_ms) / 1000
        if now_ms < self._busy_until_ms and not protective:
            return (self._busy_until_ms - now_ms) / 1000
        if now_ms // MINUTE_MS != self._minute:
            self._minute, self._used = now_ms // MINUTE_MS, 0
        share = 1.0 if protective else ORDINARY_SHARE
        if self._used + weight > share * self.limit:
            return ((self._minute + 1) * MINUTE_MS - now_ms) / 1000
        self._used += weight
        return 0.0

    def note(self, headers: Mapping[str, str], now_ms: int) -> None:
        """Take over the exchange's count from an answer's headers."""
        told = headers.get("x-mbx-used-weight-1m", "")
        if told.isdigit() and now_ms // MINUTE_MS == self._minute:
            self._used = max(self._used, int(told))

    def note_ban(self, status: int, text: str, headers: Mapping[str, str], now_ms: int) -> None:
        """The exchange has had enough: until the time in its text, for as long as it asks, else by rule."""
        found = _UNTIL.search(text)
        asked = headers.get("retry-after", "")
        if status != 418 and not found:
            pause = int(asked) * 1000 if asked.isdigit() else MINUTE_MS - now_ms % MINUTE_MS
            self._busy_until_ms = max(self._busy_until_ms, now_ms + pause)
            return
        until = int(found[1]) if found else now_ms + (int(asked) * 1000 if asked.isdigit() else FIRST_BAN_MS)
        self._until_ms = max(self._until_ms, until)
