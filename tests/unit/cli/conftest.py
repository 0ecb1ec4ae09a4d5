"""The command line, called in the test's own process with a workspace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qtsim.cli import main
from qtsim.data.store import Store
from tests.unit.cli.made_workspace import Answer, Run, made_bars

HOME = "home"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in a workspace without data; the current folder is the workspace."""
    (tmp_path / "qtsim.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QTSIM_HOME", str(tmp_path / HOME))

    def run(*words: str) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["qtsim", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Answer(stop.value.code, out, err)

    return run


@pytest.fixture
def qtsim(empty: Run, tmp_path: Path) -> Run:
    """A workspace with 300 hourly bars of BTCUSDT."""
    Store(tmp_path / "data").write_bars("BTCUSDT", "1h", made_bars(), source="made for the test")
    return empty


@pytest.fixture
def spawn(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command line as a process of its own in the test's workspace."""

    def start(*words: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "qtsim.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "QTSIM_HOME": str(tmp_path / HOME), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], list[str]]:
    """Names of everything below the workspace's runs/, hidden ones too."""

    def names() -> list[str]:
        folder = tmp_path / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    return names
