"""Settings that are sane alone and contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from qtsim.config import resolve
from qtsim.errors import SettingError


def resolved(**overrides: Any) -> Any:
    return resolve(environ={}, overrides={key.replace("__", "."): value for key, value in overrides.items()})


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            {"limits__positions__total": 0},
            r"limits\.positions\.total = 0 \(command line\): nothing would ever be opened",
        ),
        (
            {"limits__positions__long": 0, "limits__positions__short": 0},
            r"limits\.positions\.long and limits\.positions\.short = 0",
        ),
        (
            {"limits__positions__long": 8, "limits__positions__total": 5},
            r"limits\.positions\.long = 8 \(command line\) exceeds limits\.positions\.total = 5; set it to 5 or less",
        ),
        (
            {"limits__positions__short": "inf"},
            r"limits\.positions\.short = inf \(command line\) exceeds limits\.positions\.total = 15",
        ),
        (
            {"account__mode__position": "hedge", "limits__positions__total": 1},
            r'account\.mode\.position = "hedge" \(command line\) is for both sides .* limits\.positions\.total = 1',
        ),
        (
            {"account__mode__margin": "crossed"},
            r'account\.mode\.margin = "crossed": must be one of "isolated", "cross"',
        ),
        (
            {"account__mode__position": "dual"},
            r'account\.mode\.position = "dual": must be one of "one_way", "hedge"',
        ),
        (
            {"sizing__model": "rl", "sim__volume__max_share": 0.1},
            r"sim\.volume\.max_share = 0\.1 .* and sizing\.model = .rl.: .* set sim.volume.max_share to inf",
        ),
        (
            {"sizing__model": "rl", "entry__order__type": "limit"},
            r'entry\.order\.type = "limit" .* and sizing\.model = .rl.: .* set entry\.order\.type to "market"',
        ),
        (
            {"sim__latency_ms__order": 20},
            r'sim\.latency_ms\.order = 20\.0 .* needs prices inside a bar, .* set sim\.mode to "detail" with',
        ),
        (
            {"sim__latency_ms__jitter": 5, "sim__mode": "ticks", "sim__fill_at": "close"},
            r'sim\.latency_ms\.jitter = 5\.0 .* and sim\.fill_at = "close": .* set sim\.fill_at to "next_open"',
        ),
        (
            {"sim__latency_ms__decision": 5, "sim__mode": "ticks", "sizing__model": "rl"},
            r"sim\.latency_ms\.decision = 5\.0 .* and sizing\.model = .rl.: .* set sim\.latency_ms\.decision to 0",
        ),
    ],
)
def test_contradictory_limits_and_modes(overrides: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingError, match=text):
        resolved(**overrides)


def test_defaults_give_way_to_a_smaller_total() -> None:
    assert resolved(limits__positions__total=4).settings.limits.positions.long == 6
    assert resolve(profile="small-account", environ={}).settings.limits.positions.total == 4
    assert resolved(limits__positions__long=0).settings.limits.positions.short == 6


def test_both_modes_are_in_force() -> None:
    settings = resolved(account__mode__margin="cross", account__mode__position="hedge").settings
    assert (settings.account.mode.margin, settings.account.mode.position) == ("cross", "hedge")
    assert resolved(account__mode__position="hedge", limits__positions__total=2).headlines == []
    assert resolved(limits__positions__total=1).settings.account.mode.position == "one_way"
