"""The model: every key documented and sane, values read as people write them, contradictions refused."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.config import Settings, flatten, from_dict, settings_digest, to_dict
from qtsim.config.kinds import Choice, Number, Numbers, Ratio, Rows, percent, show
from qtsim.config.settings import FEE_TIERS, TIERS_TOP, WINDOW_TOP, Section, build, keys, nest, sections
from qtsim.core.params import HARVEST_TIERS_MAX, WINDOW_MAX
from qtsim.errors import SettingError

SPECIFICATION = Path(__file__).resolve().parents[4] / "shared" / "spec" / "settings.md"

# maker and taker are named in its comment; how archives are fetched it leaves open
BEYOND_THE_SPECIFICATION = {
    *("costs.fees.maker", "costs.fees.taker"),
    *("data.download.threads", "data.download.tries", "data.download.timeout_s"),
}


def all_models(model: type[Section] = Settings) -> list[type[Section]]:
    found = [model]
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += all_models(field.annotation)
    return found


def test_defaults_and_key_set_equal_the_specification():
    if not SPECIFICATION.is_file():
        pytest.skip("the specification is not beside this checkout")
    block = re.search(r"```toml\n(.*?)```", SPECIFICATION.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    stated = from_dict(tomllib.loads(block.group(1)))
    assert flatten(stated) == flatten(Settings())

    def leaves(tree: dict, prefix: str = "") -> set[str]:
        found = set()
        for name, value in tree.items():
            path = f"{prefix}{name}"
            found |= leaves(value, f"{path}.") if isinstance(value, dict) else {path}
        return found

    assert leaves(tomllib.loads(block.group(1))) == set(keys()) - BEYOND_THE_SPECIFICATION


@pytest.mark.parametrize("path", list(keys()))
def test_key_is_documented_and_its_default_is_sane(path: str):
    key = keys()[path]
    assert key.kind.text
    assert "\n" not in key.kind.text
    assert not key.kind.text.endswith(".")
    if key.default is not None:
        assert key.kind.coerce(key.default) == key.default
        assert type(key.kind.coerce(key.default)) is type(key.default)
        assert key.kind.coerce(tomllib.loads(f"value = {show(key.default)}")["value"]) == key.default
    if isinstance(key.kind, Choice):
        assert len(set(key.kind.options)) == len(key.kind.options)
    if isinstance(key.kind, Number):
        assert key.kind.low <= key.kind.high


def test_every_table_says_what_it_is():
    assert all((model.__doc__ or "").strip().endswith(".") for model in all_models())
    assert all(sections().values())


def test_limits_of_memory_equal_the_cores():
    assert WINDOW_TOP == WINDOW_MAX
    assert TIERS_TOP == HARVEST_TIERS_MAX


@pytest.mark.parametrize(
    ("written", "read"),
    [(0.02, 0.02), ("2%", 0.02), ("2 %", 0.02), ("0.02", 0.02), ("1.2%", 0.012), (".5%", 0.005), ("+3%", 0.03)],
)
def test_ratio_is_read_as_written(written: object, read: float):
    assert build({"exit": {"base_tp": written}}).exit.base_tp == read


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (2, 'exit.base_tp = 2: 200 %; did you mean 0.02 or "2%"?'),
        (1.5, 'exit.base_tp = 1.5: 150 %; did you mean 0.015 or "1.5%"?'),
        ("200%", "200 %; must be 0.0001 (0.01 %) to 0.5 (50 %)"),
        (-0.02, "-2 %; must be 0.0001 (0.01 %) to 0.5 (50 %)"),
        (0, "0 %; must be"),
        (200, "20000 %; must be"),
        (math.inf, "inf; must be"),
        (math.nan, "nan is not a number to work with"),
        (True, "a number is expected, not a switch"),
        ("two", 'exit.base_tp = "two": a number is expected: a ratio such as 0.02 or "2%"'),
        ([0.02], "a number is expected, not a list"),
    ],
)
def test_ratio_outside_its_sane_range_is_refused(written: object, message: str):
    with pytest.raises(SettingError, match=re.escape(message)):
        build({"exit": {"base_tp": written}})


@given(st.decimals(min_value="0.01", max_value="49", places=4))
def test_per_cent_text_is_the_nearest_ratio(number):
    assert Ratio("", low=0.0, high=0.5).coerce(f"{number}%") == float(number / 100)


@given(st.floats(0.6, 49.0))
def test_ratio_given_as_per_cent_is_never_accepted_silently(value: float):
    with pytest.raises(ValueError, match="did you mean"):
        Ratio("", low=0.0001, high=0.5).coerce(value)


@pytest.mark.parametrize("written", [math.inf, "inf"])
def test_inf_is_no_limit_where_that_has_a_meaning(written: object):
    settings = build({"exit": {"bracket": {"tp": written}}, "limits": {"positions": {"total": written}}})
    assert settings.exit.bracket.tp == math.inf
    assert settings.limits.positions.total == math.inf


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"run": {"seed": 1.5}}, "run.seed = 1.5: a whole number is expected"),
        ({"run": {"timeframe": "1hour"}}, 'run.timeframe = "1hour": not a timeframe; write for instance'),
        ({"run": {"strategy": " "}}, "must not be empty"),
        ({"run": {"symbols": []}}, "run.symbols = []: must not be empty"),
        ({"run": {"profile": "fast"}}, 'must be one of "exitbrain-v35", "tight"'),
        ({"run": {"symbols": 5}}, 'a list of names is expected, such as ["BTCUSDT", "ETHUSDT"]'),
        ({"account": {"balance": 0}}, "account.balance = 0: must be above 0"),
        ({"account": {"balance": "5%"}}, "this is not a ratio; write the number without %"),
        ({"exit": {"check_interval_s": math.inf}}, "must be 0.001 to 86400"),
        ({"exit": {"levels": {"adaptive": 1}}}, "exit.levels.adaptive = 1: must be true or false"),
        ({"exit": {"policy": "brain"}}, 'must be one of "exit_brain", "bracket", "legacy", "profit_lock"'),
        ({"exit": {"levels": {"feedback": {"trades": 257}}}}, "must be 1 to 256"),
        ({"leverage": {"kelly": {"window": 257}}}, "must be 1 to 256"),
        ({"leverage": {"kelly": {"window": 0}}}, "must be 1 to 256"),
        ({"data": {"dir": 5}}, "text is expected, not a number; put it in quotes"),
        ({"costs": {"fees": {"taker": 0.05}}}, '5 %; did you mean 0.0005 or "0.05%"?'),
        ({"exit": {"levels": {"tp": {"progression": [0.6, 1.2]}}}}, "a list of 3 numbers is expected"),
        ({"exit": {"levels": {"tp": {"progression": [0.6, 0.6, 1.8]}}}}, "must ascend"),
        ({"exit": {"levels": {"tp": {"progression": [0.6, -1, 1.8]}}}}, "number 2, -1: must be above 0"),
        ({"exit": {"levels": {"sl": {"min": 0.03}}}}, "sl.min = 0.03 exceeds exit.levels.sl.max = 0.02"),
        ({"leverage": {"simple": {"min": 30}}}, "leverage.simple.min = 30.0 exceeds leverage.simple.max = 20.0"),
        ({"leverage": {"ilf2": {"max": 4}}}, "leverage.ilf2.min = 5.0 exceeds leverage.ilf2.max = 4.0"),
        ({"orchestrator": {"min_confidence": {"choppy": 0.8}}}, "choppy = 0.8 exceeds orchestrator.min_confidence.max"),
        ({"orchestrator": {"critical": {"daily_drawdown": 0.01}}}, "defensive.daily_drawdown = 0.015 exceeds"),
        ({"orchestrator": {"symbol": {"blacklist_losses": 5}}}, "disable_losses = 10 exceeds"),
        ({"costs": {"slippage": {"model": "size", "bps": 8}}}, "costs.slippage.bps = 8.0 exceeds"),
        ({"sim": {"mode": "detail"}}, "contradict each other: detail needs both"),
        ({"data": {"detail_timeframe": "1m"}}, "contradict each other: detail needs both"),
        (
            {"leverage": {"model": "ilf2"}, "limits": {"per_trade": {"leverage": 3}}},
            "leverage.ilf2.min = 5.0 exceeds limits.per_trade.leverage = 3.0: no leverage satisfies both",
        ),
        ({"exit": {"foo": 1}}, "unknown setting exit.foo"),
    ],
)
def test_wrong_values_are_refused_with_what_would_be_right(tree: dict, message: str):
    with pytest.raises(SettingError, match=re.escape(message)):
        build(tree)


SCHEMES = [
    ("static", [0.3, 0.3, 0.3], "the fractions add up to 0.9; they must add up to 1"),
    ("static", [0.5, 0.6, -0.1], "number 3, -0.1: -10 %"),
    ("static", [25, 25, 50], 'number 1, 25: 2500 %; did you mean 0.25 or "25%"?'),
    (
        "tiers",
        [[10, 0.3, 0.3, 0.3], [math.inf, 0.5, 0.3, 0.2]],
        "row 1, [10, 0.3, 0.3, 0.3]: its fractions add up to 0.9",
    ),
    ("tiers", [[10, 0.3, 0.3, 0.4], [5, 0.5, 0.3, 0.2]], "row 2, [5, 0.5, 0.3, 0.2]: its bound must be above the 10"),
    ("tiers", [[10, 0.3, 0.3, 0.4]], "row 1, [10.0, 0.3, 0.3, 0.4]: the last bound must be inf"),
    ("tiers", [[10, 0.3, 0.3], [math.inf, 0.5, 0.3, 0.2]], "row 1, [10, 0.3, 0.3]: 4 numbers are expected"),
    ("tiers", [], "a list of 1 to 8 rows of 4 numbers is expected"),
    ("tiers", [[10.0 + i, 0.3, 0.3, 0.4] for i in range(9)], "a list of 1 to 8 rows of 4 numbers is expected"),
]


@pytest.mark.parametrize(("name", "value", "message"), SCHEMES)
def test_harvest_fractions_must_add_up_and_the_row_is_named(name: str, value: list, message: str):
    with pytest.raises(SettingError, match=re.escape(message)):
        build({"exit": {"harvest": {"scheme": {name: value}}}})


def test_harvest_fractions_may_be_per_cent():
    settings = build({"exit": {"harvest": {"scheme": {"static": ["25%", "25%", "50%"]}}}})
    assert settings.exit.harvest.scheme.static == (0.25, 0.25, 0.5)


def test_profit_lock_rows_ascend():
    with pytest.raises(SettingError, match=r"row 2, .*: less than the 0\.2 of the row before"):
        build({"exit": {"profit_lock": {"ladder": [[0.1, 0.2], [0.2, 0.1]]}}})


@pytest.mark.parametrize(
    ("path", "written", "read"),
    [
        ("exit.policy", "exit_brain_v3", "exit_brain"),
        ("exit.policy", "EXIT_BRAIN_V3", "exit_brain"),
        ("run.profile", "DEFAULT", "exitbrain-v35"),
        ("sim.diagnostics.optimism", False, "off"),
        ("sim.diagnostics.optimism", True, "on"),
        ("run.symbols", "BTCUSDT, ETHUSDT", ("BTCUSDT", "ETHUSDT")),
        ("limits.positions.total", 5.0, 5),
    ],
)
def test_other_spellings_are_understood(path: str, written: object, read: object):
    assert flatten(build(nest({path: written})))[path] == read


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().exit.base_tp = 0.03  # type: ignore[misc]


def test_manifest_round_trip_is_json_and_exact():
    settings = build(
        {"strategy": {"fast": 12, "names": ["a"]}, "exit": {"base_tp": 0.1 + 0.2}, "costs": {"fees": {"maker": 0}}}
    )
    text = json.dumps(to_dict(settings), allow_nan=False)
    assert from_dict(json.loads(text)) == settings
    assert settings_digest(from_dict(json.loads(text))) == settings_digest(settings)


def test_digest_follows_what_changes_decisions_alone():
    plain = settings_digest(Settings())
    assert settings_digest(build({"data": {"dir": "elsewhere"}, "live": {"session": "b"}})) == plain
    assert settings_digest(build({"exit": {"base_sl": 0.011}})) != plain
    assert settings_digest(build({"strategy": {"fast": 5}})) != plain
    assert settings_digest(build({"exit": {"bracket": {"tp": math.inf}}})) != plain
    assert len(plain) == 64


@pytest.mark.parametrize(
    ("fees", "maker", "taker"),
    [
        ({}, 0.0002, 0.0005),
        ({"bnb_discount": True}, 0.00018, 0.00045),
        ({"tier": "vip9"}, 0.0, 0.00017),
        ({"tier": "vip3", "taker": 0.0004}, 0.00012, 0.0004),
        ({"maker": 0.0, "bnb_discount": True}, 0.0, 0.00045),
        ({"maker": -0.0001, "taker": "0.04%"}, -0.0001, 0.0004),
    ],
)
def test_fees_in_force(fees: dict, maker: float, taker: float):
    assert build({"costs": {"fees": fees}}).costs.fees.rates() == pytest.approx((maker, taker), abs=1e-12)


def test_fee_tiers_fall():
    rates = list(FEE_TIERS.values())
    assert len(rates) == 10
    assert rates == sorted(rates, reverse=True)


def test_shown_numbers_are_short():
    assert percent(0.125) == "12.5 %"
    assert percent(0.1 + 0.2) == "30 %"
    assert show('a"b\\') == '"a\\"b\\\\"'
    assert tomllib.loads(f"value = {show('a' + chr(10) + 'b')}")["value"] == "a\nb"


def test_ranges_are_told_in_words():
    assert Numbers("", item=Number("", high=2.0), whole=True).allowed() == "3 numbers, each 0 to 2; they add up to 1"
    assert (
        Rows("", width=4, to_inf=True).allowed().startswith("1 to 64 rows of 4 numbers, first numbers ascending to inf")
    )


def test_import_is_light():
    code = (
        "import sys, types, importlib\n"
        "package = types.ModuleType('qtsim'); package.__path__ = [sys.argv[1]]; sys.modules['qtsim'] = package\n"
        "import qtsim.config\n"
        "heavy = {'numpy', 'pandas', 'numba', 'pyarrow', 'plotly', 'talib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    folder = Path(__file__).resolve().parents[3] / "qtsim"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)
