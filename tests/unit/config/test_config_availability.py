"""Settings of parts that this version does not have: refused, harmless, or told in a headline."""

from __future__ import annotations

import math
import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from qtsim.config import Resolved, resolve, unavailable
from qtsim.config.kinds import Choice, Names, Number, Switch, Text, Timeframe
from qtsim.config.settings import keys
from qtsim.config.unavailable import (
    RELEASE,
    TABLE,
    Missing,
    is_in_force,
    missing,
    refusal,
    refuse_unavailable,
    sentence,
)
from qtsim.errors import SettingError

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def resolved(**layers) -> Resolved:
    return resolve(**{"environ": {}, **layers})


def another_value(path: str) -> object:
    """A sane value of a setting that is neither its default nor harmless, and contradicts no other default."""
    key = keys()[path]
    entry = missing(path)
    taken = {key.default, *((entry.built or ()) + entry.harmless if entry else ())}
    kind = key.kind
    candidates: list[object]
    if isinstance(kind, Choice):
        candidates = list(kind.options)
    elif isinstance(kind, Switch):
        candidates = [True, False]
    elif isinstance(kind, Timeframe):
        candidates = ["1m", "4h"]
    elif isinstance(kind, Text):
        candidates = ["other"]
    elif isinstance(kind, Names):
        candidates = [("exit",)]
    elif isinstance(kind, Number):
        candidates = [value for value in (2, 30, 5, 1.25, 0.9, 0.45, 0.021, -0.2) if kind.is_sane(value)]
    else:
        first, *rest = key.default
        candidates = [((first[0] / 2, first[1]), *rest)]
    return next(value for value in candidates if value not in taken and not contradicts(path, value))


PAIRS = {
    ("sim.mode", "detail"): {"data.detail_timeframe": "1m"},
    ("data.detail_timeframe", "1m"): {"sim.mode": "detail"},
}


def contradicts(path: str, value: object) -> bool:
    """True where the value cannot stand beside the defaults."""
    try:
        resolved(overrides={path: value, **PAIRS.get((path, str(value)), {})}, available_only=False)
    except SettingError:
        return True
    return False


NOT_BUILT = [path for path in keys() if missing(path) is not None and path != "gates.enabled"]


@pytest.mark.parametrize("path", NOT_BUILT)
def test_changing_what_is_not_built_is_refused(path: str):
    value = another_value(path)
    overrides = {path: value, **PAIRS.get((path, str(value)), {})}
    with pytest.raises(SettingError, match=rf"{re.escape(path)} = .* is not available in qtsim {re.escape(RELEASE)}: "):
        resolved(overrides=overrides)
    assert resolved(overrides=overrides, available_only=False).sources[path] == "command line"
    assert resolved(overrides={path: keys()[path].default}).headlines == []


@pytest.mark.parametrize("path", NOT_BUILT)
def test_harmless_values_are_accepted(path: str):
    entry = missing(path)
    assert entry is not None
    for value in (*entry.harmless, *(entry.built or ())):
        assert keys()[path].kind.coerce(value) == value
        assert refusal(path, value) is None


@pytest.mark.parametrize("entry", TABLE, ids=[entry.pattern for entry in TABLE])
def test_every_entry_stands_for_something(entry):
    decided = [path for path in keys() if missing(path) is entry]
    assert decided, "no setting, or an earlier entry takes all of them"
    assert all(fnmatchcase(path, entry.pattern) for path in decided)
    assert not entry.why.endswith(".")
    for path in decided:
        if entry.built is not None:
            assert keys()[path].default in entry.built


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"bus.url": "redis://x"},
            'bus.url = "redis://x" is not available in qtsim 0.1: the event bus is not built yet; leave it at "" '
            "(command line)",
        ),
    ],
)
def test_refusal_says_what_would_be_right(overrides: dict, message: str):
    with pytest.raises(SettingError, match=re.escape(message)):
        resolved(overrides=overrides)


def test_refusal_names_all_choices_that_are_built():
    entry = Missing("costs.slippage.model", "only two are built", built=("fixed", "size"))
    told = sentence("costs.slippage.model", "spread", entry)
    assert told.endswith('only two are built; choose "fixed" or "size"')


def test_refusal_names_file_and_line(tmp_path: Path):
    path = tmp_path / "qtsim.toml"
    path.write_text("[bus]\n\nurl = 'redis://x'\n", encoding="utf-8")
    with pytest.raises(SettingError, match=rf"\(file {re.escape(str(path))}, line 3\)$"):
        resolved(files=[path])


@pytest.fixture
def less_is_built(monkeypatch: pytest.MonkeyPatch):
    """A version that lacks more than this one."""
    more = (
        Missing("account.max_capital", "no cap is built", harmless=(math.inf,)),
        Missing("live.*", "no live trading is built"),
    )
    monkeypatch.setattr(unavailable, "TABLE", (*TABLE, *more))
    missing.cache_clear()
    yield
    missing.cache_clear()


@pytest.mark.usefixtures("less_is_built")
def test_every_refusal_is_told_at_once():
    with pytest.raises(SettingError, match="no cap is built; leave it at inf"):
        resolved(overrides={"account.max_capital": 5_000})
    with pytest.raises(SettingError) as caught:
        resolved(overrides={"account.max_capital": 5_000, "bus.url": "redis://x", "live.session": "other"})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.usefixtures("less_is_built")
def test_profile_that_needs_what_is_missing_is_refused_in_one_sentence():
    values = {"exit.base_tp": 0.01, "account.max_capital": 5_000.0, "bus.url": "redis://x"}
    with pytest.raises(SettingError) as caught:
        refuse_unavailable(values, dict.fromkeys(values, "profile swift"), "swift")
    assert str(caught.value) == (
        'profile "swift" is not available in qtsim 0.1: it needs account.max_capital = 5000.0, bus.url = "redis://x"'
    )


@pytest.mark.parametrize("profile", ["exitbrain-v35", "tight", "small-account", "profit-lock-30x", "plain"])
def test_a_profile_that_is_built_has_no_headline(profile: str):
    assert resolved(profile=profile).headlines == []


def test_a_predecessors_limit_is_in_force():
    result = resolved(environ={"QT_MAX_POSITIONS": "5"})
    assert result.settings.limits.positions.total == 5
    assert not any("not in force" in line for line in result.headlines)


@pytest.mark.parametrize("value", [True, False])
def test_gates_may_be_switched_off_where_there_are_none(value: bool):
    assert resolved(overrides={"gates.enabled": value}).settings.gates.enabled is value


def test_no_limit_is_what_this_version_does():
    values = {"limits.positions.total": math.inf, "limits.balance.min": 0, "exit.guard.stale.hours": "inf"}
    assert resolved(overrides=values).headlines == []


@pytest.mark.usefixtures("less_is_built")
def test_in_force():
    assert is_in_force("exit.base_tp")
    assert is_in_force("exit.policy")
    assert is_in_force("governor.daily_drawdown")
    assert is_in_force("entry.order.timeout_bars")
    assert is_in_force("bus.url"), "its default works"
    assert not is_in_force("live.mode")


def test_table_is_about_this_release():
    version = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["version"]
    assert version == RELEASE or version.startswith(f"{RELEASE}.")
