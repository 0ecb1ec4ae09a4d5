"""Parameter records: each field a setting of that name, each setting of those sections a field or accounted for."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
import pytest

from qtsim.config import Settings, flatten, resolve
from qtsim.config.kinds import Choice, Switch
from qtsim.config.params import ENUMS, READ_ELSEWHERE, effective_monitoring, field_paths, to_params
from qtsim.config.settings import build, keys, nest
from qtsim.config.unavailable import is_in_force, missing
from qtsim.core import enums
from qtsim.core.params import SECTIONS, params_dt
from qtsim.errors import SettingError

WITHOUT_OPTION = {enums.TrailMode.LADDER.name.lower()}
"""Codes that a policy uses and no setting chooses."""
HOUR = 3_600_000_000_000


def fields() -> set[tuple[str, str]]:
    return {(record, name) for record in params_dt.names for name in params_dt[record].names}


def test_every_field_is_a_setting_of_that_name():
    assert set(params_dt.names) == set(SECTIONS)
    assert set(field_paths()) == fields()
    for (record, field), path in field_paths().items():
        assert path == f"{SECTIONS[record]}.{path[len(SECTIONS[record]) + 1 :]}"
        assert path[len(SECTIONS[record]) + 1 :].replace(".", "_") == field
    assert len(set(field_paths().values())) == len(field_paths())


def test_every_setting_of_those_sections_is_a_field_or_accounted_for():
    read = set(field_paths().values())
    for path in keys():
        if not any(path.startswith(f"{section}.") for section in SECTIONS.values()):
            continue
        entry = missing(path)
        left_alone = entry is not None and (not entry.in_force or len(entry.built or ()) == 1)
        assert (path in read) + (path in READ_ELSEWHERE) + left_alone == 1, path
    assert all(is_in_force(path) for path in read)
    assert set(READ_ELSEWHERE) <= set(keys())


def test_every_choice_of_a_field_has_its_codes():
    for path in field_paths().values():
        kind = keys()[path].kind
        assert (path in ENUMS) == isinstance(kind, Choice)
        if isinstance(kind, Choice):
            entry = missing(path)
            options = {str(one) for one in (entry.built if entry and entry.built else kind.options)} - {"auto"}
            assert options == {member.name.lower() for member in ENUMS[path]} - WITHOUT_OPTION, path


def test_values_arrive():
    settings = resolve(
        environ={},
        overrides={
            "exit.base_tp": 0.03,
            "exit.levels.sl.max": 0.05,
            "exit.levels.tp.progression": "[0.5, 1, 2]",
            "exit.harvest.scheme.tiers": "[[5, 0.2, 0.3, 0.5], [inf, 0.5, 0.25, 0.25]]",
            "exit.policy": "bracket",
            "exit.bracket.tp": "inf",
            "exit.stops.trail.style": "loose",
            "exit.levels.adaptive": "false",
            "sizing.model": "fixed_qty",
            "costs.fees.tier": "vip2",
            "costs.fees.bnb_discount": "true",
            "sim.path": "adverse",
            "entry.cooldown_bars": 3,
        },
    ).settings
    params = to_params(settings, HOUR)
    assert params.shape == (1,)
    assert params.dtype == params_dt
    row = params[0]
    assert row["exit"]["base_tp"] == 0.03
    assert row["levels"]["sl_max"] == 0.05
    assert row["levels"]["tp_progression"].tolist() == [0.5, 1.0, 2.0]
    assert row["levels"]["adaptive"] == 0
    assert row["harvest"]["scheme_tiers"][:3].tolist() == [
        [5.0, 0.2, 0.3, 0.5],
        [math.inf, 0.5, 0.25, 0.25],
        [math.inf, 0.5, 0.25, 0.25],
    ]
    assert row["exit"]["policy"] == enums.ExitPolicy.BRACKET
    assert row["exit"]["bracket_tp"] == math.inf
    assert row["stops"]["trail_style"] == enums.TrailStyle.LOOSE
    assert row["sizing"]["model"] == enums.SizingModel.FIXED_QTY
    assert row["costs"]["fees_maker"] == pytest.approx(0.000126)
    assert row["costs"]["fees_taker"] == pytest.approx(0.000315)
    assert row["sim"]["path"] == enums.PathModel.ADVERSE
    assert row["entry"]["cooldown_bars"] == 3
    assert row["limits"]["per_trade_notional"] == math.inf


@pytest.mark.parametrize(("record", "field"), sorted(fields()))
def test_each_field_follows_its_setting_alone(record: str, field: str):
    path = field_paths()[record, field]
    key = keys()[path]
    settings = Settings()
    base = to_params(settings, HOUR)[0]
    if isinstance(key.kind, Choice):
        options = [option for option in key.kind.options if option.upper() in ENUMS[path].__members__]
        other = next(option for option in options if ENUMS[path][option.upper()] != base[record][field])
    elif isinstance(key.kind, Switch):
        other = not key.default
    elif path == "exit.levels.tp.progression":
        other = (0.1, 0.2, 0.3)
    elif path == "exit.levels.tp.lsf_weights":
        other = (0.9, 0.8, 0.7)
    elif path == "exit.harvest.scheme.tiers":
        other = ((math.inf, 0.2, 0.2, 0.6),)
    elif path in ("exit.profit_lock.legs", "exit.profit_lock.ladder"):
        other = ((0.3, 0.5),)
    elif path == "exit.harvest.scheme.static":
        other = (0.2, 0.2, 0.6)
    else:
        candidates = (0.0124, 0.011, 0.91, 0.0001, 7, 1.1, -0.2, 30.5, 25)
        other = next(value for value in candidates if _accepts(path, value))
    changed = to_params(build(nest({**_without_unset(settings), path: other})), HOUR)[0]
    for one, name in fields():
        same = np.array_equal(changed[one][name], base[one][name])
        assert same == ((one, name) != (record, field)), (one, name)


def _without_unset(settings: Settings) -> dict:
    return {path: value for path, value in flatten(settings).items() if value is not None}


def _accepts(path: str, value: object) -> bool:
    try:
        return flatten(build(nest({path: value})))[path] != keys()[path].default
    except SettingError:
        return False


def test_auto_monitoring_is_continuous_for_bars():
    assert effective_monitoring(Settings()) == "continuous"
    assert to_params(Settings(), HOUR)[0]["exit"]["monitoring"] == enums.Monitoring.CONTINUOUS
    ticks = build({"sim": {"mode": "ticks"}})
    assert effective_monitoring(ticks) == "interval"


def test_choice_without_a_kernel_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ENUMS, "costs.slippage.model", IntEnum("Built", ["FIXED", "SIZE"], start=0))
    with pytest.raises(SettingError, match=r'costs\.slippage\.model = "impact" is not available: no kernel knows it'):
        to_params(build({"costs": {"slippage": {"model": "impact"}}}), HOUR)


def test_endless_monitoring_is_refused():
    settings = build({"exit": {"monitoring": "interval", "check_interval_s": 0.001}})
    with pytest.raises(SettingError, match="makes 3,600,000 checks in each bar"):
        to_params(settings, HOUR)
    assert to_params(settings, HOUR // 60)[0]["exit"]["monitoring"] == enums.Monitoring.INTERVAL
    with pytest.raises(SettingError, match="must be above 0 ns"):
        to_params(Settings(), 0)
