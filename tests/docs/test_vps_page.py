"""The server page: what its units and containers run are commands and options that exist, and they fit together."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from qtsim.app.credentials import KEY, SECRET
from qtsim.cli.root import app
from tests.docs.test_docs import Block, blocks_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "vps.md"
BLOCKS = blocks_of(PAGE)
OPTION = re.compile(r"--?[a-z][a-z-]*")


def of(language: str) -> list[Block]:
    """The page's blocks in a language."""
    return [block for block in BLOCKS if block.language == language]


def command_lines() -> list[str]:
    """Everything on the page that starts qtsim, from the word after it on."""
    text = "\n".join(block.text for block in BLOCKS)
    lines = re.findall(
        r"(?:^|/|\s)qtsim ((?:live|guardian|warmup|data|backtest|status|kill|doctor|resume|replay)\b[^\n&|`]*)", text
    )
    lines += re.findall(r"command: ([^\n]+)", text)
    return [line.strip() for line in lines]


def parameters_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words that follow its name."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"qtsim has no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("line", command_lines())
def test_commands_and_options_exist(line: str) -> None:
    command, rest = parameters_of(shlex.split(line))
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = {word for word in rest if OPTION.fullmatch(word)}
    assert used <= known, f"{line}: {used - known}"


def test_the_page_starts_both_programs_in_units_and_in_containers() -> None:
    lines = command_lines()
    assert sum(line.startswith("live --from RUN --mode live --confirm HASH") for line in lines) == 2
    assert lines.count("guardian") == 2


def units() -> list[configparser.ConfigParser]:
    """The page's units."""
    found = []
    for block in of("ini"):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(block.text)
        found.append(parser)
    return found


def test_units_agree_on_user_folder_and_keys() -> None:
    program, guardian = units()
    for name in ("User", "WorkingDirectory"):
        assert program["Service"][name] == guardian["Service"][name]
    for block in of("ini"):
        assert f"Environment={KEY}_FILE=" in block.text
        assert f"Environment={SECRET}_FILE=" in block.text


def test_the_program_is_not_started_again_where_a_start_does_not_help() -> None:
    program, guardian = units()
    assert program["Service"]["Restart"] == "on-failure"
    assert program["Service"]["RestartPreventExitStatus"] == "2"
    assert "--no-guardian" in program["Service"]["ExecStart"]
    assert guardian["Service"]["Restart"] == "always"


def test_the_folder_of_the_units_is_made_a_workspace() -> None:
    program, _ = units()
    home, _, name = program["Service"]["WorkingDirectory"].rpartition("/")
    prepare = next(block.text for block in of("console") if "useradd" in block.text)
    assert f"--home-dir {home} " in prepare
    assert f"venv/bin/qtsim init {name} && cd {name}\n" in prepare


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units_as_they_are(tmp_path: Path) -> None:
    names = re.findall(r"`/etc/systemd/system/([a-z-]+\.service)`:", PAGE.read_text(encoding="utf-8"))
    assert len(names) == len(of("ini"))
    for name, block in zip(names, of("ini"), strict=True):
        text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", block.text)  # a program that is there
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_containers_are_ended_by_the_signal_that_they_are_sent() -> None:
    (compose,) = of("yaml")
    assert compose.text.count("    init: true\n") == compose.text.count("    build: .\n") == 2
