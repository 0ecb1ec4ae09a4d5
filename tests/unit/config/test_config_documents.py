"""What is made from the model: explanations, the schema, the file of `init`, the reference page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qtsim.config import Settings, resolve
from qtsim.config.explain import explain_key
from qtsim.config.kinds import show
from qtsim.config.reference import reference_page, write_page
from qtsim.config.schema import settings_schema
from qtsim.config.settings import from_dict, keys, sections
from qtsim.config.template import settings_template, uncomment
from qtsim.errors import SettingError

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"
RESOLVED = resolve(environ={"BASE_TP_PCT": "0.01"}, overrides={"strategy.fast": 12})


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explanation_tells_all_about_a_key():
    (told,) = explain_key(RESOLVED, "exit.base_tp")
    assert told.as_text() == (
        "exit.base_tp = 0.01  (environment BASE_TP_PCT)\n"
        "  Base of the three targets.\n"
        "  kind     ratio\n"
        "  allowed  0.0001 (0.01 %) to 0.5 (50 %)\n"
        "  default  0.02\n"
        "  variable QTSIM_EXIT__BASE_TP, BASE_TP_PCT"
    )
    assert told.in_force


def test_explanation_tells_what_is_not_built():
    (told,) = explain_key(RESOLVED, "bus.url")
    assert told.in_force
    assert told.note == 'in qtsim 0.1 only "": the event bus is not built yet'


@pytest.mark.parametrize("path", list(keys()))
def test_every_key_can_be_explained_as_json(path: str):
    (told,) = explain_key(RESOLVED, path)
    fields = json.loads(json.dumps(told.as_dict(), allow_nan=False))
    assert fields["key"] == path
    assert told.as_text().startswith(f"{path} = ")


def test_table_is_explained_key_by_key():
    assert [told.key for told in explain_key(RESOLVED, "exit.guard.loss")] == [
        "exit.guard.loss.max",
        "exit.guard.loss.basis",
        "exit.guard.loss.emergency_margin",
    ]
    assert [told.key for told in explain_key(RESOLVED, "strategy")] == ["strategy.fast"]
    (told,) = explain_key(RESOLVED, "strategy.fast")
    assert (told.value, told.source, told.variables) == (12, "command line", ("QTSIM_STRATEGY__FAST",))


def test_unknown_key_names_the_nearest():
    with pytest.raises(SettingError, match=r"unknown setting exit\.bse_tp: did you mean exit\.base_tp\?"):
        explain_key(RESOLVED, "exit.bse_tp")


# --- schema -----------------------------------------------------------------------------------------------------------


def accepts(schema: dict, value: object) -> bool:
    """A small reading of the parts of JSON schema that the schema uses."""
    if "anyOf" in schema:
        return any(accepts(option, value) for option in schema["anyOf"])
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema["type"]
    if kind == "object":
        known = schema["properties"]
        return isinstance(value, dict) and all(
            accepts(known[name], item) if name in known else schema["additionalProperties"]
            for name, item in value.items()
        )
    if kind == "array":
        length_fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return isinstance(value, list) and length_fits and all(accepts(schema["items"], item) for item in value)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str) and bool(re.search(schema.get("pattern", ""), value))
    if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else (int, float)):
        return False
    above = (
        value > schema["exclusiveMinimum"] if "exclusiveMinimum" in schema else value >= schema.get("minimum", value)
    )
    return above and value <= schema.get("maximum", value)


def test_schema_holds_every_key_with_its_default():
    schema = json.loads(json.dumps(settings_schema(), allow_nan=False))
    for path, key in keys().items():
        place = schema
        for part in path.split("."):
            place = place["properties"][part]
        assert place["description"].startswith(key.kind.text)
        if key.default is not None:
            assert accepts(place, place["default"]), path
    assert set(schema["properties"]) == {path for path in sections() if "." not in path}


def test_schema_refuses_what_the_model_refuses():
    schema = settings_schema()
    assert accepts(schema, {"exit": {"base_tp": "2%", "levels": {"sl": {"max": 0.02}}}, "strategy": {"fast": 12}})
    assert accepts(schema, {"limits": {"per_trade": {"notional": "inf"}}, "run": {"symbols": "BTCUSDT"}})
    assert not accepts(schema, {"exit": {"base_tp": 2}})
    assert not accepts(schema, {"exit": {"base_ttp": 0.02}})
    assert not accepts(schema, {"exit": {"policy": "brain"}})
    assert not accepts(schema, {"run": {"seed": 1.5}})


# --- the file of init -------------------------------------------------------------------------------------------------


def test_template_changes_nothing(tmp_path: Path):
    path = tmp_path / "qtsim.toml"
    path.write_text(settings_template(), encoding="utf-8")
    result = resolve(environ={}, files=[path])
    assert result.settings == Settings()
    assert set(result.sources.values()) == {"default"}


def test_template_uncommented_is_the_defaults(tmp_path: Path):
    path = tmp_path / "qtsim.toml"
    path.write_text(uncomment(settings_template()), encoding="utf-8")
    result = resolve(environ={}, files=[path])
    assert result.settings == Settings()
    assert from_dict(tomllib.loads(path.read_text(encoding="utf-8"))) == Settings()
    unset = {path for path, key in keys().items() if key.default is None}
    assert {path for path, source in result.sources.items() if source == "default"} == unset
    assert result.n_overrides == 0


def test_each_line_of_the_template_can_be_uncommented_alone():
    lines = settings_template().splitlines(keepends=True)
    settings = [number for number, line in enumerate(lines) if re.match(r"#[a-z]", line)]
    assert len(settings) == sum(key.default is not None for key in keys().values())
    for number in settings[::7]:
        changed = [*lines[:number], lines[number][1:], *lines[number + 1 :]]
        assert from_dict(tomllib.loads("".join(changed))) == Settings()


def test_template_describes_every_key():
    text = settings_template()
    for key in keys().values():
        assert key.kind.text in text
    assert "#base_tp = 0.02\n" in text
    assert "#sl.max = 0.02\n" in text


# --- the reference page -----------------------------------------------------------------------------------------------


def test_reference_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == reference_page(), (
        "docs/settings.md is not current: python -m qtsim.config.reference docs/settings.md"
    )


def test_reference_page_names_every_key_and_default():
    page = reference_page()
    for path, key in keys().items():
        table = page.split(f"### `[{key.section}]`")[1].split("###")[0]
        assert f"| `{path.rpartition('.')[2]}` | `{show(key.default)}` |" in table


def test_reference_page_is_written_whole(tmp_path: Path):
    target = tmp_path / "docs" / "settings.md"
    write_page(target)
    assert target.read_text(encoding="utf-8") == reference_page()
    assert [path.name for path in target.parent.iterdir()] == ["settings.md"]
    command = [sys.executable, "-m", "qtsim.config.reference"]
    printed = subprocess.run(
        command, capture_output=True, check=True, timeout=60, encoding="utf-8", cwd=PAGE.parents[1]
    )
    assert printed.stdout == reference_page()
