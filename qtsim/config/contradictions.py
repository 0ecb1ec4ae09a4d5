"""Settings that contradict each other: each is sane alone, together they ask for nothing or for two things."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qtsim.config.kinds import show
from qtsim.errors import SettingError

POSITIONS = "limits.positions"


def refuse_contradictions(values: Mapping[str, Any], sources: Mapping[str, str]) -> None:
    """Raise SettingError that names the keys, their values and what would be right.

    A default is no wish: `limits.positions.long` contradicts a smaller total only where somebody has set it.
    """
    errors: list[str] = []
    total = values[f"{POSITIONS}.total"]
    if total == 0:
        source = sources.get(f"{POSITIONS}.total", "default")
        errors.append(f"{POSITIONS}.total = 0 ({source}): nothing would ever be opened; set 1 or more")
    if total == 1 and values["account.mode.position"] == "hedge":
        source = sources.get("account.mode.position", "default")
        errors.append(
            f'account.mode.position = "hedge" ({source}) is for both sides of a symbol at once, which '
            f'{POSITIONS}.total = 1 never allows; set {POSITIONS}.total to 2 or more, or the mode to "one_way"'
        )
    if values[f"{POSITIONS}.long"] == 0 and values[f"{POSITIONS}.short"] == 0:
        errors.append(f"{POSITIONS}.long and {POSITIONS}.short = 0: nothing would ever be opened; set one to 1 or more")
    for name in ("long", "short"):
        path = f"{POSITIONS}.{name}"
        if values[path] > total and sources.get(path, "default") != "default":
            errors.append(
                f"{path} = {show(values[path])} ({sources[path]}) exceeds {POSITIONS}.total = {show(total)}; "
                f"set it to {show(total)} or less"
            )
    errors += _of_fills(values, sources)
    if errors:
        raise SettingError("\n".join(errors))


def _of_fills(values: Mapping[str, Any], sources: Mapping[str, str]) -> list[str]:
    """What the fill models cannot be combined with."""
    errors = _of_latency(values, sources)
    if values["sizing.model"] != "rl":
        return errors
    return errors + [
        f'{path} = {show(values[path])} ({sources.get(path, "default")}) and sizing.model = "rl": the agent learns '
        f"from replays that are filled whole and at once; set {path} to {what}, or choose another sizing model"
        for path, what in _asked_fill_models(values)
    ]


def _asked_fill_models(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keys by which an order is not filled whole and at once, and the value that asks for just that."""
    asked = []
    if values["entry.order.type"] != "market":
        asked.append(("entry.order.type", '"market"'))
    if values["sim.volume.max_share"] < math.inf:
        asked.append(("sim.volume.max_share", "inf"))
    asked += [(path, "0") for path in _latencies(values)]
    return asked


def _latencies(values: Mapping[str, Any]) -> list[str]:
    """Keys of the latency that is set."""
    return [path for path in (f"sim.latency_ms.{name}" for name in ("decision", "order", "jitter")) if values[path] > 0]


def _of_latency(values: Mapping[str, Any], sources: Mapping[str, str]) -> list[str]:
    """Latency needs prices inside a bar, and a fill at the signal's own close leaves no time for any."""
    paths = _latencies(values)
    if not paths:
        return []
    told = f"{paths[0]} = {show(values[paths[0]])} ({sources.get(paths[0], 'default')})"
    errors = []
    if values["sim.mode"] == "bars":
        errors.append(
            f'{told} needs prices inside a bar, which sim.mode = "bars" does not have; set sim.mode to "detail" with '
            'data.detail_timeframe (or --detail TF), or to "ticks", or leave the latency at 0'
        )
    if values["sim.fill_at"] == "close":
        errors.append(
            f'{told} and sim.fill_at = "close": an order sent at the close cannot be filled at that close; '
            'set sim.fill_at to "next_open", or leave the latency at 0'
        )
    return errors
