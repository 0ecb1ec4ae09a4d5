"""What a download did, series by series, in words and as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qtsim.data.download.plan import Span
from qtsim.data.store import SeriesKey
from qtsim.data.timeframes import format_ts
from qtsim.errors import DataError

SHOWN_GAPS = 3


@dataclass
class SeriesReport:
    """What became of one series. Times are int64 ns UTC of the first and last row, 0 where there are none."""

    key: SeriesKey
    added: int = 0
    changed: int = 0
    rows: int = 0
    start: int = 0
    end: int = 0
    archives: int = 0
    """Archives merged by this run."""
    rest_rows: int = 0
    """Rows that came over REST in this run."""
    missing: list[Span] = field(default_factory=list)
    """Spans between its first row and the end of the period that stay without rows."""
    step: int = 0
    """Length of a bar, ns; 0 for events."""
    chosen: int = 0
    """Bars that were asked for, where those of some spans alone were; 0: all of the period."""

    def describe(self) -> str:
        """Say it in one line."""
        if not self.rows:
            return f"{self.key}: nothing found"
        parts = [f"{_count(self.added, 'row')} added" if self.added else "nothing new"]
        parts += [f"{_count(self.changed, 'row')} changed"] if self.changed else []
        sources = [f"{_count(self.archives, 'archive')}"] if self.archives else []
        sources += [f"{_count(self.rest_rows, 'row')} over REST"] if self.rest_rows else []
        text = f"{self.key}: {', '.join(parts)}" + (f" ({', '.join(sources)})" if sources else "")
        if self.chosen:
            have = self.chosen - sum(end - start for start, end in self.missing) // self.step
            return f"{text}; {have:,} of the {self.chosen:,} bars asked for, {self.describe_missing()}"
        return f"{text}; {format_ts(self.start)} to {format_ts(self.end)}, {self.describe_missing()}"

    def describe_missing(self) -> str:
        """Name the longest spans that stay missing."""
        if not self.missing:
            return "no gaps" if self.step else "no holes"
        longest = sorted(self.missing, key=lambda span: (span[0] - span[1], span[0]))[:SHOWN_GAPS]
        shown = "; ".join(
            f"{(end - start) // self.step:,} from {format_ts(start)}"
            if self.step
            else f"between {format_ts(start)} and {format_ts(end)}"
            for start, end in sorted(longest)
        )
        more = f" and {len(self.missing) - SHOWN_GAPS} more" if len(self.missing) > SHOWN_GAPS else ""
        what = "bars missing: " if self.step else "nothing paid "
        return f"{what}{shown}{more}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; times are text, UTC."""
        return {
            "kind": self.key.kind,
            "symbol": self.key.symbol,
            "timeframe": self.key.timeframe,
            "added": self.added,
            "changed": self.changed,
            "rows": self.rows,
            "start": format_ts(self.start) if self.rows else "",
            "end": format_ts(self.end) if self.rows else "",
            "archives": self.archives,
            "rest_rows": self.rest_rows,
            "asked_for": self.chosen or None,
            "missing": [{"from": format_ts(start), "to": format_ts(end)} for start, end in self.missing],
        }


@dataclass
class DownloadReport:
    """What a whole download did."""

    series: list[SeriesReport] = field(default_factory=list)
    files: int = 0
    """Archives fetched over the network."""
    bytes: int = 0
    trade_days: int = 0
    """Days of which this run merged an archive of trades."""
    trades_added: int = 0
    instruments: list[str] = field(default_factory=list)
    """What changed in the rules of symbols, a line each."""
    notes: list[str] = field(default_factory=list)
    """What a user should know and need not mend."""
    failures: list[str] = field(default_factory=list)
    """What could not be done, with its reason."""

    def describe_trades(self) -> str:
        """Say in one line what became of trades; empty where no archive of them was merged."""
        if not self.trade_days:
            return ""
        added = f"{_count(self.trades_added, 'trade')} added" if self.trades_added else "nothing new"
        return f"trades: {_count(self.trade_days, 'day')}, {added}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "series": [one.as_dict() for one in self.series],
            "files": self.files,
            "bytes": self.bytes,
            "trade_days": self.trade_days,
            "trades_added": self.trades_added,
            "instruments": self.instruments,
            "notes": self.notes,
            "failures": self.failures,
        }


class DownloadError(DataError):
    """Some of it failed; the rest is in the store. `report` is complete."""

    def __init__(self, message: str, report: DownloadReport) -> None:
        """Keep the report beside the message."""
        super().__init__(message)
        self.report = report


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
