"""One setting explained: what it means, what it may be, what it is, and where that came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qtsim.config.kinds import show
from qtsim.config.layers import Resolved, unknown_key, variable_name
from qtsim.config.settings import FREE_SECTION, flatten, keys, sections
from qtsim.config.settings import describe_range as range_of
from qtsim.config.unavailable import RELEASE, missing


@dataclass(frozen=True)
class Explanation:
    """A setting as `config explain KEY` tells it. Values are the stored ones; `note` says what is not built of it."""

    key: str
    text: str
    kind: str
    unit: str
    default: Any
    range: str
    value: Any
    source: str
    variables: tuple[str, ...]
    in_force: bool
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Fields by name, values as they would stand in a TOML file where JSON has none."""
        fields = dict(vars(self))
        for name in ("default", "value"):
            fields[name] = _to_plain(fields[name])
        fields["variables"] = list(self.variables)
        return fields

    def as_text(self) -> str:
        """Lines for a terminal."""
        unit = f", {self.unit}" if self.unit and self.unit != self.kind else ""
        lines = [
            f"{self.key} = {show(self.value)}  ({self.source})",
            f"  {self.text}.",
            f"  kind     {self.kind}{unit}",
            f"  allowed  {self.range or 'anything'}",
            f"  default  {show(self.default)}",
            f"  variable {', '.join(self.variables)}",
        ]
        return "\n".join([*lines, f"  note     {self.note}"] if self.note else lines)


def _to_plain(value: Any) -> Any:
    """inf as text, which JSON lacks; tuples as lists."""
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return show(value)
    return value


def availability(path: str) -> str:
    """What this version lacks of a setting; empty where nothing is missing."""
    entry = missing(path)
    if entry is None:
        return ""
    if not entry.in_force:
        return f"not in force in qtsim {RELEASE}: {entry.why}"
    built = ", ".join(show(one) for one in entry.built or ())
    return f"in qtsim {RELEASE} only {built}: {entry.why}"


def explain_key(resolved: Resolved, key: str) -> list[Explanation]:
    """The setting `key`, or every setting of the table `key`.

    Raises SettingError for an unknown key, naming the nearest.
    """
    values = flatten(resolved.settings)
    if key.startswith(f"{FREE_SECTION}.") and key in values:
        return [_parameter(resolved, key, values[key])]
    if key in sections():
        paths = [path for path in (*keys(), *values) if path.startswith(f"{key}.")]
        return [
            _parameter(resolved, path, values[path]) if path not in keys() else _setting(resolved, path, values[path])
            for path in dict.fromkeys(paths)
        ]
    if key not in keys():
        raise unknown_key(key)
    return [_setting(resolved, key, values[key])]


def _setting(resolved: Resolved, path: str, value: Any) -> Explanation:
    entry = keys()[path]
    own = (variable_name(path), entry.kind.env) if entry.kind.env else (variable_name(path),)
    note = availability(path)
    lacking = missing(path)
    return Explanation(
        key=path,
        text=entry.kind.text,
        kind=entry.kind.name,
        unit=entry.kind.unit,
        default=entry.default,
        range=range_of(entry),
        value=value,
        source=resolved.sources.get(path, "default"),
        variables=own,
        in_force=lacking is None or lacking.in_force,
        note=note,
    )


def _parameter(resolved: Resolved, path: str, value: Any) -> Explanation:
    return Explanation(
        key=path,
        text="A parameter of the strategy, which checks it: `qtsim strategies show NAME`",
        kind="parameter",
        unit="",
        default=None,
        range="",
        value=value,
        source=resolved.sources.get(path, "default"),
        variables=(variable_name(path),),
        in_force=True,
        note="",
    )
