"""JSON schema of qtsim.toml, for editors that complete and check TOML files."""

from __future__ import annotations

from typing import Any

from qtsim.config.explain import availability
from qtsim.config.settings import FREE_SECTION, Key, keys, sections

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def settings_schema() -> dict[str, Any]:
    """The schema: tables within tables, each key with its description, range and default."""
    root: dict[str, Any] = {
        "$schema": DIALECT,
        "title": "qtsim.toml",
        "description": "Settings of qtsim",
        **_table(""),
    }
    tables: dict[str, dict[str, Any]] = {"": root}
    for path, text in sections().items():
        parent, _, name = path.rpartition(".")
        table: dict[str, Any] = {"description": text, **_table(path)}
        tables[path] = table
        tables[parent]["properties"][name] = table
    for path, key in keys().items():
        tables[key.section]["properties"][path.rpartition(".")[2]] = _property(key)
    return root


def _table(path: str) -> dict[str, Any]:
    return {"type": "object", "properties": {}, "additionalProperties": path == FREE_SECTION}


def _property(key: Key) -> dict[str, Any]:
    note = availability(key.path)
    text = f"{key.kind.text} [{key.kind.unit}]" if key.kind.unit else key.kind.text
    schema = {"description": f"{text}. {note[:1].upper()}{note[1:]}." if note else f"{text}."}
    schema |= key.kind.json_schema()
    default = _json_default(key.default)
    return schema if default is None else schema | {"default": default}


def _json_default(value: Any) -> Any:
    """The default as JSON; inf, which JSON lacks, as the text "inf"."""
    if isinstance(value, tuple):
        return [_json_default(item) for item in value]
    if isinstance(value, float) and value == float("inf"):
        return "inf"
    return value
