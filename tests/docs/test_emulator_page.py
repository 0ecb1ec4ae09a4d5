"""The emulator's page: its program in virtual time runs as it stands, and its fault plan is one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from qtsim.emulator.faults import KINDS, read_plan

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "emulator.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_program_in_virtual_time_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ccxt.pro", reason="needs the extra live")
    exec(compile(blocks("python")[-1], "emulator.md", "exec"), {"__name__": "page"})
    assert "'contracts': 0.01" in capsys.readouterr().out


def test_the_fault_plan_is_one(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    file = tmp_path / "plan.toml"
    file.write_text(text, encoding="utf-8")
    plan = read_plan(file)
    assert plan.script[0].code == -2021
    assert set(tomllib.loads(text)) == {"query_lag_ms", "stuck_triggers", "rates", "script", "foreign"}


def test_every_kind_of_fault_is_on_the_page() -> None:
    assert [kind for kind in KINDS if f"`{kind}`" not in PAGE] == []
