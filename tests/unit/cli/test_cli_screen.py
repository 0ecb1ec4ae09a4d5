"""What is printed fits a terminal, and stays whole when piped."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from qtsim.cli.screen import fitting_columns, fold_line, print_table, to_plain
from qtsim.data.store import Store
from tests.unit.cli.made_workspace import made_bars
from tests.unit.results.made_run import made_result

METRICS = "-0.78 % [-2.55, -0.43]   low/high path   Sharpe     -0.15 [-0.56]     Trades   197      Win Rate      43.7 %"


def test_a_line_that_fits_is_left_alone() -> None:
    assert fold_line("Verdict", "loses 3 %", 80) == [" Verdict      loses 3 %"]
    assert fold_line("", "heading", 80) == ["heading"]


def test_columns_are_not_torn_apart() -> None:
    assert fold_line("Total Return", METRICS, 80) == [
        " Total Return -0.78 % [-2.55, -0.43]   low/high path   Sharpe     -0.15 [-0.56]",
        "              Trades   197   Win Rate      43.7 %",
    ]


def test_a_figure_and_its_sign_stay_together() -> None:
    for width in range(30, 70):
        lines = fold_line("Verdict", "loses after costs; holding returned +62.97 %; 28.4 % of exits depend", width)
        assert not any(line.strip().startswith("%") for line in lines)
        assert all(len(line) <= width for line in lines)
        assert all(line.startswith(" " * 14) for line in lines[1:])
        words = [
            "Verdict",
            "loses",
            "after",
            "costs;",
            "holding",
            "returned",
            "+62.97",
            "%;",
            "28.4",
            "%",
            "of",
            "exits",
            "depend",
        ]
        assert " ".join(lines).split() == words


def test_plain_values_for_json() -> None:
    assert to_plain({"a": (1, float("nan")), 2: {"z", "b"}, "p": Path("x"), "inf": float("inf"), "n": None}) == {
        "a": [1, None],
        "2": ["b", "z"],
        "p": "x",
        "inf": None,
        "n": None,
    }


def test_piped_tables_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "rows"), [("a", 1), ("long name", 1234)], right=("rows",))
    assert capsys.readouterr().out == "name       rows\na             1\nlong name  1234\n"


def test_a_narrow_terminal_does_without_optional_and_empty_columns() -> None:
    header, cells = ("name", "period", "kind", "n", ""), [["a" * 10, "b" * 20, "c" * 5, "100", ""]]
    shown = {width: fitting_columns(header, cells, ("period", "kind"), width) for width in (80, 44, 43, 22, 21, 10)}
    assert shown == {80: [0, 1, 2, 3], 44: [0, 1, 2, 3], 43: [0, 2, 3], 22: [0, 2, 3], 21: [0, 3], 10: [0, 3]}
    assert fitting_columns(header, [[*cells[0][:4], "STALE"]], (), 10) == [0, 1, 2, 3, 4]


def on_terminal(folder: Path, columns: int, *words: str) -> str:
    """What a terminal of so many columns shows, without colours and cursor movements."""
    controller, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-m", "qtsim.cli", *words],
        cwd=folder,
        env={**environ, "QTSIM_HOME": str(folder / "home"), "TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # EIO: the other side has closed
            break
        if not part:
            break
        shown += part
    os.close(controller)
    assert process.wait(timeout=60) == 0, shown.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r\n", "\n")


def test_on_a_terminal_of_eighty_columns(tmp_path: Path) -> None:
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    shown = on_terminal(tmp_path, 80, "backtest", "--fast", "--no-save", "--timerange", "20251101-")
    screen = shown[shown.index("qtsim 0") :].splitlines()
    assert all(len(line) <= 80 for line in screen)
    assert any(line.startswith(" Verdict") for line in screen)
    assert "simulating" in shown, "a progress bar was shown"
    listed = on_terminal(tmp_path, 80, "data", "list", "--sample").splitlines()
    assert all(len(line) <= 80 for line in listed if not line.startswith(("workspace", "data ")))
    assert any("BTCUSDT" in line for line in listed)


def test_the_list_of_runs_on_a_terminal_of_eighty_columns(tmp_path: Path) -> None:
    """Numbers, names and symbols stay whole; what does not fit is left out."""
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", made_bars(), source="made for the test")
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")  # of other data than the store has
    sources = dict.fromkeys(symbols, "file")
    made_result(symbols, n_bars=300, strategy="rsi_reversal", from_store=True, sources=sources).save(tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    listed = on_terminal(tmp_path, 80, "runs", "list")
    lines = [line.rstrip() for line in listed.splitlines() if line.startswith(("run ", f"{folder.name} "))]
    assert len(lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert re.search(r"BTCUSDT \+2 +-?\d+\.\d\d % +-?\d+\.\d\d % +\d+ +STALE$", lines[1])
    assert "2024-01-01 to 2024-01-13" in on_terminal(tmp_path, 160, "runs", "list")
