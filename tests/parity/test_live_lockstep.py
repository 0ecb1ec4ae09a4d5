"""In lockstep a session sees the same messages in the same order, however long the wall takes between them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
pytest.importorskip("aiohttp", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.emulator import FaultPlan, Scripted
from qtsim.live.tape import row_bytes
from tests.live_rehearsal import make_workspace, play_in_lockstep, resolved_of, rows_of
from tests.unit.live.lines import frames_of

SYMBOLS = ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
WARM_UP, TRADED = 110, 15
PERIOD = f"2024-01-01T{WARM_UP // 60:02d}:{WARM_UP % 60:02d}:00:"
BUSY = {"strategy.fast": 2, "strategy.slow": 5, "strategy.adx_min": 0, "costs.funding.source": "off"}
LATENCY_MS = 1_500
HOLD_MS = 20
"""Of the wall: many times the pause between two looks of the session at what has come."""


def written(root: Path, faults: FaultPlan | None = None) -> dict[str, bytes]:
    """The rows of a session, by kind, whose orders meet the next price."""
    workspace = make_workspace(root, frames_of(SYMBOLS, WARM_UP + TRADED, seed=4))
    resolved = resolved_of(workspace, SYMBOLS, PERIOD, **BUSY)
    played = play_in_lockstep(workspace, resolved, latency_ms=LATENCY_MS, faults=faults)
    return {kind: row_bytes(rows) for kind, rows in rows_of(played.plan.folder).items()}


def test_fills_that_the_wall_brings_long_after_their_price_are_told_with_it(tmp_path: Path) -> None:
    """A price told without its fills lets candidates expire that wait for those."""
    held = FaultPlan(script=(Scripted("POST order", 1, "late", hold_ms=HOLD_MS, times=0),))
    slow, quick = written(tmp_path / "slow", held), written(tmp_path / "quick")
    assert len(quick["fills"]) > 0
    assert slow == quick
