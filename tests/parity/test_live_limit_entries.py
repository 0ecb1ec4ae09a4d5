"""Limit entries: the backtest and the live session at the emulator place, fill, time out and cancel the same ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from qtsim.app.replay import replay_session
from qtsim.core.enums import Reason, Rule
from qtsim.core.records import Records
from qtsim.live.tape import row_bytes
from tests.live_rehearsal import Played, journals_of, make_workspace, play_in_lockstep, resolved_of, rows_of
from tests.parity.test_live_on_the_emulator import COMPARED, by_symbol
from tests.unit.live.lines import frames_of

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
pytest.importorskip("aiohttp", reason="live trading needs the extra: pip install 'qtsim[live]'")

SYMBOLS = ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
WARM_UP, TRADED = 60, 240
PERIOD = "2024-01-01T01:00:00:"
LIMITS: dict[str, Any] = {
    "entry.order.type": "limit",
    "entry.order.limit_offset_bps": 20.0,
    "entry.order.timeout_bars": 12,  # longer than ten minutes, so that the exchange itself ends an order in time
    "exit.on_opposite_signal": "reverse",
    "costs.slippage.bps": 2.0,
}


def with_jumps(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Bars of which a third opens well away from the close before: a limit is then through when it is placed."""
    rng = np.random.default_rng(seed)
    moved = frame.copy()
    jumps = np.where(rng.random(len(frame)) < 0.33, rng.normal(0.0, 0.004, len(frame)), 0.0)
    moved["open"] = np.round(frame["open"] * (1.0 + jumps), 2)
    moved["high"] = moved[["open", "high"]].max(axis=1)
    moved["low"] = moved[["open", "low"]].min(axis=1)
    return moved


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Played, dict[str, Records], Any]:
    """One rehearsal for all tests of this module."""
    frames = {
        symbol: with_jumps(frame, k) for k, (symbol, frame) in enumerate(frames_of(SYMBOLS, WARM_UP + TRADED).items())
    }
    workspace = make_workspace(tmp_path_factory.mktemp("limits"), frames)
    resolved = resolved_of(workspace, SYMBOLS, PERIOD, **LIMITS)
    wanted = journals_of(workspace, resolved)
    found = play_in_lockstep(workspace, resolved)
    return found, rows_of(found.plan.folder), wanted


@pytest.mark.parametrize("kind", COMPARED)
def test_backtest_and_live_session_write_the_same_rows(played: Any, kind: str) -> None:
    _, rows, wanted = played
    expected = getattr(wanted, kind)
    found = rows.get(kind, expected[:0])
    if kind == "denials":
        found = found[found["rule"] != Rule.ORDER_ENDED]  # what stands when the market ends is called back
    assert len(found) == len(expected)
    found, expected = by_symbol(found), by_symbol(expected)
    for k in range(len(expected)):
        assert row_bytes(found[k : k + 1]) == row_bytes(expected[k : k + 1]), f"{kind} {k}: {found[k]} {expected[k]}"


def test_limits_were_filled_as_makers_and_takers_timed_out_and_were_cancelled(played: Any) -> None:
    _, _, wanted = played
    entries = wanted.fills[wanted.fills["reason"] == Reason.ENTRY]
    assert (entries["is_maker"] == 1).sum() >= 5
    assert (entries["is_maker"] == 0).sum() >= 2
    rules = wanted.denials["rule"].tolist()
    assert rules.count(Rule.ORDER_TIMED_OUT) >= 2
    assert rules.count(Rule.ORDER_CANCELLED) >= 2


def test_the_account_ends_as_the_exchange_has_it_and_nothing_is_left_standing(played: Any) -> None:
    found, _, wanted = played
    state = found.exchange.state
    assert float(state.account.wallet) == pytest.approx(float(wanted.account["wallet"][0]), abs=1e-8)
    assert not state.open_orders
    assert {algo.symbol for algo in state.open_algos.values()} == {one.symbol for one in state.account.open_positions()}


def test_a_replay_of_the_session_is_byte_identical(played: Any) -> None:
    found, _, _ = played
    (replayed,) = replay_session(found.plan.workspace, "main")
    assert replayed.difference is None
    assert not replayed.remarks
