"""Records of cells, made from the changes of each axis, are those of the whole settings."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest

from qtsim.config.layers import Resolved, resolve
from qtsim.config.params import to_params
from qtsim.core.params import params_dt
from qtsim.errors import SettingError
from qtsim.research.parameters import is_parameter, plan_params, settings_of_trial
from qtsim.research.space import Axis, Space

HOUR = 3_600_000_000_000


def resolved(**overrides: object) -> Resolved:
    return resolve(environ={}, overrides=overrides)


def assert_as_settings(base: Resolved, space: Space) -> None:
    params = plan_params(base, space, HOUR).params
    for cell in range(space.size):
        at = space.indices([cell])[0]
        record, balance = params.of(at)
        settings = settings_of_trial(base, space.values(cell))
        assert record.tobytes() == to_params(settings, HOUR).tobytes()
        assert balance == settings.account.balance


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param({"exit.base_tp": (0.01, 0.02), "exit.base_sl": (0.004, 0.008, 0.012)}, id="levels"),
        pytest.param({"leverage.model": ("fixed", "kelly"), "leverage.fixed": (2.0, 5.0)}, id="choice_and_number"),
        pytest.param({"costs.fees.tier": ("vip0", "vip3"), "costs.fees.bnb_discount": (False, True)}, id="one_rate"),
        pytest.param({"account.balance": (100.0, 10_000.0), "entry.cooldown_bars": (0, 3)}, id="balance"),
        pytest.param({"exit.harvest.scheme.static": ((0.5, 0.3, 0.2), (0.0, 0.0, 1.0))}, id="list"),
        pytest.param({"exit.levels.sl.min": (0.001, 0.005), "exit.levels.sl.max": (0.01, 0.02)}, id="ordered_pair"),
    ],
)
def test_every_cell_is_as_its_settings(axes: dict[str, tuple[object, ...]]) -> None:
    assert_as_settings(resolved(), Space(tuple(Axis(path, values) for path, values in axes.items())))


def test_axes_that_meet_in_one_value_are_built_whole() -> None:
    space = Space((Axis("costs.fees.tier", ("vip0", "vip3")), Axis("costs.fees.bnb_discount", (False, True))))
    assert plan_params(resolved(), space, HOUR).params.records


def test_what_the_settings_refuse_is_told_by_its_places() -> None:
    space = Space((Axis("exit.levels.sl.min", (0.001, 0.02)), Axis("exit.levels.sl.max", (0.01, 0.03))))
    planned = plan_params(resolved(), space, HOUR)
    assert list(planned.refused) == [(1, 0)]
    assert "exit.levels.sl.min" in planned.refused[1, 0]


def test_a_value_that_fits_only_with_another_axis_is_allowed() -> None:
    base = resolved(**{"exit.levels.sl.max": 0.01})
    space = Space((Axis("exit.levels.sl.min", (0.02,)), Axis("exit.levels.sl.max", (0.03, 0.05))))
    assert not plan_params(base, space, HOUR).refused


def test_a_space_of_which_nothing_is_allowed_is_refused() -> None:
    space = Space((Axis("exit.levels.sl.min", (0.02,)), Axis("exit.levels.sl.max", (0.01,))))
    with pytest.raises(SettingError, match="no combination is allowed"):
        plan_params(resolved(), space, HOUR)


def test_records_come_back_from_a_journey_with_the_dtype_that_kernels_know() -> None:
    space = Space((Axis("exit.base_tp", (0.01, 0.02)), Axis("exit.base_sl", (0.004, 0.008))))
    params = plan_params(resolved(), space, HOUR).params
    back = pickle.loads(pickle.dumps(params))
    for at in itertools.product((0, 1), repeat=2):
        record, _ = back.of(np.array(at))
        assert record.dtype is params_dt
        assert record.tobytes() == params.of(np.array(at))[0].tobytes()


def test_parameters_are_what_leaves_the_market_as_it_is() -> None:
    assert is_parameter("exit.base_tp")
    assert is_parameter("account.balance")
    assert not is_parameter("strategy.fast")
    assert not is_parameter("regime.leader.band")
    assert not is_parameter("costs.funding.default_rate")
