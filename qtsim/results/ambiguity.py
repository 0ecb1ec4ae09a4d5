"""Ambiguous bars: what exits leave of a position depends on the way that prices took through them, which is not known.

A bar is ambiguous where a position was open in it and the two orders of its extremes, each walked from the run's own
state at the bar's open, leave another state of the position: what its exits have brought, its quantity, its next leg,
its stop, its peak. Only that is compared: a payment of funding that the order moves makes no bar ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from qtsim.data.frames import Times
from qtsim.data.timeframes import timeframe_name, timeframe_ns
from qtsim.results.tables import times_ns, utc_times
from qtsim.sim.journals import Journals

if TYPE_CHECKING:
    from qtsim.results.result import Result

ORDER = "order"
"""Both orders of the bar's extremes were tried, and they differ."""
UNTRIED = "untried"
"""The bar follows its own path in pieces, since another symbol has finer bars in its time: no order was tried."""
COLUMNS = ("time", "symbol", "timeframe", "why")
"""Columns of `Result.ambiguous`: open of the bar (UTC), symbol, length of the bar, `order` or `untried`."""
FINEST = "1m"
"""The shortest bars that the exchange has; what is in doubt inside them only trades tell."""
SHOWN = 10


def ambiguous_frame(times: Times, symbols: np.ndarray, lengths: Times, why: np.ndarray) -> pd.DataFrame:
    """One row per ambiguous bar, by time, then symbol: `COLUMNS`. times: opens, ns; lengths: ns."""
    names = {int(length): timeframe_name(int(length)) for length in np.unique(lengths)}
    frame = pd.DataFrame(
        {
            "time": utc_times(np.asarray(times, dtype=np.int64)),
            "symbol": symbols,
            "timeframe": [names[int(length)] for length in lengths],
            "why": why,
        }
    )
    frame = frame.astype(dict.fromkeys(COLUMNS[1:], "str"))
    return frame.sort_values(["time", "symbol", "timeframe"], kind="stable", ignore_index=True)


EMPTY_AMBIGUOUS = ambiguous_frame(*(np.empty(0, kind) for kind in ("i8", "O", "i8", "O")))
"""A run without ambiguous bars."""


def doubted_bars(journals: Journals) -> pd.DataFrame:
    """The bars whose two orders a driver found to differ."""
    rows = journals.doubts
    symbols = np.array([*journals.symbols, ""], dtype=object)[rows["symbol"]]
    return ambiguous_frame(rows["ts"], symbols, rows["length"], _repeated(ORDER, rows))


def _repeated(text: str, rows: np.ndarray) -> np.ndarray:
    """The text, once per row."""
    return np.full(len(rows), text, dtype=object)


def with_untried(result: Result, cut: Mapping[str, Times]) -> pd.DataFrame:
    """The result's ambiguous bars, and the cut ones in which a position of their symbol was open.

    cut: per symbol opens, ns, of the strategy's bars that were walked in pieces of their own path. What was found in a
    piece stands for its bar.
    """
    length = result.info.timeframe_ns
    found = result.ambiguous
    parts = [found]
    for symbol, opens in cut.items():
        if not len(opens):
            continue
        at = times_ns(found["time"])
        place = np.maximum(np.searchsorted(opens, at, side="right") - 1, 0)
        is_piece = (found["symbol"].to_numpy() == symbol) & (at >= opens[place]) & (at < opens[place] + length)
        parts[0] = found = found[~is_piece]
        held = opens[_is_held(result, symbol, opens, length)]
        parts.append(
            ambiguous_frame(held, _repeated(symbol, held), np.full(len(held), length), _repeated(UNTRIED, held))
        )
    joined = pd.concat(parts, ignore_index=True)
    return joined.sort_values(["time", "symbol", "timeframe"], kind="stable", ignore_index=True)


def _is_held(result: Result, symbol: str, opens: Times, length: int) -> np.ndarray:
    """In which bars a position of the symbol was open for some time; shape of `opens`."""
    closed = result.trades[result.trades["symbol"] == symbol]
    standing = result.positions[result.positions["symbol"] == symbol]
    begins = np.concatenate([times_ns(closed["entry_time"]), times_ns(standing["entry_time"])])
    ends = np.concatenate([times_ns(closed["exit_time"]), np.full(len(standing), np.iinfo(np.int64).max)])
    held = np.zeros(len(opens), dtype=bool)
    for begin, end in zip(begins, ends, strict=True):
        held |= (opens < end) & (opens + length > begin)
    return held


def coarser_than(ambiguous: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """The ambiguous bars that consist of bars of `timeframe`."""
    finer = timeframe_ns(timeframe)
    lengths = np.array([timeframe_ns(name) for name in ambiguous["timeframe"]], dtype=np.int64)
    kept: pd.DataFrame = ambiguous[(lengths > finer) & (lengths % finer == 0)]
    return kept


def what_settles(result: Result) -> str:
    """What would tell the way that prices took through the ambiguous bars."""
    settings = result.info.settings
    mode, finest = settings.get("sim.mode", "bars"), settings.get("data.detail_timeframe", FINEST)
    longer = coarser_than(result.ambiguous, FINEST if mode == "bars" else str(finest))
    return "finer bars" if len(longer) or not len(result.ambiguous) else "only trades"


def path_text(result: Result) -> str:
    """What is in doubt of the way that prices took, and what settles it; empty where nothing is to be said."""
    settings = result.info.settings
    mode = settings.get("sim.mode", "bars")
    if mode == "ticks":
        return f"trades come in one order, so there is no range; in doubt is when the program looks: {_looks(settings)}"
    detail = str(settings.get("data.detail_timeframe", FINEST)) if mode == "detail" else ""
    return "; ".join(_path_parts(result, detail))


def _looks(settings: Mapping[str, Any]) -> str:
    monitoring = settings.get("exit.monitoring", "auto")
    if monitoring in ("auto", "interval"):
        return f"every {float(settings.get('exit.check_interval_s', 0)):g} s at the last trade (exit.monitoring)"
    return f"here at every trade (exit.monitoring = {monitoring}), live every exit.check_interval_s seconds"


def _path_parts(result: Result, detail: str) -> Iterator[str]:
    """detail: timeframe of the finer bars; empty on bars alone."""
    settled, found = result.info.settled, result.ambiguous
    if settled:
        yield _settled_text(settled, result.info.timeframe)
    ask = coarser_than(found, detail or FINEST)
    fine = len(found) - len(ask)
    run = result.run_id or "RUN"
    untried = int((ask["why"] == UNTRIED).sum())
    if len(ask) > untried:
        now = " now, as what was settled changed what came after" if settled.get("settled") else ""
        yield f"{_bars(len(ask) - untried)} ambiguous{now}"
    if untried:
        yield (
            f"the orders of {untried:,} held bars were not tried, since another symbol has finer bars in their time: "
            "the range leaves them out"
        )
    if len(ask):
        can_download = not result.info.is_synthetic and result.info.from_store
        again = "repeat " if settled else ""
        yield (
            f"{again}qtsim data download -i {detail or FINEST} --ambiguous {run}, then qtsim backtest --from {run} "
            f"--detail {detail or FINEST}{', until none is left' if settled else ''}"
            if can_download
            else f"finer bars (--detail {detail or FINEST}) would settle them"
        )
    if fine:
        length = detail or result.info.timeframe
        yield f"{_bars(fine, length)} ambiguous, which only trades would settle"
    if detail and not len(found):
        yield "no ambiguous bar is left"


def _settled_text(settled: Mapping[str, Any], timeframe: str) -> str:
    if not settled["bars"]:
        return f"{settled['run']} had no ambiguous {timeframe} bar"
    return f"{settled['settled']:,} of the {settled['bars']:,} ambiguous bars of {settled['run']} are settled"


def _bars(count: int, timeframe: str = "") -> str:
    what = f"{timeframe} bar" if timeframe else "bar"
    return f"{count:,} {what} is" if count == 1 else f"{count:,} {what}s are"


def listed_text(result: Result) -> list[str]:
    """The first ambiguous bars of each symbol, a line each: BTCUSDT 1h: 2025-05-03 13:00 and 3 more."""
    lines = []
    for (symbol, timeframe), own in result.ambiguous.groupby(["symbol", "timeframe"], sort=True):
        shown = ", ".join(f"{time:%Y-%m-%d %H:%M}" for time in own["time"].iloc[:SHOWN])
        more = f" and {len(own) - SHOWN:,} more" if len(own) > SHOWN else ""
        lines.append(f"{symbol} {timeframe}: {shown}{more}")
    return lines


def ambiguous_as_dicts(result: Result) -> list[dict[str, Any]]:
    """Plain values, fit for JSON; times are text, UTC."""
    return [
        {"time": f"{time:%Y-%m-%dT%H:%M:%SZ}", "symbol": symbol, "timeframe": timeframe, "why": why}
        for time, symbol, timeframe, why in result.ambiguous.itertuples(index=False)
    ]
