"""What commands print: plain lines, tables, JSON, and progress on a terminal.

The answer goes to standard output, everything beside it (workspace, notes, errors, progress) to standard error. On a
terminal lines are folded to its width; piped, every line stays whole.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import typer

SCHEMA = 1
"""Number in every JSON answer; it grows when a reader of the previous one would misread it."""
LABEL_WIDTH = 13
"""Of the first screen: a blank and the label, after which the text begins."""
COLUMN_GAP = 2
"""Characters between two columns of a table on a terminal."""
NARROWEST = 60
"""Terminals below this are written to as if they had so many columns."""
Stage = Callable[[str, int, int], None]
"""Called with (what is being done, done, all)."""


_above_bar: list[Callable[[str], None]] = []
"""While a progress bar is shown: how a line is written above it."""


class LabelledLine(Protocol):
    """A line of the first screen; one without a label is part of the heading."""

    @property
    def label(self) -> str: ...

    @property
    def text(self) -> str: ...


def say(text: object = "") -> None:
    """One line of the answer."""
    typer.echo(str(text))


def note(text: object) -> None:
    """One line beside the answer: workspace, headlines, warnings, errors. Goes to standard error."""
    if _above_bar:
        _above_bar[-1](str(text))
    else:
        typer.echo(str(text), err=True)


def say_place(root: Path, data: Path | None = None) -> None:
    """Say which workspace is in use, and which data."""
    note(f"workspace {root}" + (f" · data {data}" if data is not None else ""))


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON document with its schema number; NaN and infinities are null."""
    say(json.dumps({"schema": SCHEMA, **to_plain(values)}, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """A table with a heading: fitted to the width of a terminal, plain and whole when piped.

    `right` names the columns that hold numbers, which are never broken; `optional` those that a narrow terminal does
    without, the first to go first.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        kept = fitting_columns(header, cells, optional, shutil.get_terminal_size().columns)
        _rich_table([header[k] for k in kept], [[line[k] for k in kept] for line in cells], right)
        return
    widths = column_widths(header, cells)
    for line in [list(header), *cells]:
        padded = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        )
        say("  ".join(padded).rstrip())


def column_widths(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """Characters of the longest cell of each column, its heading included."""
    return [max(len(line[k]) for line in [list(header), *cells]) for k in range(len(header))]


def fitting_columns(
    header: Sequence[str], cells: Sequence[Sequence[str]], optional: Sequence[str], width: int
) -> list[int]:
    """Columns that are shown at this width: empty ones are left out, then `optional` ones until the rest fits."""
    widths = column_widths(header, cells)
    kept = [k for k, name in enumerate(header) if name or any(line[k] for line in cells)]
    for name in optional:
        if sum(widths[k] for k in kept) + COLUMN_GAP * (len(kept) - 1) <= width:
            break
        kept = [k for k in kept if header[k] != name]
    return kept


def _rich_table(header: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for k, name in enumerate(header):
        is_number = name in right
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=k == 0 or is_number)
    for line in cells:
        table.add_row(*(Text(cell) for cell in line))
    Console(highlight=False).print(table)


def print_lines(lines: Iterable[LabelledLine]) -> None:
    """The first screen: verbatim when piped, folded under its labels on a terminal that is narrower."""
    on_terminal = sys.stdout.isatty()
    width = max(NARROWEST, shutil.get_terminal_size().columns)
    for line in lines:
        whole = f" {line.label:<{LABEL_WIDTH - 1}} {line.text}" if line.label else line.text
        if not on_terminal:
            say(whole)
            continue
        folded = fold_line(line.label, line.text, width)
        if line.label:
            head = f" {line.label}"
            folded[0] = typer.style(head, bold=True) + folded[0][len(head) :]
        for part in folded:
            say(part)


def print_first_screen(lines: Sequence[LabelledLine], tried: Any) -> None:
    """The first screen of a run, before its last line how often this has been tried; where that is not known, why."""
    if isinstance(tried, str):
        note(f"not counted as a trial: {tried}")
        print_lines(lines)
    else:
        print_lines([*lines[:-1], _Labelled("Tried", tried.text), lines[-1]])


class _Labelled(NamedTuple):
    """A line of the first screen."""

    label: str
    text: str


def fold_line(label: str, text: str, width: int) -> list[str]:
    """A line of the first screen as lines of at most `width` columns, continued below where its text begins.

    A text in columns is broken between its columns.
    """
    text = text.replace(" %", "\u00a0%")  # a figure and its sign stay together
    lead = f" {label:<{LABEL_WIDTH - 1}} " if label else ""
    indent = " " * len(lead) if label else "  "
    whole = lead + text
    if len(whole) <= width:
        return [whole.replace("\u00a0", " ")]
    columns = re.split(r"\s{2,}(?=[A-Z][a-z])", text) if label else [text]
    lines = [lead + columns[0]]
    for column in columns[1:]:
        joined = f"{lines[-1]}   {column}"
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(indent + column)
    folded: list[str] = []
    for line in lines:
        folded += textwrap.wrap(
            line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        ) or [line]
    return [line.replace("\u00a0", " ") for line in folded]


@contextmanager
def progress() -> Iterator[Stage]:
    """A stage callback: a live bar on a terminal, silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def stage(what: str, done: int, total: int) -> None:
            # a stage of one step has no share to show: the bar pulses
            bar.update(task, description=what, completed=done, total=total if total > 1 else None)

        _above_bar.append(lambda text: console.print(text, markup=False, highlight=False))
        try:
            yield stage
        finally:
            _above_bar.pop()


@contextmanager
def progress_or_lines() -> Iterator[Stage]:
    """A stage callback for what takes minutes: a live bar on a terminal, a line per tenth elsewhere.

    What is being done is a phase, and after a colon or ` · ` what changes while it lasts.
    """
    if sys.stderr.isatty():
        with progress() as stage:
            yield stage
        return
    told: dict[str, int] = {}

    def stage_in_lines(what: str, done: int, total: int) -> None:
        head, _, aside = what.partition(" · ")
        phase = head.partition(":")[0]
        if done <= 1 or total <= 1:
            told.pop(phase, None)
        tenth = done * 10 // max(total, 1)
        if total > 1 and tenth > told.get(phase, 0):
            told[phase] = tenth
            note(f"{phase}: {done:,} of {total:,}" + (f" · {aside}" if aside else ""))

    yield stage_in_lines


def to_plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [to_plain(item) for item in sorted(value)]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)
