"""Layers: who wins, where a value came from, and errors that name the place."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.config import Resolved, flatten, resolve
from qtsim.config.kinds import show
from qtsim.config.layers import find_line, nearest_key, predecessor_variables, split_assignment, variable_name
from qtsim.config.settings import PROFILES, keys
from qtsim.errors import SettingError


def resolved(**layers) -> Resolved:
    return resolve(**{"environ": {}, **layers})


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str, name: str = "qtsim.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


# --- precedence and sources ------------------------------------------------------------------------------------------

LAYERED = {
    "exit.base_tp": st.floats(0.001, 0.4),
    "exit.base_sl": st.floats(0.001, 0.4),
    "exit.levels.sl.max": st.floats(0.01, 0.5),
    "limits.per_trade.leverage": st.floats(1, 100),
    "limits.per_trade.notional": st.floats(1, 1e6) | st.just(math.inf),
    "exit.on_opposite_signal": st.sampled_from(["ignore", "close", "reverse"]),
    "exit.levels.adaptive": st.booleans(),
    "leverage.kelly.window": st.integers(1, 256),
    "exit.harvest.scheme.static": st.sampled_from([(0.25, 0.25, 0.5), (0.5, 0.25, 0.25), (1.0, 0.0, 0.0)]),
    "strategy.fast": st.integers(1, 99),
}
LAYER = st.fixed_dictionaries({}, optional=LAYERED)


@given(first=LAYER, second=LAYER, environment=LAYER, line=LAYER, profile=st.sampled_from(["exitbrain-v35", "tight"]))
def test_the_last_layer_that_names_a_key_wins(tmp_path_factory, first, second, environment, line, profile):
    folder = tmp_path_factory.mktemp("layers")
    files = []
    for name, values in (("a.toml", first), ("b.toml", second)):
        path = folder / name
        path.write_text("".join(f"{key} = {show(value)}\n" for key, value in values.items()), encoding="utf-8")
        files.append(path)
    environ = {variable_name(key): show(value) for key, value in environment.items()}
    result = resolved(profile=profile, files=files, environ=environ, overrides=line)

    values = flatten(result.settings)
    from_profile = {"exit.base_tp": 0.01, "exit.base_sl": 0.005} if profile == "tight" else {}
    layers = [
        ("default", {path: key.default for path, key in keys().items()}),
        (f"profile {profile}", from_profile),
        (f"file {files[0]}", first),
        (f"file {files[1]}", second),
        (None, environment),
        ("command line", line),
    ]
    for key in LAYERED:
        holders = [(source, layer[key]) for source, layer in layers if key in layer]
        if not holders:
            assert key not in values
            continue
        source, value = holders[-1]
        assert values[key] == value
        assert result.sources[key] == (source or f"environment {variable_name(key)}")
    named = " ".join(result.headlines)
    for key in environment:
        if key not in line:
            assert f"(environment {variable_name(key)})" in named
    for key, value in from_profile.items():
        if values[key] != value:
            assert f"overrides {show(value)} of profile tight" in named


@given(LAYER)
def test_text_of_the_command_line_reads_like_the_value(values):
    as_text = resolved(overrides={key: show(value) for key, value in values.items()})
    assert flatten(as_text.settings) == flatten(resolved(overrides=values).settings)


def test_nothing_given_is_the_defaults():
    result = resolved()
    assert result.settings == resolved(profile="exitbrain-v35").settings
    assert set(resolved().sources.values()) == {"default"}
    assert (result.headlines, result.profile, result.n_overrides) == ([], "exitbrain-v35", 0)


def test_partial_tables_keep_what_they_do_not_name(write):
    path = write('[limits]\nper_trade = { leverage = 5 }\n[exit.levels]\nsl.max = "1.5%"\n')
    result = resolved(files=[path])
    assert result.settings.limits.per_trade.leverage == 5
    assert result.settings.limits.per_trade.margin == 0.15
    assert result.settings.exit.levels.sl.max == 0.015
    assert result.settings.exit.levels.sl.min == 0.0015
    assert result.sources["limits.per_trade.margin"] == "default"


@pytest.mark.parametrize(
    "overrides",
    [
        {"limits.per_trade": {"leverage": 5}},
        {"limits.per_trade": "{ leverage = 5 }"},
        {"limits": {"per_trade.leverage": 5}},
        {"limits": {"per_trade": {"leverage": "5"}}},
        {"limits.per_trade.leverage": "5"},
    ],
)
def test_overrides_may_be_tables(overrides: dict):
    trade = resolved(overrides=overrides).settings.limits.per_trade
    assert (trade.leverage, trade.margin, trade.notional) == (5, 0.15, math.inf)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("exit.levels.tp.progression", "[0.6,1.2,1.8]", (0.6, 1.2, 1.8)),
        ("exit.levels.tp.progression", "0.7,1.3,1.9", (0.7, 1.3, 1.9)),
        ("exit.base_tp", "2.5%", 0.025),
        ("exit.base_tp", '"2%"', 0.02),
        ("exit.base_tp", "'0.02'", 0.02),
        ("exit.bracket.tp", '"inf"', math.inf),
        ("run.seed", '"7"', 7),
        ("exit.levels.adaptive", '"false"', False),
        ("exit.bracket.tp", "inf", math.inf),
        ("exit.levels.adaptive", "false", False),
        ("exit.monitoring", "points", "points"),
        ("exit.monitoring", '"points"', "points"),
        ("run.symbols", '["BTCUSDT", "ETHUSDT"]', ("BTCUSDT", "ETHUSDT")),
        ("run.symbols", "BTCUSDT,ETH/USDT:USDT", ("BTCUSDT", "ETH/USDT:USDT")),
        ("run.timerange", "20230101-20250630", "20230101-20250630"),
        ("run.timerange", "2023-01-01", "2023-01-01"),
        ("run.timerange", "", ""),
        ("run.strategy", "my/file.py:Trend", "my/file.py:Trend"),
        ("account.balance", "10_000", 10_000.0),
        ("strategy.fast", "12", 12),
        ("strategy.name", "ema", "ema"),
        ("strategy.steps", "[1, 2]", [1, 2]),
        ("strategy.on", "true", True),
        ("strategy.since", "2024-01-01", "2024-01-01"),
        ("exit.harvest.scheme.tiers", "[[inf, 0.5, 0.25, 0.25]]", ((math.inf, 0.5, 0.25, 0.25),)),
    ],
)
def test_text_is_read_by_what_the_setting_is(key: str, text: str, value: object):
    assert flatten(resolved(overrides={key: text}).settings)[key] == value
    assert flatten(resolved(environ={variable_name(key): text}).settings)[key] == value


def test_assignments_of_the_command_line():
    assert split_assignment("exit.base_tp = 2%") == ("exit.base_tp", "2%")
    assert split_assignment("run.timerange=") == ("run.timerange", "")
    assert split_assignment("strategy.rule=a=b") == ("strategy.rule", "a=b")
    for text in ("exit.base_tp", "=3"):
        with pytest.raises(SettingError, match="write KEY=VALUE"):
            split_assignment(text)


# --- profiles --------------------------------------------------------------------------------------------------------

PROFILE_VALUES = {
    "exitbrain-v35": {},
    "tight": {"exit.base_tp": 0.010, "exit.base_sl": 0.005},
    "small-account": {
        "exit.base_tp": 0.015,
        "exit.base_sl": 0.010,
        "sizing.model": "notional",
        "sizing.notional": 200.0,
        "limits.positions.total": 4,
        "limits.exposure.gross": 800.0,
    },
    "profit-lock-30x": {
        "leverage.model": "fixed",
        "leverage.fixed": 30.0,
        "limits.per_trade.leverage": 30.0,
        "exit.policy": "profit_lock",
        "entry.confidence.min": 0.72,
        "exit.stops.backup.enabled": True,
        "exit.guard.loss.emergency_margin": 0.75,
    },
    "plain": {
        "exit.policy": "bracket",
        "exit.bracket.tp": math.inf,
        "exit.bracket.sl": math.inf,
        "gates.enabled": False,
        **{f"limits.positions.{name}": math.inf for name in ("total", "long", "short")},
        **{f"limits.per_trade.{name}": math.inf for name in ("leverage", "margin", "notional")},
        "limits.exposure.max": math.inf,
        "limits.exposure.gross": math.inf,
        "limits.balance.min": 0.0,
        "limits.balance.buffer": 1.0,
        "limits.sector_share": math.inf,
        "limits.correlation.max": math.inf,
        "leverage.model": "fixed",
        "leverage.fixed": 1.0,
        "costs.slippage.bps": 0.0,
        "costs.slippage.model": "fixed",
    },
}


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_sets_exactly_what_the_specification_says(profile: str):
    result = resolved(profile=profile, available_only=False)
    expected = {path: key.default for path, key in keys().items()} | PROFILE_VALUES[profile] | {"run.profile": profile}
    assert flatten(result.settings) == expected
    assert result.profile == profile
    assert {path for path, source in result.sources.items() if source == f"profile {profile}"} == set(
        PROFILE_VALUES[profile]
    )
    assert result.n_overrides == 0


@pytest.mark.parametrize("where", ["argument", "file", "environment", "predecessor", "set"])
def test_profile_may_be_chosen_anywhere(where: str, write):
    layers = {
        "argument": {"profile": "tight"},
        "file": {"files": [write('[run]\nprofile = "tight"\n')]},
        "environment": {"environ": {"QTSIM_RUN__PROFILE": "tight"}},
        "predecessor": {"environ": {"EXIT_BRAIN_PROFILE": "TIGHT"}},
        "set": {"overrides": {"run.profile": "tight"}},
    }
    result = resolved(**layers[where])
    assert (result.profile, result.settings.run.profile, result.settings.exit.base_tp) == ("tight", "tight", 0.01)


def test_command_line_profile_beats_the_files(write):
    result = resolved(profile="tight", files=[write('run.profile = "small-account"\n')])
    assert result.profile == "tight"
    assert result.sources["run.profile"] == "command line"
    assert result.settings.sizing.model == "math"


def test_two_profiles_on_the_command_line_contradict():
    with pytest.raises(SettingError, match=r'profile "tight" and run\.profile = "plain" contradict each other'):
        resolved(profile="tight", overrides={"run.profile": "plain"})


def test_unknown_profile_names_the_nearest():
    with pytest.raises(SettingError, match=r'unknown profile "tigt": choose one of .* did you mean tight\?'):
        resolved(profile="tigt")


def test_overridden_profile_value_is_a_headline(write):
    path = write("[exit]\nbase_tp = 0.03\nbase_sl = 0.005\n")
    result = resolved(profile="tight", files=[path])
    assert result.headlines == [f"exit.base_tp = 0.03 (file {path}) overrides 0.01 of profile tight"]
    assert result.n_overrides == 1


def test_what_a_run_is_about_is_no_override():
    result = resolved(overrides={"run.seed": 5, "strategy.fast": 9, "data.dir": "x", "exit.base_tp": 0.03})
    assert result.n_overrides == 1


# --- the environment -------------------------------------------------------------------------------------------------

PREDECESSOR = [
    ("EXIT_BRAIN_PROFILE", "DEFAULT", "run.profile", "exitbrain-v35"),
    ("EXIT_BRAIN_PROFILE", "small_account", "run.profile", "small-account"),
    ("QT_DEFAULT_LEVERAGE", "5", "leverage.fixed", 5.0),
    ("EXIT_MODE", "EXIT_BRAIN_V3", "exit.policy", "exit_brain"),
    ("EXIT_MODE", "BRACKET", "exit.policy", "bracket"),
    ("BASE_TP_PCT", "0.01", "exit.base_tp", 0.01),
    ("BASE_TP_PCT", "1%", "exit.base_tp", 0.01),
    ("BASE_SL_PCT", "0.005", "exit.base_sl", 0.005),
    ("EXIT_BRAIN_CHECK_INTERVAL_SEC", "5", "exit.check_interval_s", 5.0),
    ("ADAPTIVE_LEVERAGE_ENABLED", "false", "exit.levels.adaptive", False),
    ("ADAPTIVE_LEVERAGE_ENABLED", "1", "exit.levels.adaptive", True),
    ("TP_MIN", "0.004", "exit.levels.tp.min", 0.004),
    ("SL_CLAMP_MIN", "0.002", "exit.levels.sl.min", 0.002),
    ("SL_CLAMP_MAX", "0.03", "exit.levels.sl.max", 0.03),
    ("DYNAMIC_TP_PROFILE", "STATIC", "exit.harvest.scheme.by", "static"),
    ("RATCHET_SL_ENABLED", "true", "exit.stops.ratchet.preset", "breakeven"),
    ("RATCHET_SL_ENABLED", "False", "exit.stops.ratchet.preset", "off"),
    ("MAX_LOSS_PCT_HARD_SL", "0.03", "exit.stops.hard.distance", 0.03),
    ("MAX_UNREALIZED_LOSS_PCT", "12.5", "exit.guard.loss.max", 0.125),
    ("MAX_UNREALIZED_LOSS_PCT", "7.5%", "exit.guard.loss.max", 0.075),
    ("MAX_UNREALIZED_LOSS_PCT", "inf", "exit.guard.loss.max", math.inf),
    ("QT_MAX_POSITIONS", "4", "limits.positions.total", 4),
    ("QT_MAX_NOTIONAL_PER_TRADE", "500", "limits.per_trade.notional", 500.0),
    ("QT_MAX_GROSS_EXPOSURE", "2000", "limits.exposure.gross", 2000.0),
]


@pytest.mark.parametrize(("name", "text", "path", "value"), PREDECESSOR)
def test_predecessors_variable_keeps_working(name: str, text: str, path: str, value: object):
    result = resolved(environ={name: text})
    assert flatten(result.settings)[path] == value
    assert result.sources[path] == f"environment {name}"
    assert any(f"{path} = {show(value)} (environment {name})" in line for line in result.headlines)


def test_every_variable_of_the_predecessor_is_tested():
    assert {name for name, *_ in PREDECESSOR} == set(predecessor_variables())


def test_own_variable_beats_the_predecessors():
    result = resolved(environ={"BASE_TP_PCT": "0.01", "QTSIM_EXIT__BASE_TP": "0.03"})
    assert result.settings.exit.base_tp == 0.03
    assert result.sources["exit.base_tp"] == "environment QTSIM_EXIT__BASE_TP"


def test_empty_variables_of_the_predecessor_are_unset():
    assert resolved(environ={"BASE_TP_PCT": " ", "EXIT_MODE": ""}).headlines == []


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BASE_TP_PCT": "2"}, 'exit.base_tp = 2: 200 %; did you mean 0.02 or "2%"? (environment BASE_TP_PCT)'),
        ({"RATCHET_SL_ENABLED": "maybe"}, "must be true (preset breakeven) or false (preset off)"),
        ({"MAX_UNREALIZED_LOSS_PCT": "many"}, "a number of per cent is expected (environment MAX_UNREALIZED_LOSS_PCT)"),
        ({"MAX_UNREALIZED_LOSS_PCT": "1250"}, "1250 %; this variable is in per cent, 12.5 is 12.5 %; must be 0.002"),
        ({"MAX_UNREALIZED_LOSS_PCT": "0.125"}, "0.125 %; this variable is in per cent, 12.5 is 12.5 %; must be 0.002"),
        ({"MAX_UNREALIZED_LOSS_PCT": "nan"}, "this variable is in per cent"),
        ({"QTSIM_EXIT__BASE_TPP": "0.02"}, "unknown setting exit.base_tpp: did you mean exit.base_tp?"),
        ({"QTSIM_EXIT_BASE_TP": "0.02"}, "two underscores, write QTSIM_EXIT__BASE_TP"),
        ({"QTSIM_NIGHTLY": "1"}, "unknown setting nightly: `qtsim config show` lists all (environment QTSIM_NIGHTLY)"),
        ({"QTSIM_BASE_TPP": "1"}, "did you mean exit.base_tp? (environment QTSIM_BASE_TPP)"),
        ({"QTSIM_EXIT": "1"}, "two underscores, write QTSIM_EXIT__NAME"),
        (
            {"QTSIM_EXIT__LEVELS__ADAPTIVE": "perhaps"},
            "must be true or false (environment QTSIM_EXIT__LEVELS__ADAPTIVE)",
        ),
        ({"QTSIM_LIMITS__PER_TRADE": "5"}, "this is a table of settings, such as limits.per_trade.leverage"),
        (
            {"EXIT_MODE": "OTHER"},
            'must be one of "exit_brain", "bracket", "legacy", "profit_lock" (environment EXIT_MODE)',
        ),
    ],
)
def test_wrong_variables_are_named(environ: dict, message: str):
    with pytest.raises(SettingError, match=re.escape(message)):
        resolved(environ=environ)


def test_variable_may_hold_a_table():
    settings = resolved(environ={"QTSIM_LIMITS__PER_TRADE": '{ leverage = 5, margin = "12%" }'}).settings
    assert (settings.limits.per_trade.leverage, settings.limits.per_trade.margin) == (5, 0.12)


def test_the_programs_own_and_foreign_variables_are_no_settings():
    environ = {"QTSIM_CACHE_DIR": "/x", "QTSIM_HOME": "/y", "QTSIM_DEBUG": "1", "PATH": "/bin"}
    assert resolved(environ=environ).headlines == []


# --- errors of files and of the command line -------------------------------------------------------------------------

WRONG_FILES = [
    (
        "unknown_key",
        "[exit]\nbase_tp = 0.02\nbase_ls = 0.01\n",
        "unknown setting exit.base_ls: did you mean exit.base_sl?",
        3,
    ),
    ("unknown_table", "[exits]\nbase_tp = 0.02\n", "unknown setting exits: did you mean exit?", 1),
    ("unknown_in_inline", "[exit.levels]\n\nsl = { mx = 0.02 }\n", "unknown setting exit.levels.sl.mx", 3),
    ("moved_key", "base_tp = 0.02\n", "unknown setting base_tp: did you mean exit.base_tp?", 1),
    ("ratio", "[exit]\n# base\nbase_tp = 2\n", 'exit.base_tp = 2: 200 %; did you mean 0.02 or "2%"?', 3),
    (
        "nested_value",
        "[exit.levels]\nsl.max = true\n",
        "exit.levels.sl.max = true: a number is expected, not a switch",
        2,
    ),
    ("value_for_table", "[limits]\nper_trade = 5\n", "limits.per_trade = 5: this is a table of settings", 2),
    ("table_for_value", "[exit]\nbase_tp = { a = 1 }\n", "a number is expected, not a table", 2),
    ("strategy_name", 'strategy = "x"\n', "the name of the strategy is run.strategy", 1),
    (
        "row",
        "[exit.harvest]\nscheme.tiers = [[inf, 0.5, 0.5, 0.5]]\n",
        "row 1, [inf, 0.5, 0.5, 0.5]: its fractions add up to 1.5",
        2,
    ),
]


@pytest.mark.parametrize(
    ("text", "message", "line"), [case[1:] for case in WRONG_FILES], ids=[case[0] for case in WRONG_FILES]
)
def test_error_in_a_file_names_file_and_line(text: str, message: str, line: int, write):
    path = write(text)
    with pytest.raises(SettingError) as caught:
        resolved(files=[path])
    assert message in str(caught.value)
    assert str(caught.value).endswith(f"(file {path}, line {line})")
    assert caught.value.exit_code == 2


def test_all_errors_of_a_file_are_told_at_once(write):
    with pytest.raises(SettingError) as caught:
        resolved(files=[write("[exit]\nbase_tp = 2\nbase_sl = 3\n[foo]\na = 1\n")])
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "line"), [("[exit]\nbase_tp = = 2\n", 2), ("[exit\n", 1), ("a = 1\na = 2\n", 2), ('a = """\n', 2)]
)
def test_syntax_error_names_file_and_line(text: str, line: int, write):
    path = write(text)
    with pytest.raises(SettingError, match=rf"settings file {re.escape(str(path))}, line {line}: this is not TOML"):
        resolved(files=[path])


def test_unreadable_files_are_named(tmp_path: Path):
    with pytest.raises(SettingError, match=r"missing\.toml does not exist"):
        resolved(files=[tmp_path / "missing.toml"])
    with pytest.raises(SettingError, match="cannot be read"):
        resolved(files=[tmp_path])
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(SettingError, match="is not UTF-8 text"):
        resolved(files=[tmp_path / "latin.toml"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"exit.bas_tp": "2"}, "unknown setting exit.bas_tp: did you mean exit.base_tp? (command line)"),
        ({"exit.base_tp": 2}, '200 %; did you mean 0.02 or "2%"? (command line)'),
        ({"exit.base_tp": "2"}, 'exit.base_tp = 2: 200 %; did you mean 0.02 or "2%"? (command line)'),
        ({"zzz": {"a": 1}}, "unknown setting zzz: `qtsim config show` lists all (command line)"),
        ({"exit": {"levels": {"nope": 1}}}, "unknown setting exit.levels.nope"),
        ({"limits": 5}, "limits = 5: this is a table of settings, such as limits.positions.total (command line)"),
    ],
)
def test_error_of_the_command_line(overrides: dict, message: str):
    with pytest.raises(SettingError, match=re.escape(message)):
        resolved(overrides=overrides)


def test_contradiction_names_both_places(write):
    path = write("[exit.levels]\nsl.min = 0.015\n")
    with pytest.raises(SettingError) as caught:
        resolved(files=[path], overrides={"exit.levels.sl.max": 0.01})
    assert f"exit.levels.sl.min: file {path}, line 2, exit.levels.sl.max: command line" in str(caught.value)


def test_contradiction_is_judged_on_the_whole(write):
    path = write("[exit.levels]\nsl.min = 0.03\n")
    assert resolved(files=[path], overrides={"exit.levels.sl.max": 0.04}).settings.exit.levels.sl.min == 0.03


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("exit.base_t", "exit.base_tp"),
        ("exit.sl.max", "exit.levels.sl.max"),
        ("exit.level.sl.max", "exit.levels.sl.max"),
        ("limits.per_trade.lev", "limits.per_trade.leverage"),
        ("base_sl", "exit.base_sl"),
        ("costs.fee.taker", "costs.fees.taker"),
        ("xyzzy", None),
    ],
)
def test_nearest_key(wrong: str, right: str | None):
    assert nearest_key(wrong) == right


def test_lines_are_found_through_tables_and_dots():
    text = 'a = 1\n[exit]\nbase_tp = 1\nlevels.sl.max = 2\n[exit.levels]\nsl = { min = 3 }\n"tp" = 5\n'
    assert find_line(text, "exit.base_tp") == 3
    assert find_line(text, "exit.levels.sl.max") == 4
    assert find_line(text, "exit.levels.sl.min") == 6
    assert find_line(text, "exit.levels.tp.min") == 7
    assert find_line(text, "run.seed") is None
