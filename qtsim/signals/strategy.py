"""What a strategy is: a class with typed, bounded parameters that turns closed bars into requests."""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from qtsim.data.symbols import normalize_symbol
from qtsim.errors import StrategyError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from qtsim.signals.bars import Bars, Market
    from qtsim.signals.table import Signals

_KINDS: dict[Any, type] = {int: int, float: float, bool: bool, str: str}
_KINDS |= {kind.__name__: kind for kind in list(_KINDS.values())}
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


@dataclass(frozen=True)
class ParameterSpec:
    """One declared parameter.

    `kind` is `int`, `float`, `bool` or `str`; `low` and `high` are inclusive bounds of numbers, None where open;
    `choices` are the values a text may take, empty where any.
    """

    name: str
    kind: type
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""

    def bounds(self) -> str:
        """The values allowed, in words: `5 to 50`, `at least 0`, `one of a, b`, `true or false`."""
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return f"one of {', '.join(self.choices)}" if self.choices else "any text"
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.high is not None else "any number"

    def read(self, value: Any, owner: str) -> Any:
        """Return `value` as this parameter's kind; text from a command line is understood.

        Raises
        ------
        UsageError
            Not of this kind, or outside the bounds; `owner` (the strategy), name, value and bounds are named.
        """
        read = self._typed(value)
        wanted = "whole number" if self.kind is int else {float: "number", bool: "flag", str: "text"}[self.kind]
        if read is None:
            raise UsageError(
                f"{owner}: parameter {self.name} = {value!r} is not a {wanted}; "
                f"it may be {self.bounds()}, the default is {self.default!r}"
            )
        too_low = self.low is not None and self.kind in (int, float) and read < self.low
        too_high = self.high is not None and self.kind in (int, float) and read > self.high
        unknown = bool(self.choices) and read not in self.choices
        if too_low or too_high or unknown:
            raise UsageError(
                f"{owner}: parameter {self.name} = {read!r} is out of bounds; "
                f"it may be {self.bounds()}, the default is {self.default!r}"
            )
        return read

    def _typed(self, value: Any) -> Any:
        """Return the value in this kind, None where it is not one."""
        if self.kind is str:
            return value if isinstance(value, str) else None
        if self.kind is bool:
            text = str(value).strip().lower()
            return True if text in _TRUE else False if text in _FALSE else None
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return None
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            return None
        if self.kind is int:
            return int(float(value)) if float(value).is_integer() else None
        return float(value)


@dataclass(frozen=True)
class Parameter:
    """A parameter as declared in a class body, before it has a name and a kind."""

    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    help: str = ""


def param(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[str] = (),
    help: str = "",
) -> Any:
    """Declare a strategy's parameter: `fast: int = qt.param(12, low=5, high=50)`.

    Parameters
    ----------
    default : int, float, bool or str
        Value where none is given; its type is the parameter's where the annotation is missing.
    low, high : float, optional
        Inclusive bounds of a number.
    choices : iterable of str
        Values that a text may take.
    help : str
        One line for `strategies show`.
    """
    return Parameter(default, low, high, tuple(choices), help)


@dataclass(frozen=True)
class Uses:
    """What a strategy reads besides its own symbol's bars."""

    symbols: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


def uses(symbols: Iterable[str] = (), columns: Iterable[str] = ()) -> Uses:
    """Name the other symbols and the columns that a strategy reads: `uses = qt.uses(symbols=["BTCUSDT"])`.

    Columns: `funding_rate`, `mark_close`, or the name of an imported series.
    """
    if isinstance(symbols, str) or isinstance(columns, str):
        raise StrategyError('uses takes lists: uses = qt.uses(symbols=["BTCUSDT"], columns=["funding_rate"])')
    return Uses(tuple(normalize_symbol(symbol) for symbol in symbols), tuple(columns))


class Strategy:
    """Base class of strategies. Derive, declare parameters with `param`, and override `signals`.

    A strategy that ranks symbols against each other overrides `market_signals` instead. `signals` is called with the
    whole history in a backtest and with a trailing window live; it must answer for each bar from what was known at
    that bar's close, and must not keep state from call to call.
    """

    name: str = "strategy"
    """The file's name for strategies loaded by name or path, else the class's in snake case."""
    uses: ClassVar[Uses] = Uses()
    warmup: ClassVar[int | None] = None
    """Bars that a trailing window needs so that its last row equals that of the whole history; `qtsim check` measures
    it. None: not stated."""
    source: Path | None = None
    """The file that it was loaded from; None for a class made elsewhere."""

    _specs: ClassVar[dict[str, ParameterSpec]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = snake_case(cls.__name__)
        cls._specs = _collect_specs(cls)
        if not isinstance(cls.uses, Uses):
            raise StrategyError(
                f"{cls.__name__}: uses = {cls.uses!r} must be made by qt.uses: "
                'uses = qt.uses(symbols=["BTCUSDT"], columns=["funding_rate"])'
            )

    def __init__(self, **params: Any) -> None:
        for name, value in read_params(type(self), params).items():
            setattr(self, name, value)

    @classmethod
    def parameter_specs(cls) -> list[ParameterSpec]:
        """Return the declared parameters in the order of their declaration."""
        return list(cls._specs.values())

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring; empty where there is none."""
        text = inspect.cleandoc(cls.__doc__ or "")
        return text.splitlines()[0] if text and cls.__doc__ is not Strategy.__doc__ else ""

    def params(self) -> dict[str, Any]:
        """Return the parameters' values by name."""
        return {name: getattr(self, name) for name in self._specs}

    def is_valid(self) -> bool:
        """Tell whether the parameters fit together; a sweep skips cells where they do not."""
        return True

    def signals(self, bars: Bars) -> Signals | pd.DataFrame:
        """Return what is asked for at each closed bar of one symbol.

        Parameters
        ----------
        bars : Bars
            Read-only history of the symbol; other series through `on`, `of` and `column`.

        Returns
        -------
        Signals, or a DataFrame with its columns or freqtrade's; one row per bar.
        """
        raise NotImplementedError

    def market_signals(self, market: Market) -> Mapping[str, Signals | pd.DataFrame]:
        """Return what is asked for in each symbol, seeing all of them at once; symbols left out ask for nothing."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.params().items())})"


def is_cross_sectional(strategy: Strategy | type[Strategy]) -> bool:
    """Tell whether a strategy answers for all symbols at once."""
    cls = strategy if isinstance(strategy, type) else type(strategy)
    return cls.market_signals is not Strategy.market_signals


def is_complete(cls: type[Strategy]) -> bool:
    """Tell whether a class overrides `signals` or `market_signals`."""
    return is_cross_sectional(cls) or cls.signals is not Strategy.signals


def require_valid(strategy: Strategy) -> None:
    """Raise UsageError where the parameters do not fit together, StrategyError where that cannot be told."""
    shown = ", ".join(f"{name} = {value!r}" for name, value in strategy.params().items())
    try:
        valid = strategy.is_valid()
    except (Exception, SystemExit) as error:
        raise StrategyError(
            f"{strategy.name}: is_valid raises {type(error).__name__}: {error} (parameters: {shown or 'none'}); "
            "it must return true or false"
        ) from error
    if not valid:
        raise UsageError(f"{strategy.name}: these parameters do not fit together (is_valid): {shown}")


def read_params(cls: type[Strategy], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter's value: the given ones checked, the others at their default.

    Raises
    ------
    UsageError
        An unknown name (the nearest is named), or a value of the wrong kind or outside its bounds.
    """
    specs = cls._specs
    for name in params:
        if name not in specs:
            raise UsageError(f"{cls.name} has no parameter {name!r}{_suggest(name, list(specs))}")
    return {name: spec.read(params[name], cls.name) if name in params else spec.default for name, spec in specs.items()}


def snake_case(name: str) -> str:
    """`EmaCross` → `ema_cross`, `RSIReversal` → `rsi_reversal`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _suggest(name: str, known: list[str]) -> str:
    if not known:
        return "; it has none"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else "."
    return f"{hint} It has {', '.join(known)}"


def _collect_specs(cls: type[Strategy]) -> dict[str, ParameterSpec]:
    """Return inherited and own parameters; replace the declarations in the class by their defaults."""
    specs: dict[str, ParameterSpec] = {}
    for base in reversed(cls.__mro__[1:]):
        specs |= base.__dict__.get("_specs", {})
    try:
        annotations = inspect.get_annotations(cls)
    except NameError:  # an annotation that only a type checker can resolve
        annotations = {}
    for name, declared in list(cls.__dict__.items()):
        if isinstance(declared, Parameter):
            if hasattr(Strategy, name):
                raise StrategyError(f"{cls.__name__}: a parameter cannot be called {name}, which has another meaning")
            specs[name] = _make_spec(cls, name, declared, annotations.get(name))
        elif name in specs:  # a subclass that states another default
            specs[name] = replace(specs[name], default=_checked_default(cls, specs[name], declared))
        else:
            continue
        setattr(cls, name, specs[name].default)
    return specs


def _make_spec(cls: type, name: str, declared: Parameter, annotation: Any) -> ParameterSpec:
    kind = _KINDS.get(annotation) if annotation is not None else _KINDS.get(type(declared.default))
    if kind is None:
        shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", type(declared.default))
        raise StrategyError(f"{cls.__name__}.{name}: a parameter is an int, float, bool or str, not {shown}")
    if declared.low is not None and declared.high is not None and declared.low > declared.high:
        raise StrategyError(f"{cls.__name__}.{name}: low = {declared.low:g} is above high = {declared.high:g}")
    spec = ParameterSpec(name, kind, declared.default, declared.low, declared.high, declared.choices, declared.help)
    return replace(spec, default=_checked_default(cls, spec, declared.default))


def _checked_default(cls: type, spec: ParameterSpec, default: Any) -> Any:
    try:
        return spec.read(default, cls.__name__)
    except UsageError as error:
        raise StrategyError(f"{error} (declared so in the class)") from None
