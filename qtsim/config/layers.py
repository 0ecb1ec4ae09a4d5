"""Where settings come from: defaults < profile < files < environment < command line.

Every value keeps its source. Each layer is read on its own, so an error names the file and line, the variable or the
option that holds the wrong value.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from qtsim.config.contradictions import refuse_contradictions
from qtsim.config.kinds import PerCent, Ratio, Switch, read_toml_value, show
from qtsim.config.settings import (
    FREE_SECTION,
    PROFILES,
    Settings,
    build,
    keys,
    nest,
    sections,
)
from qtsim.config.unavailable import refuse_unavailable
from qtsim.errors import SettingError

DEFAULT = "default"
COMMAND_LINE = "command line"
PREFIX = "QTSIM_"
OTHER_VARIABLES = frozenset({"QTSIM_CACHE_DIR", "QTSIM_DEBUG", "QTSIM_HOME"})
"""Variables of the program that are no settings."""
NOT_OVERRIDES = ("run.", "strategy.", "data.dir")
"""What a run is about, as opposed to how it is done: not counted as overrides of a profile."""


@dataclass(frozen=True)
class Predecessor:
    """A variable of the predecessor: its name, the setting it stands for, and how its text is read into a raw value."""

    name: str
    path: str
    read: Callable[[str], object]


@dataclass(frozen=True)
class Resolved:
    """Settings with the story of their values.

    `sources`: path → "default", "profile NAME", "file PATH", "environment NAME" or "command line".
    `headlines`: what a run says first. `n_overrides`: settings that a layer above the profile changed.
    """

    settings: Settings
    sources: dict[str, str]
    headlines: list[str]
    profile: str
    n_overrides: int
    profile_values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Entry:
    """One value of one layer: path, stored form, and where exactly it stands."""

    path: str
    value: Any
    place: str


# --- the predecessor's variables -------------------------------------------------------------------------------------


def _as_is(text: str) -> object:
    return text


def _exit_policy(text: str) -> object:
    return text.lower()


def _profile_name(text: str) -> object:
    return text.lower().replace("_", "-")


def _ratchet_preset(text: str) -> object:
    try:
        return "breakeven" if Switch("").coerce(text) else "off"
    except ValueError:
        raise ValueError("must be true (preset breakeven) or false (preset off)") from None


def _lower(text: str) -> object:
    return text.lower()


def _per_cent_of(path: str) -> Callable[[str], object]:
    kind = keys()[path].kind
    assert isinstance(kind, Ratio)
    return PerCent("", of=kind).coerce


_READERS: dict[str, Callable[[str], object]] = {
    "EXIT_MODE": _exit_policy,
    "EXIT_BRAIN_PROFILE": _profile_name,
    "RATCHET_SL_ENABLED": _ratchet_preset,
    "DYNAMIC_TP_PROFILE": _lower,
}


@cache
def predecessor_variables() -> dict[str, Predecessor]:
    """The predecessor's variables by name."""
    found = {
        key.kind.env: Predecessor(key.kind.env, path, _READERS.get(key.kind.env, _as_is))
        for path, key in keys().items()
        if key.kind.env
    }
    percent = found["MAX_UNREALIZED_LOSS_PCT"]
    found[percent.name] = Predecessor(percent.name, percent.path, _per_cent_of(percent.path))
    return found


def variable_name(path: str) -> str:
    """The environment variable of a setting: `exit.base_tp` is QTSIM_EXIT__BASE_TP."""
    return PREFIX + path.replace(".", "__").upper()


# --- one value -------------------------------------------------------------------------------------------------------


def nearest_key(path: str) -> str | None:
    """The known setting or table whose name is nearest to `path`; None where nothing is near."""
    known = [*keys(), *sections()]
    last = path.rpartition(".")[2]
    same_name = [key for key in known if key.rpartition(".")[2] == last]
    near = difflib.get_close_matches(path, same_name, n=1, cutoff=0.4)
    near = near or difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    if not near:
        by_name = {key.rpartition(".")[2]: key for key in reversed(known)}
        near = [by_name[name] for name in difflib.get_close_matches(last, list(by_name), n=1, cutoff=0.75)]
    return near[0] if near else None


def unknown_key(path: str, place: str = "") -> SettingError:
    """The error for a key that does not exist."""
    near = nearest_key(path)
    hint = f"did you mean {near}?" if near else "`qtsim config show` lists all"
    return SettingError(f"unknown setting {path}: {hint}{f' ({place})' if place else ''}")


def _is_free(path: str) -> bool:
    return path.startswith(f"{FREE_SECTION}.")


def read_value(path: str, raw: object, place: str = "", *, from_text: bool = False) -> Any:
    """The stored form of one setting's value.

    `from_text`: strings come from the command line or the environment and are read as TOML values where the setting is
    no text. Raises SettingError that names key, value and `place`.
    """
    if _is_free(path):
        return read_toml_value(raw.strip()) if from_text and isinstance(raw, str) else raw
    if path not in keys():
        raise unknown_key(path, place)
    kind = keys()[path].kind
    value = kind.from_text(raw) if from_text and isinstance(raw, str) else raw
    try:
        return kind.coerce(value)
    except ValueError as error:
        suffix = f" ({place})" if place else ""
        raise SettingError(f"{path} = {show(_bare(value))}: {error}{suffix}") from None


def _bare(value: object) -> object:
    """Text of a number as the number, so that a message shows it as people wrote it."""
    if isinstance(value, str):
        read = read_toml_value(value)
        return value if isinstance(read, (dict, list)) else read
    return value


# --- the layers ------------------------------------------------------------------------------------------------------

Place = Callable[[str], str]
"""Path of a setting → where a layer sets it, in words."""


def _always(place: str) -> Place:
    """The same place for every key."""
    return lambda _: place


def _leaves(tree: Mapping[str, Any], place: Place, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Path and raw value of everything in tables within tables; dots in a name separate too."""
    for name, value in tree.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping) and path not in keys() and not _is_free(path):
            if path not in sections():
                raise unknown_key(path, place(path))
            yield from _leaves(value, place, path)
        else:
            yield path, value


def _expand(path: str, raw: object, place: Place) -> Iterator[tuple[str, Any]]:
    """A key with its value; a table, given as text or mapping, becomes its keys."""
    value = read_toml_value(raw.strip()) if isinstance(raw, str) and path in sections() else raw
    yield from _leaves({path: value}, place)


def _collect(groups: Iterable[Iterable[tuple[str, Any]]], place: Place, *, from_text: bool) -> list[_Entry]:
    """Entries of one layer; all of its errors in one SettingError."""
    entries: list[_Entry] = []
    errors: list[str] = []
    for group in groups:
        try:
            for path, raw in group:
                try:
                    if path in sections():
                        raise _not_a_table(path, raw, place(path))
                    entries.append(_Entry(path, read_value(path, raw, place(path), from_text=from_text), place(path)))
                except SettingError as error:
                    errors.append(str(error))
        except SettingError as error:  # an unknown table ends its group
            errors.append(str(error))
    if errors:
        raise SettingError("\n".join(errors))
    return entries


def _not_a_table(path: str, raw: object, place: str) -> SettingError:
    """The error for a value where a table is expected."""
    if path == FREE_SECTION:
        hint = "the name of the strategy is run.strategy, its parameters are strategy.NAME"
    else:
        first = next(key for key in keys() if key.startswith(f"{path}."))
        hint = f"this is a table of settings, such as {first}"
    return SettingError(f"{path} = {show(raw)}: {hint} ({place})")


def find_line(text: str, path: str) -> int | None:
    """Line number, from 1, on which a TOML text sets `path` or the table around it; None where it cannot be told."""
    table = ""
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$", line)
        if header:
            table = re.sub(r"[\s\"']", "", header.group(1))
            candidate = table
        else:
            assignment = re.match(r"\s*([\w.\-\"' ]+?)\s*=", line)
            if not assignment:
                continue
            name = re.sub(r"[\s\"']", "", assignment.group(1))
            candidate = f"{table}.{name}" if table else name
        if (path == candidate or path.startswith(f"{candidate}.")) and (best is None or len(candidate) > best[0]):
            best = (len(candidate), number)
    return best[1] if best else None


def _read_toml(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        line = re.search(r"at line (\d+)", message)
        where = f"line {line.group(1)}" if line else f"line {text.count(chr(10)) + 1}"
        raise SettingError(f"{name}, {where}: this is not TOML: {message}") from None


def read_file(path: Path) -> list[_Entry]:
    """The entries of one settings file. SettingError names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingError(f"settings file {path} does not exist") from None
    except UnicodeDecodeError as error:
        raise SettingError(f"settings file {path} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise SettingError(f"settings file {path} cannot be read: {error.strerror}") from None

    def place(key: str) -> str:
        line = find_line(text, key)
        return f"file {path}, line {line}" if line else f"file {path}"

    tree = _read_toml(text, f"settings file {path}")
    return _collect((_leaves({name: value}, place) for name, value in tree.items()), place, from_text=False)


def _unknown_profile(name: str) -> SettingError:
    """The error for a profile that does not exist."""
    near = difflib.get_close_matches(name, PROFILES, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return SettingError(f'unknown profile "{name}": choose one of {", ".join(PROFILES)}{hint}')


@cache
def profile_entries(name: str) -> tuple[_Entry, ...]:
    """The entries of a shipped profile."""
    text = (package_files("qtsim.config") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
    place = f"profile {name}"
    return tuple(_collect([_leaves(_read_toml(text, place), _always(place))], _always(place), from_text=False))


def read_environment(environ: Mapping[str, str]) -> list[_Entry]:
    """Entries of the environment. A QTSIM_ variable that is no setting is an error.

    Where both the predecessor's variable and qtsim's own are set, qtsim's own counts. Empty variables of the
    predecessor count as unset.
    """
    entries: list[_Entry] = []
    errors: list[str] = []
    for name, variable in predecessor_variables().items():
        text = environ.get(name, "").strip()
        if not text:
            continue
        place = f"environment {name}"
        try:
            entries.append(_Entry(variable.path, read_value(variable.path, variable.read(text), place), place))
        except ValueError as error:
            errors.append(f"{name} = {show(_bare(text))}: {error} ({place})")
        except SettingError as error:
            errors.append(str(error))
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        path = name.removeprefix(PREFIX).lower().replace("__", ".")
        if "." not in path:
            meant = next((key for key in keys() if key.replace(".", "_") == path.replace(".", "_")), None)
            if meant or path in sections():
                wanted = variable_name(meant) if meant else f"{name}__NAME"
                errors.append(f"{name} is not a setting: levels are separated by two underscores, write {wanted}")
            else:
                errors.append(str(unknown_key(path, f"environment {name}")))
            continue
        here = _always(f"environment {name}")
        try:
            entries.extend(_collect([_expand(path, environ[name], here)], here, from_text=True))
        except SettingError as error:
            errors.append(str(error))
    if errors:
        raise SettingError("\n".join(errors))
    return entries


def split_assignment(text: str) -> tuple[str, str]:
    """Key and text of the command line's KEY=VALUE. SettingError where there is no key or no `=`."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingError(f"--set {text}: write KEY=VALUE, for instance exit.base_tp=0.03")
    return key.strip(), value.strip()


def read_overrides(overrides: Mapping[str, Any]) -> list[_Entry]:
    """Entries of the command line or of Python: keys are paths, tables, or tables within tables."""
    place = _always(COMMAND_LINE)
    return _collect((_expand(str(key), raw, place) for key, raw in overrides.items()), place, from_text=True)


# --- all together ----------------------------------------------------------------------------------------------------


def resolve(
    *,
    profile: str | None = None,
    files: Sequence[Path | str] = (),
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    available_only: bool = True,
) -> Resolved:
    """Settings of a run from all layers.

    `profile`: as given by `--profile`; None: what the command line, environment or files say, else the default.
    `files`: in order, later ones win. `environ`: None is the process's environment. `overrides`: path → value; strings
    are read like `--set KEY=VALUE`. `available_only`: refuse what this version does not do.

    Raises SettingError for unknown keys, values out of range, contradictions and missing parts; nothing is half
    applied.
    """
    environ = os.environ if environ is None else environ
    file_layers = [(f"file {path}", read_file(Path(path))) for path in files]
    environment = read_environment(environ)
    command_line = read_overrides(overrides or {})
    if profile is not None:
        command_line = _with_profile(profile, command_line)

    layers: list[tuple[str, Sequence[_Entry]]] = [*file_layers, ("", environment), (COMMAND_LINE, command_line)]
    chosen = next(
        (entry.value for _, entries in reversed(layers) for entry in reversed(entries) if entry.path == "run.profile"),
        keys()["run.profile"].default,
    )
    from_profile = {entry.path: entry.value for entry in profile_entries(chosen)}

    values: dict[str, Any] = {path: key.default for path, key in keys().items()}
    sources = dict.fromkeys(values, DEFAULT)
    places: dict[str, str] = {}
    values.update(from_profile)
    sources.update(dict.fromkeys(from_profile, f"profile {chosen}"))
    for source, entries in layers:
        for entry in entries:
            values[entry.path] = entry.value
            sources[entry.path] = source or entry.place
            places[entry.path] = entry.place

    settings = _build_with_sources(values, sources, places)
    said = _tell_changes(values, sources, from_profile, chosen)
    if available_only:
        known = {path: value for path, value in values.items() if path in keys()}
        exact = {path: places.get(path, source) for path, source in sources.items()}
        refuse_unavailable(known, exact, chosen)
    refuse_contradictions(values, sources)
    base = {path: key.default for path, key in keys().items()} | from_profile
    n_overrides = sum(
        1
        for path, value in values.items()
        if not path.startswith(NOT_OVERRIDES) and path in base and value != base[path]
    )
    return Resolved(settings, sources, said, chosen, n_overrides, from_profile)


def _with_profile(profile: str, command_line: list[_Entry]) -> list[_Entry]:
    """The command line with `--profile`; a `--set run.profile` that says otherwise is refused."""
    kind = keys()["run.profile"].kind
    try:
        name = kind.coerce(profile)
    except ValueError:
        raise _unknown_profile(profile) from None
    other = next((entry.value for entry in command_line if entry.path == "run.profile" and entry.value != name), None)
    if other is not None:
        raise SettingError(f'profile "{name}" and run.profile = "{other}" contradict each other: give one of them')
    return [*command_line, _Entry("run.profile", name, COMMAND_LINE)]


def _build_with_sources(values: Mapping[str, Any], sources: Mapping[str, str], places: Mapping[str, str]) -> Settings:
    """The model; a contradiction between keys names where each of them comes from."""
    tree = nest({path: value for path, value in values.items() if not _is_free(path)})
    tree[FREE_SECTION] = {path.split(".", 1)[1]: value for path, value in values.items() if _is_free(path)}
    try:
        return build(tree)
    except SettingError as error:
        lines = []
        for line in str(error).splitlines():
            named = [path for path in re.findall(r"[a-z_0-9]+(?:\.[a-z_0-9]+)+", line) if path in sources]
            told = ", ".join(f"{path}: {places.get(path, sources[path])}" for path in dict.fromkeys(named))
            lines.append(f"{line} ({told})" if told else line)
        raise SettingError("\n".join(lines)) from None


def _tell_changes(
    values: Mapping[str, Any], sources: Mapping[str, str], from_profile: Mapping[str, Any], profile: str
) -> list[str]:
    """Each profile value that a later layer overrides, and each value of the environment."""
    lines = []
    for path, value in values.items():
        source = sources[path]
        overridden = path in from_profile and source != f"profile {profile}" and value != from_profile[path]
        if overridden:
            lines.append(f"{path} = {show(value)} ({source}) overrides {show(from_profile[path])} of profile {profile}")
        elif source.startswith("environment "):
            lines.append(f"{path} = {show(value)} ({source})")
    return lines
