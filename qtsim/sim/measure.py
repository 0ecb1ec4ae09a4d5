"""What is kept of one trial of a sweep: a row of fixed size, measured from the journals of its run.

The measures are those of `qtsim.results.metrics`, which computes them for people from frames; a test holds the two
equal. Here they are compiled, so that a trial needs no interpreter for longer than its start.
"""

from __future__ import annotations

import math

import numpy as np

from qtsim.core._jit import kernel
from qtsim.core.enums import FillKind, Gate, Side
from qtsim.core.records import Record, Records
from qtsim.sim.curve import NO_ROW, STRETCHES, Curve
from qtsim.sim.market import DENIALS, EQUITIES, FILLS, REFUSALS, TRADES, Floats, Ints, Journal

BLOCKS = 64
"""Stretches of equal length into which the days of a trial are summed up."""
GATES = 16
"""More gates than there are."""
DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
DAYS_PER_YEAR = 365.0
TAIL = 0.05
"""Share of the worst days that VaR and CVaR look at."""
NO_DISPERSION = 1e-14
"""Standard deviations below this share of the largest value are rounding, not risk."""
LARGEST_LOG = 700.0
"""Natural logarithm of about the largest float."""

MEASURES = (
    "total_return", "cagr", "sharpe", "sortino", "calmar", "max_drawdown", "max_drawdown_duration", "volatility",
    "var", "cvar", "ulcer", "omega", "trades", "win_rate", "profit_factor", "expectancy", "payoff", "sqn", "best_trade",
    "worst_trade", "avg_trade", "avg_hold", "avg_r", "long_trades", "short_trades", "exposure_time", "turnover", "fees",
    "slippage", "funding", "liquidations", "min_liq_distance", "max_margin_use", "final_equity", "net_profit",
    "skew", "kurtosis", "days", "denials", "shutdowns",
)  # fmt: skip
"""The measures of a row, all f8; NaN where one cannot be computed."""

measure_dt = np.dtype(
    [
        *((name, "f8") for name in MEASURES),
        ("digest", "u8", (2,)),  # of the sequence of decisions and fills
        ("flags_all", "i8"),  # PlanFlag: those that acted on every closed trade
        ("flags_any", "i8"),  # PlanFlag: those that acted on any
        ("denied", "i4", (GATES,)),  # requests that ended at each Gate
        # daily returns, summed over each of BLOCKS stretches of days: block of day d is d * BLOCKS // days
        ("block_sum", "f4", (BLOCKS,)),
        ("block_squares", "f4", (BLOCKS,)),
    ],
    align=True,
)
"""One trial, measured. skew and kurtosis (normal: 3) are those of the daily returns."""


@kernel
def mix_words_nb(words: Records, count: int, digest: Records) -> None:
    """Mix `count` 64-bit words into a digest of two lanes (multiply and shift, each lane with its own odd factor)."""
    a, b = digest[0], digest[1]
    for k in range(count):
        a = (a ^ words[k]) * np.uint64(0x9E3779B97F4A7C15)
        a = a ^ (a >> np.uint64(29))
        b = (b ^ words[k]) * np.uint64(0xC2B2AE3D27D4EB4F)
        b = b ^ (b >> np.uint64(31))
    digest[0], digest[1] = a, b


@kernel
def tally_denials_nb(journal: Journal, out: Record) -> None:
    """Count the denials that are journalled, and make room for others."""
    count = journal.counts[DENIALS]
    for k in range(count):
        out["denied"][journal.denials[k]["gate"]] += 1
    out["denials"] += count
    journal.counts[DENIALS] = 0
    for k in range(journal.counts[REFUSALS]):
        refusal = journal.refusals[k]
        out["denied"][Gate.SIGNAL.value] += refusal["end"] - refusal["first"]
        out["denials"] += refusal["end"] - refusal["first"]
    journal.counts[REFUSALS] = 0


@kernel
def ratio_nb(numerator: float, denominator: float) -> float:
    """numerator / denominator; NaN where the quotient says nothing."""
    if not denominator > 0.0:
        return math.nan
    if abs(numerator) > 1e300 * min(denominator, 1.0):
        return math.nan
    return numerator / denominator


@kernel
def mean_nb(total: float, count: int) -> float:
    """The mean of `count` values; NaN of none."""
    if count == 0:
        return math.nan
    return total / count


@kernel
def is_dispersed_nb(deviation: float, largest: float) -> bool:
    """Is a standard deviation more than rounding of values up to `largest`?"""
    return deviation > NO_DISPERSION * max(largest, 1e-300)


@kernel
def keep_worst_nb(worst: Floats, value: float) -> None:
    """Keep the smallest values seen so far, ascending: insert one if it is among them."""
    k = len(worst) - 1
    if value >= worst[k]:
        return
    while k > 0 and worst[k - 1] > value:
        worst[k] = worst[k - 1]
        k -= 1
    worst[k] = value


@kernel
def write_equity_nb(equity: Floats, journal: Journal, curve: Curve, marks: Floats) -> int:
    """Write out the equity at every boundary, of those visited and of the stretches between. Returns their number.

    marks: mark at each bar's close. The sums are those of `qtsim.sim.curve`, in the same order.
    """
    rows, n_rows, at, visited = journal.equity, journal.counts[EQUITIES], 0, 0
    for s in range(curve.counts[STRETCHES]):
        stretch = curve.stretches[s]
        while visited < n_rows and rows[visited]["ts"] < stretch["ts"]:
            equity[at] = rows[visited]["equity"]
            visited += 1
            at += 1
        for k in range(stretch["n"]):
            equity[at + k] = stretch["wallet"]
        for h in range(stretch["held_first"], stretch["held_end"]):
            add_held_nb(equity, at, stretch["n"], curve.held[h], marks)
        at += stretch["n"]
    while visited < n_rows:
        equity[at] = rows[visited]["equity"]
        visited += 1
        at += 1
    return at


@kernel
def add_held_nb(equity: Floats, at: int, n: int, held: Record, marks: Floats) -> None:
    """Add one position's unrealized PnL to the equity at `n` boundaries from `at` on."""
    signed, entry, bar = held["side"] * held["qty"], held["entry_price"], held["bar"]
    equity[at] += signed * (held["mark"] - entry)
    for k in range(1, n):
        mark = held["mark"] if bar == NO_ROW else marks[bar + k - 1]
        equity[at + k] += signed * (mark - entry)


@kernel
def take_returns_nb(equity: Floats, day_rows: Ints, start: float, returns: Floats) -> None:
    """Daily returns from the equity at each day's end; 0 once nothing is left.

    day_rows: place in `equity` of the end of each day; 0: still the start.
    """
    before = start
    for d in range(len(day_rows)):
        after = equity[day_rows[d]] if day_rows[d] > 0 else start
        returns[d] = max(after, 0.0) / before - 1.0 if before > 0.0 else 0.0
        before = after


@kernel
def measure_returns_nb(returns: Floats, worst: Floats, out: Record) -> None:
    """What daily returns say: growth, dispersion, tails; and their sums by block."""
    n = len(returns)
    out["days"] = n
    for block in range(BLOCKS):
        out["block_sum"][block] = 0.0
        out["block_squares"][block] = 0.0
    if n == 0:
        return
    worst[:] = math.inf
    growth, total, gains, losses, downside, largest = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for d in range(n):
        value = returns[d]
        growth *= 1.0 + value
        total += value
        largest = max(largest, abs(value))
        if value > 0.0:
            gains += value
        else:
            losses -= value
            downside += value * value
        keep_worst_nb(worst, value)
    mean = total / n
    second, third, fourth = 0.0, 0.0, 0.0
    sums, squares, block = 0.0, 0.0, 0
    for d in range(n):
        own = d * BLOCKS // n
        if own != block:
            out["block_sum"][block] = sums
            out["block_squares"][block] = squares
            sums, squares, block = 0.0, 0.0, own
        sums += returns[d]
        squares += returns[d] * returns[d]
        off = returns[d] - mean
        second += off * off
        third += off * off * off
        fourth += off * off * off * off
    out["block_sum"][block] = sums
    out["block_squares"][block] = squares

    exponent = DAYS_PER_YEAR / n
    if growth <= 0.0:
        out["cagr"] = -1.0
    elif math.log(growth) * exponent <= LARGEST_LOG:
        out["cagr"] = growth**exponent - 1.0
    place = (n - 1) * TAIL
    k = int(place)
    out["var"] = worst[k]
    if k + 1 < n:
        out["var"] = worst[k] + (place - k) * (worst[k + 1] - worst[k])
    tail = 0.0
    for d in range(k + 1):
        tail += worst[d]
    out["cvar"] = tail / (k + 1)
    if n < 2:
        return
    root_of_year = math.sqrt(DAYS_PER_YEAR)
    deviation = math.sqrt(second / (n - 1))
    out["volatility"] = deviation * root_of_year
    if is_dispersed_nb(deviation, largest):
        out["sharpe"] = mean / deviation * root_of_year
        variance = second / n
        out["skew"] = third / n / variance**1.5
        out["kurtosis"] = fourth / n / (variance * variance)
    if losses > 0.0:
        out["sortino"] = ratio_nb(mean * root_of_year, math.sqrt(downside / n))
    out["omega"] = ratio_nb(gains, losses)


@kernel
def measure_equity_nb(equity: Floats, n: int, boundaries: Ints, day_rows: Ints, start: float, out: Record) -> float:
    """Drawdowns of the equity at every mark, and of that at the days' ends (Ulcer). Returns the mean equity over time.

    Each value stands until the next mark, as in `qtsim.results.metrics.mean_over_time`.
    """
    high, high_ts, is_below = start, boundaries[0], False
    lowest, longest, total = 0.0, 0, 0.0
    for k in range(n):
        value = equity[k]
        if k + 1 < n:
            total += value * (boundaries[k + 1] - boundaries[k])
        if value >= high or k == 0:
            if is_below:
                longest = max(longest, boundaries[k] - high_ts)
            is_below = False
            high_ts = boundaries[k]
            high = max(high, value)
        else:
            is_below = True
        lowest = min(lowest, value / high - 1.0)
    if is_below:
        longest = max(longest, boundaries[n - 1] - high_ts)
    if n > 0:
        out["max_drawdown"] = lowest
    if n > 1:
        out["max_drawdown_duration"] = longest / DAY_NS
    high, squares = start, 0.0
    for d in range(len(day_rows)):
        value = equity[day_rows[d]] if day_rows[d] > 0 else start
        high = max(high, value)
        squares += (value / high - 1.0) ** 2
    if len(day_rows) > 0:
        out["ulcer"] = math.sqrt(squares / len(day_rows))
    if n > 1:
        return total / (boundaries[n - 1] - boundaries[0])
    return equity[0] if n == 1 else math.nan


@kernel
def measure_trades_nb(trades: Records, n: int, out: Record) -> None:
    """What closed trades say; money net of all costs. trades: trade_row_dt, of which `n` are used."""
    wins, won, losses, lost, longs = 0, 0.0, 0, 0.0, 0
    total, returns, held, multiples, stated, largest = 0.0, 0.0, 0.0, 0.0, 0, 0.0
    best, worst = -math.inf, math.inf
    flags_all, flags_any = -1, 0
    for k in range(n):
        trade = trades[k]
        pnl = trade["pnl"]
        total += pnl
        largest = max(largest, abs(pnl))
        returns += trade["ret"]
        best = max(best, trade["ret"])
        worst = min(worst, trade["ret"])
        held += (trade["exit_ts"] - trade["entry_ts"]) / HOUR_NS
        if pnl > 0.0:
            wins += 1
            won += pnl
        elif pnl < 0.0:
            losses += 1
            lost -= pnl
        if math.isfinite(trade["r_multiple"]):
            multiples += trade["r_multiple"]
            stated += 1
        if trade["side"] == Side.LONG:
            longs += 1
        flags_all &= trade["flags"]
        flags_any |= trade["flags"]
    out["trades"] = n
    out["long_trades"] = longs
    out["short_trades"] = n - longs
    out["flags_all"] = flags_all if n > 0 else 0
    out["flags_any"] = flags_any
    out["avg_r"] = mean_nb(multiples, stated)
    if n == 0:
        return
    out["win_rate"] = wins / n
    out["expectancy"] = total / n
    out["avg_trade"] = returns / n
    out["avg_hold"] = held / n
    out["best_trade"] = best
    out["worst_trade"] = worst
    if losses > 0:
        out["profit_factor"] = ratio_nb(won, lost)
    elif wins > 0:
        out["profit_factor"] = math.inf
    if wins > 0:
        out["payoff"] = ratio_nb(won / wins, lost / losses) if losses > 0 else math.inf
    if n < 2:
        return
    mean, squares = total / n, 0.0
    for k in range(n):
        squares += (trades[k]["pnl"] - mean) ** 2
    deviation = math.sqrt(squares / (n - 1))
    if is_dispersed_nb(deviation, largest):
        out["sqn"] = math.sqrt(n) * mean / deviation


@kernel
def exposure_nb(trades: Records, n: int, positions: Records, first_ts: int, last_ts: int) -> float:
    """Share of the period during which at least one position was open. Trades are in the order they ended."""
    if last_ts <= first_ts:
        return math.nan
    begin, end, covered = last_ts, last_ts, 0
    for i in range(len(positions)):
        if positions[i]["side"] != Side.NONE:
            begin = min(begin, positions[i]["entry_ts"])
    for k in range(n - 1, -1, -1):
        if trades[k]["exit_ts"] < begin:
            covered += end - begin
            begin, end = trades[k]["entry_ts"], trades[k]["exit_ts"]
        else:
            begin = min(begin, trades[k]["entry_ts"])
    return (covered + end - begin) / (last_ts - first_ts)


@kernel
def least_distance_nb(trades: Records, n: int, positions: Records) -> float:
    """The nearest that any position came to its liquidation, as a share of the mark; NaN where none can be."""
    least = math.inf
    for k in range(n):
        if trades[k]["min_liq_distance"] < least:
            least = trades[k]["min_liq_distance"]
    for i in range(len(positions)):
        if positions[i]["side"] != Side.NONE and positions[i]["min_liq_distance"] < least:
            least = positions[i]["min_liq_distance"]
    return least if math.isfinite(least) else math.nan


@kernel
def measure_account_nb(
    journal: Journal, account: Record, positions: Records, mean_equity: float, last_equity: float, out: Record
) -> None:
    """Costs, turnover, and where the account ended: at the last mark, or where nothing is open at the wallet."""
    traded, liquidations, is_flat = 0.0, 0, True
    for k in range(journal.counts[FILLS]):
        fill = journal.fills[k]
        traded += fill["qty"] * fill["price"]
        if fill["kind"] == FillKind.LIQUIDATION:
            liquidations += 1
    for i in range(len(positions)):
        if positions[i]["side"] != Side.NONE:
            is_flat = False
    final = account["wallet"] if is_flat else last_equity
    out["final_equity"] = final
    out["net_profit"] = final - account["initial_balance"] - account["transfers"]
    out["total_return"] = out["net_profit"] / account["initial_balance"]
    out["turnover"] = ratio_nb(traded, mean_equity)
    out["fees"] = account["fees"] + account["liq_fees"]
    out["slippage"] = account["slippage"]
    out["funding"] = account["funding"]
    out["liquidations"] = liquidations
    out["max_margin_use"] = account["max_margin_use"]


@kernel
def measure_run_nb(
    journal: Journal,
    curve: Curve,
    fill_words: Records,
    decision_words: Records,
    account: Record,
    positions: Records,
    boundaries: Ints,
    marks: Floats,
    day_rows: Ints,
    equity: Floats,
    returns: Floats,
    worst: Floats,
    out: Record,
) -> None:
    """Measure a finished run into `out`, which holds NaN, and what has been tallied of its denials.

    fill_words, decision_words: the journals as uint64. marks: mark at each bar's close. equity, returns, worst: room
    for the equity at each of the boundaries, for the days' returns, and for the worst of them, one more than `TAIL` of
    the days.
    """
    n = journal.counts[TRADES]
    start = account["initial_balance"]
    tally_denials_nb(journal, out)
    count = write_equity_nb(equity, journal, curve, marks)
    take_returns_nb(equity, day_rows, start, returns)
    measure_returns_nb(returns, worst, out)
    mean_equity = measure_equity_nb(equity, count, boundaries, day_rows, start, out)
    if out["max_drawdown"] < 0.0:
        out["calmar"] = out["cagr"] / -out["max_drawdown"]
    measure_trades_nb(journal.trades, n, out)
    last_equity = equity[count - 1] if count > 0 else account["wallet"]
    measure_account_nb(journal, account, positions, mean_equity, last_equity, out)
    if count > 1:
        out["exposure_time"] = exposure_nb(journal.trades, n, positions, boundaries[0], boundaries[count - 1])
    out["min_liq_distance"] = least_distance_nb(journal.trades, n, positions)
    mix_words_nb(fill_words, len(fill_words), out["digest"])
    mix_words_nb(decision_words, len(decision_words), out["digest"])
