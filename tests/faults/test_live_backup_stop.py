"""The second stop on the exchange: beside the hard stop, of the position's quantity, and never in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from qtsim.emulator import FaultPlan, Scripted
from tests.live_virtual import Stage, in_virtual_time, make_stage, whole_session

BUSY = {"strategy.fast": 2, "strategy.slow": 5, "strategy.adx_min": 0, "exit.stops.backup.enabled": True}


def played(tmp_path: Path, plan: FaultPlan | None = None, **settings: Any) -> Stage:
    stage = make_stage(tmp_path, bars=15, seed=2, plan=plan, **{**BUSY, **settings})
    in_virtual_time(stage, lambda: whole_session(stage))
    return stage


def algos(stage: Stage, kind: str) -> list[Any]:
    """What has become of conditional orders of a type, in order."""
    return [entry for entry in stage.exchange.log.of("algo") if entry.data["type"] == kind]


def replaced(stage: Stage) -> list[tuple[float, list[float]]]:
    """Each backup that went while its position was open: the position's size, and the quantities of those that rest."""
    sizes: dict[tuple[str, str], float] = {}
    live: dict[int, tuple[tuple[str, str], float]] = {}
    found = []
    for entry in stage.exchange.log.of("position", "algo"):
        data = entry.data
        key = (data["symbol"], data["position_side"])
        if entry.kind == "position":
            sizes[key] = abs(float(data["qty"]))
        elif data["type"] == "STOP" and data["status"] == "NEW":
            live[data["algo_id"]] = (key, float(data["qty"]))
        elif data["type"] == "STOP" and live.pop(data["algo_id"], None) and sizes[key]:
            found.append((sizes[key], [qty for other, qty in live.values() if other == key]))
    return found


@pytest.mark.parametrize("position", ["one_way", "hedge"])
def test_its_quantity_follows_the_position_and_the_new_one_rests_before_the_old_one_goes(
    tmp_path: Path, position: str
) -> None:
    found = replaced(played(tmp_path, **{"account.mode.position": position}))
    assert len(found) >= 2  # targets closed legs meanwhile
    assert all(resting == [size] for size, resting in found)


def test_it_never_takes_the_place_of_the_hard_stop(tmp_path: Path) -> None:
    stage = played(tmp_path)
    held = {(p.symbol, p.side) for p in stage.exchange.state.account.open_positions()}
    opened = len([entry for entry in stage.exchange.log.of("fill") if "-en-" in entry.data["client_id"]])
    assert len([entry for entry in algos(stage, "STOP_MARKET") if entry.data["status"] == "NEW"]) == opened
    assert not [entry for entry in algos(stage, "STOP_MARKET") if entry.data["status"] == "CANCELED"]
    assert stage.unprotected() == []
    for kind in ("STOP", "STOP_MARKET"):
        resting = {(a.symbol, a.position_side) for a in stage.exchange.state.open_algos.values() if a.type == kind}
        assert resting == held


def test_a_refused_replacement_leaves_the_old_one(tmp_path: Path) -> None:
    plan = FaultPlan(script=(Scripted("POST algoOrder", 3, "reject", code=-2021),))
    stage = played(tmp_path, plan)
    assert stage.exchange.faults.injected["reject"] == 1
    assert all(resting for _, resting in replaced(stage))
    assert stage.unprotected() == []
