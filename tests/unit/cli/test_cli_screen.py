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

from qtsim.cli.screen import fold_line, print_table, to_plain

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
