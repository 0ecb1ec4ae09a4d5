"""Both sides of a symbol, and the backup stop: live at the emulator as in the backtest, trade by trade."""

from __future__ import annotations

import pytest

from qtsim.core.enums import Reason
from qtsim.core.records import Records
from qtsim.live.tape import row_bytes
from tests.live_rehearsal import Played, journals_of, make_workspace, play_in_lockstep, resolved_of, rows_of
from tests.parity.test_live_on_the_emulator import COMPARED, SYMBOLS, by_symbol, hourly_funding
from tests.unit.live.lines import frames_of

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
pytest.importorskip("aiohttp", reason="live trading needs the extra: pip install 'qtsim[live]'")

WARM_UP, TRADED = 110, 75
SETTINGS = {
    "account.mode.position": "hedge",
    "exit.stops.backup.enabled": True,
    "exit.stops.hard.distance": 0.005,
    "exit.base_sl": 0.0045,
    "exit.base_tp": 0.01,
    "strategy.fast": 2,
    "strategy.slow": 5,
    "strategy.adx_min": 0,
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Played, dict[str, Records], object]:
    """One rehearsal for all tests of this module."""
    frames = frames_of(SYMBOLS, WARM_UP + TRADED, seed=4)
    funding = {symbol: hourly_funding(4) for symbol in SYMBOLS}
    workspace = make_workspace(tmp_path_factory.mktemp("hedge"), frames, funding)
    period = f"2024-01-01T{WARM_UP // 60:02d}:{WARM_UP % 60:02d}:00:"
    resolved = resolved_of(workspace, SYMBOLS, period, **SETTINGS)
    wanted = journals_of(workspace, resolved)
    found = play_in_lockstep(workspace, resolved)
    return found, rows_of(found.plan.folder), wanted


@pytest.mark.parametrize("kind", COMPARED)
def test_both_sides_write_the_rows_of_the_backtest(played: tuple[Played, dict, object], kind: str) -> None:
    _, rows, wanted = played
    expected = getattr(wanted, kind)
    found = rows.get(kind, expected[:0])
    assert len(found) == len(expected)
    found, expected = by_symbol(found), by_symbol(expected)
    for k in range(len(expected)):
        assert row_bytes(found[k : k + 1]) == row_bytes(expected[k : k + 1]), f"{kind} {k}: {found[k]} {expected[k]}"


def test_both_sides_of_a_symbol_were_open_and_paid_funding(played: tuple[Played, dict, object]) -> None:
    found, _, _ = played
    sizes: dict[tuple[str, str], float] = {}
    both: set[str] = set()
    paid: dict[tuple[str, int], set[str]] = {}
    for entry in found.exchange.log.of("position", "funding"):
        symbol, side = entry.data["symbol"], entry.data["position_side"]
        if entry.kind == "position":
            sizes[symbol, side] = float(entry.data["qty"])
            if sizes.get((symbol, "LONG")) and sizes.get((symbol, "SHORT")):
                both.add(symbol)
        else:
            paid.setdefault((symbol, entry.ts_ms), set()).add(side)
    assert both
    assert {"LONG", "SHORT"} in paid.values()


def test_hard_stops_acted_and_backups_stood_beside_them(played: tuple[Played, dict, object]) -> None:
    found, rows, _ = played
    algos = list(found.exchange.state.algos.values())
    hard = [algo for algo in algos if algo.type == "STOP_MARKET"]
    backups = [algo for algo in algos if algo.type == "STOP"]
    assert (rows["fills"]["reason"] == Reason.HARD_STOP).any()
    assert len(backups) >= len(hard)
    assert not [algo for algo in hard if algo.status == "CANCELED"]
    assert not [algo for algo in backups if algo.status == "FINISHED"]


def test_nothing_is_left_of_a_side_that_is_flat(played: tuple[Played, dict, object]) -> None:
    found, _, wanted = played
    state = found.exchange.state
    held = {(position.symbol, position.side) for position in state.account.open_positions()}
    assert {(algo.symbol, algo.position_side) for algo in state.open_algos.values()} == held
    assert float(state.account.wallet) == pytest.approx(float(wanted.account["wallet"][0]), abs=1e-8)
