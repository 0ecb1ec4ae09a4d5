"""Settings that a live session cannot follow are refused before anything else happens."""

from __future__ import annotations

from typing import Any

import pytest

from qtsim.app.live import refuse_unplayable
from qtsim.config.layers import resolve
from qtsim.errors import UsageError
from qtsim.live.modes import Mode
from qtsim.signals.loading import load_strategy

EMA = load_strategy("ema_cross", {}, [])


def refuse(overrides: dict[str, Any], mode: Mode) -> None:
    refuse_unplayable(resolve(environ={}, overrides=overrides).settings, EMA, ["BTCUSDT"], mode)


@pytest.mark.parametrize(
    ("overrides", "modes", "key"),
    [
        ({"sizing.model": "rl"}, tuple(Mode), "sizing.model = rl"),
        ({"costs.slippage.model": "spread"}, tuple(Mode), "costs.slippage.model = spread"),
        ({"sim.latency_ms.order": 20.0, "sim.mode": "ticks"}, (Mode.PAPER,), "sim.latency_ms"),
        ({"sim.volume.max_share": 0.1}, (Mode.PAPER,), "sim.volume.max_share"),
    ],
)
def test_what_cannot_be_followed_is_named(overrides: dict[str, Any], modes: tuple[Mode, ...], key: str) -> None:
    for mode in Mode:
        if mode in modes:
            with pytest.raises(UsageError, match=key):
                refuse(overrides, mode)
        else:
            refuse(overrides, mode)


def test_the_defaults_are_followed_in_every_mode() -> None:
    for mode in Mode:
        refuse({}, mode)
        refuse({"entry.order.type": "limit"}, mode)
