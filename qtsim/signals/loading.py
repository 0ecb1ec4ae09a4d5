"""Strategies by name, file, class, instance, entry point, or ready table."""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import inspect
import keyword
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from qtsim.errors import QtsimError, StrategyError, UsageError
from qtsim.signals.strategy import Strategy, is_complete, require_valid, snake_case
from qtsim.signals.table import SignalTable, read_table

ENTRY_POINTS = "qtsim.strategies"
TABLE_SUFFIXES = (".parquet", ".csv")

_TEMPLATE = '''"""One line about the idea."""

import talib

import qtsim as qt


class {cls}(qt.Strategy):
    """Enter when the close crosses its average; leave when it crosses back."""

    period: int = qt.param(50, low=5, high=500, help="bars of the average")

    def signals(self, bars: qt.Bars) -> qt.Signals:
        average = talib.EMA(bars.close, self.period)
        up = qt.crossed_above(bars.close, average)
        down = qt.crossed_below(bars.close, average)
        return qt.Signals(up, down, exit_long=down, exit_short=up, tag="{name}")
'''

_PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class StrategyEntry:
    """One strategy that a name leads to. `origin`: workspace, shipped, or package NAME; `path` None for packages."""

    name: str
    origin: str
    path: Path | None


def shipped_folder() -> Path:
    """The folder of the shipped strategies: `strategies/` beside the package in a checkout, else inside the wheel."""
    beside = _PACKAGE_FOLDER.parent / "strategies"
    return beside if (beside / "ema_cross.py").is_file() else _PACKAGE_FOLDER / "_strategies"


def list_strategies(search: Iterable[Path] = ()) -> list[StrategyEntry]:
    """Return every strategy that has a name, in name order; a workspace's hides a shipped one, and that a package's.

    Parameters
    ----------
    search : iterable of Path
        The workspace's strategy folders; those that do not exist are passed over.
    """
    found: dict[str, StrategyEntry] = {}
    shipped = shipped_folder()
    for folder in [*search, shipped]:
        try:
            if not folder.is_dir():
                continue
        except PermissionError:
            raise StrategyError(_not_allowed(folder)) from None
        origin = "shipped" if folder.resolve() == shipped.resolve() else "workspace"
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith(("_", ".")):
                found.setdefault(path.stem, StrategyEntry(path.stem, origin, path))
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        package = point.dist.name if point.dist is not None else "?"
        found.setdefault(point.name, StrategyEntry(point.name, f"package {package}", None))
    return [found[name] for name in sorted(found)]


def strategy_fingerprint(strategy: Strategy) -> str:
    """Return sha256 of a strategy's code, or of a ready table's rows; empty where the code cannot be found."""
    if isinstance(strategy, SignalTable):
        return strategy.fingerprint()
    try:
        text = strategy.source.read_text() if strategy.source is not None else inspect.getsource(type(strategy))
    except (OSError, TypeError, ValueError):  # a class typed into a console, a file gone since
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def strategy_template(name: str) -> str:
    """Return the source of a new strategy that runs as it is; `name` is the file's, `my_idea`.

    Raises
    ------
    UsageError
        Not usable as the name of a Python file.
    """
    stem = snake_case(name.strip().replace("-", "_").replace(" ", "_"))
    if not stem.isidentifier() or keyword.iskeyword(stem):
        raise UsageError(f"strategy name {name!r} is no file name for Python; write it as my_idea")
    return _TEMPLATE.format(name=stem, cls="".join(word.capitalize() for word in stem.split("_")))


def load_strategy(spec: Any, params: Mapping[str, Any] | None = None, search: Sequence[Path] = ()) -> Strategy:
    """Return a strategy with its parameters set.

    Parameters
    ----------
    spec : str, Path, Strategy class or instance, or DataFrame
        A name (`ema_cross`, or `name:Class`), looked for in `search`, then among the shipped ones, then among
        installed packages; a file `path/to/file.py` or `file.py:Class`; a class; an instance; a ready signal table
        as .parquet, .csv or DataFrame.
    params : mapping, optional
        Parameters by name; with an instance they replace its own.
    search : sequence of Path
        The workspace's strategy folders.

    Raises
    ------
    UsageError
        Unknown name, parameter or class, a value out of bounds, parameters that do not fit together.
    StrategyError
        A file that cannot be read or raises, or that defines no strategy or several.
    """
    strategy = _load(spec, dict(params or {}), list(search))
    require_valid(strategy)
    return strategy


def _load(spec: Any, params: dict[str, Any], search: list[Path]) -> Strategy:
    if isinstance(spec, Strategy):
        return spec if not params else _instance(type(spec), {**spec.params(), **params}, spec.name, spec.source)
    if isinstance(spec, type):
        if not issubclass(spec, Strategy):
            raise UsageError(f"{spec.__name__} is no strategy: it does not derive from qtsim.Strategy")
        _require_complete(spec, spec.__name__)
        return _instance(spec, params, spec.name, spec.source)
    if hasattr(spec, "columns") and hasattr(spec, "index"):
        _refuse_params(params, "a signal table")
        return SignalTable(spec)
    if not isinstance(spec, str | Path):
        raise UsageError(
            f"{type(spec).__name__} is no strategy; give a name, a file.py[:Class], a Strategy class or instance, "
            "or a signal table"
        )
    return _load_text(str(spec).strip(), params, search)


def _load_text(text: str, params: dict[str, Any], search: list[Path]) -> Strategy:
    if text.lower().endswith(TABLE_SUFFIXES):
        path = Path(text).expanduser()
        _refuse_params(params, f"signal table {path}")
        return SignalTable(read_table(path), path.stem, path)
    head, _, class_name = text.rpartition(":") if not text.endswith(".py") else (text, "", "")
    name = head or class_name
    class_name = class_name if head else ""
    if name.endswith(".py") or "/" in name or "\\" in name:
        path = Path(name).expanduser()
        try:
            there = path.is_file()
        except PermissionError:
            raise StrategyError(_not_allowed(path)) from None
        if not there:
            raise UsageError(f"strategy file {path} does not exist{_beside(path)}")
        return _from_file(path, class_name, params)
    entries = {entry.name: entry for entry in list_strategies(search)}
    entry = entries.get(name) or entries.get(snake_case(name.replace("-", "_")))
    if entry is None:
        raise UsageError(_unknown(name, entries, search))
    if entry.path is not None:
        return _from_file(entry.path, class_name, params)
    return _instance(_from_package(entry.name, class_name), params, entry.name, None)


def _from_file(path: Path, class_name: str, params: dict[str, Any]) -> Strategy:
    path = path.resolve()
    return _instance(_pick_class(run_file(path), str(path), class_name), params, path.stem, path)


def run_file(path: Path) -> ModuleType:
    """Run a Python file as a module of its own; each call runs it anew, and nothing is written beside it.

    The file may import others of its folder.

    Raises
    ------
    StrategyError
        The file cannot be read, has a syntax error, or raises; file, line and reason are named.
    """
    name = f"qtsim_strategy_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise StrategyError(f"strategy file {path} cannot be read: {error.strerror}") from None
    except SyntaxError as error:
        shown = f": {error.text.strip()}" if error.text else ""
        raise StrategyError(f"{path}, line {error.lineno}{shown}: {type(error).__name__}: {error.msg}") from None
    except ValueError as error:  # a null byte, an unknown encoding
        raise StrategyError(f"strategy file {path} is no Python source: {error}") from None
    before = sys.modules.get(name)
    sys.modules[name] = module
    sys.path.append(str(path.parent))
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise StrategyError(_import_failure(path, error)) from None
    finally:
        sys.path.remove(str(path.parent))
    return module


def _import_failure(path: Path, error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = f", line {frames[-1].lineno}: {(frames[-1].line or '').rstrip(':')}" if frames else ""
    reason = str(error) if isinstance(error, QtsimError) else f"{type(error).__name__}: {error}"
    hint = "; install it in the environment of qtsim" if isinstance(error, ModuleNotFoundError) else ""
    return f"{path}{line}: {reason}{hint}"


def _from_package(name: str, class_name: str) -> type[Strategy]:
    point = next(point for point in importlib.metadata.entry_points(group=ENTRY_POINTS) if point.name == name)
    package = point.dist.name if point.dist is not None else "?"
    try:
        loaded = point.load()
    except (Exception, SystemExit) as error:  # whatever a package raises on import
        raise StrategyError(
            f"strategy {name} of package {package} cannot be loaded: {type(error).__name__}: {error}"
        ) from None
    if isinstance(loaded, ModuleType):
        return _pick_class(loaded, f"package {package}", class_name)
    if not (isinstance(loaded, type) and issubclass(loaded, Strategy)):
        raise StrategyError(f"strategy {name} of package {package}: {point.value} is no qtsim.Strategy class")
    return loaded


def _pick_class(module: ModuleType, place: str, class_name: str) -> type[Strategy]:
    """Return the one strategy class that a module defines, or the named one."""
    defined = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    }
    if class_name:
        if class_name not in defined:
            have = ", ".join(defined) or "none"
            raise UsageError(f"{place} has no strategy class {class_name}; it has {have}")
        _require_complete(defined[class_name], f"{place}: {class_name}")
        return defined[class_name]
    usable = {name: value for name, value in defined.items() if not name.startswith("_") and is_complete(value)}
    if len(usable) > 1:
        # A class that another one here derives from is a base, not a choice.
        bases = {base for value in usable.values() for base in value.__mro__[1:]}
        leaves = {name: value for name, value in usable.items() if value not in bases}
        usable = leaves if len(leaves) == 1 else usable
    if len(usable) > 1:
        choices = ", ".join(f"{Path(place).name}:{name}" for name in usable)
        raise StrategyError(f"{place} defines several strategies; choose one: {choices}")
    if not usable:
        for name, value in defined.items():
            _require_complete(value, f"{place}: {name}")
        raise StrategyError(f"{place} defines no class that derives from qtsim.Strategy")
    return next(iter(usable.values()))


def _require_complete(cls: type[Strategy], place: str) -> None:
    if not is_complete(cls):
        raise StrategyError(
            f"{place} defines neither signals(self, bars) nor market_signals(self, market); override one of them"
        )


def _instance(cls: type[Strategy], params: dict[str, Any], name: str, source: Path | None) -> Strategy:
    if issubclass(cls, SignalTable):
        raise UsageError("a signal table takes no parameters")
    if "name" in cls.__dict__ and cls.name != snake_case(cls.__name__):
        name = cls.name  # the class gives itself another name
    try:
        strategy = cls(**params)
    except UsageError as error:
        # The class speaks of itself by its own name; the user knows it by the file's.
        text = str(error)
        raise UsageError(name + text.removeprefix(cls.name) if text.startswith(cls.name) else text) from None
    except QtsimError:
        raise
    except (Exception, SystemExit) as error:
        raise StrategyError(f"{name}: {cls.__name__}.__init__ raises {type(error).__name__}: {error}") from None
    strategy.name = name
    strategy.source = source
    return strategy


def _refuse_params(params: dict[str, Any], what: str) -> None:
    if params:
        raise UsageError(f"{what} has no parameter {next(iter(params))!r}; a table takes none")


def _not_allowed(path: Path) -> str:
    return f"strategies in {path} cannot be read: permission denied; give yourself the right to read it"


def _beside(path: Path) -> str:
    """Name the nearest file of the folder."""
    if not path.parent.is_dir():
        return f"; nor does its folder {path.parent}"
    nearest = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")], n=1)
    return f"; did you mean {path.parent / nearest[0]}?" if nearest else ""


def _unknown(name: str, entries: dict[str, StrategyEntry], search: list[Path]) -> str:
    nearest = difflib.get_close_matches(name, list(entries), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(nearest)}?" if nearest else "."
    looked = ", ".join(str(folder) for folder in search)
    where = f"; looked in {looked} too" if looked else ""
    return (
        f"strategy {name!r} is unknown{hint} There are {', '.join(entries) or 'none'}{where}; "
        "a file is given as path/to/file.py"
    )
