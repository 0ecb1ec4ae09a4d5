"""Documentation that runs cannot rot: code is executed, links, settings, commands and tests that pages name exist."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "notebooks/*.md", "data/README.md", "strategies/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
SECTIONS = {
    "run", "account", "entry", "leverage", "exit", "sizing", "regime", "gates", "orchestrator", "limits", "governor",
    "costs", "data", "sim", "live", "bus",
}  # fmt: skip
FILE_ENDINGS = {"md", "py", "toml", "csv", "json", "parquet", "txt", "html"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page; an unclosed fence is an error."""
    blocks: list[Block] = []
    language: str | None = None
    start = 0
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            language, start, lines = line[3:].strip(), number, []
        else:
            blocks.append(Block(page, start, language, "\n".join(lines) + "\n"))
            language = None
    assert language is None, f"{page}: the block that starts in line {start} is not closed"
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def prose_of(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run_script(script: Path, folder: Path) -> None:
    """Run a script as a user would, in an empty folder, and show what it printed if it fails."""
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{script.name} failed:\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python run"], ids=lambda b: b.name)
def test_python_of_the_pages_runs(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(block.text, encoding="utf-8")
    run_script(script, tmp_path)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language.startswith("python")], ids=lambda b: b.name)
def test_python_of_the_pages_is_python(block: Block) -> None:
    ast.parse(block.text, filename=block.name)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_runs_from_top_to_bottom(notebook: Path, tmp_path: Path) -> None:
    run_script(notebook, tmp_path)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_is_listed(notebook: Path) -> None:
    assert f"({notebook.name})" in (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name} links to {target}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name} links to {target}; that page has no such heading"


def named_settings(text: str) -> set[str]:
    """Settings by their path, as `inline code`, as `--set KEY=VALUE` or as `config explain KEY`."""
    found = set(re.findall(r"--set ([a-z][\w.]*)=", text)) | set(re.findall(r"config explain ([a-z][\w.]*)", text))
    for code in re.findall(r"`([^`\n]+)`", text):
        match = re.fullmatch(r"([a-z]\w*(?:\.\w+)+)(?:\s*=.*)?", code)
        if match and match[1].split(".")[0] in SECTIONS and match[1].rsplit(".")[-1] not in FILE_ENDINGS:
            found.add(match[1])
    return {key for key in found if key.split(".")[0] != "strategy"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_settings_named_in_pages_exist(page: Path) -> None:
    from qtsim.config.settings import Settings, flatten

    paths = set(flatten(Settings()))
    known = {".".join(path.split(".")[:n]) for path in paths for n in range(1, path.count(".") + 2)}
    unknown = named_settings(page.read_text(encoding="utf-8")) - known
    assert not unknown, f"{page.name} names settings that do not exist: {sorted(unknown)}"


def test_the_page_of_settings_is_current() -> None:
    from qtsim.config.reference import reference_page

    page = ROOT / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference_page(), (
        "run: python -m qtsim.config.reference docs/settings.md"
    )


def option_names(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "bash" and "qtsim " in b.text], ids=lambda b: b.name
)
def test_commands_named_in_pages_exist(block: Block) -> None:
    import typer.main

    from qtsim.cli import app

    for line in block.text.splitlines():
        if not line.startswith("qtsim "):
            continue
        command: Any = typer.main.get_command(app)
        words = shlex.split(line, comments=True)[1:]
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"{block.name}: {line}: no command {words[0]}"
            command = command.commands[words.pop(0)]
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in option_names(command), f"{block.name}: {line}: no option {word}"


# Assumptions ---------------------------------------------------------------------------------------------------------

ASSUMPTIONS = re.findall(
    r"^\| (A\d+) \| (.+?) \| (.+?) \| (.+?) \|$",
    (ROOT / "docs" / "assumptions.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)

REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)(?:\[([^\]`]+)\])?`")


def functions_of(source: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }


def test_assumptions_are_numbered_in_order() -> None:
    assert [row[0] for row in ASSUMPTIONS] == [f"A{n:02d}" for n in range(1, len(ASSUMPTIONS) + 1)]


def test_every_assumption_names_the_test_that_holds_it() -> None:
    """The last column: `tests/file.py::test_name`, with `[id]` where a table of cases holds it; or that nothing can."""
    bare = [row[0] for row in ASSUMPTIONS if row[3] != "nothing can" and not REFERENCE.search(row[3])]
    assert not bare, f"docs/assumptions.md names no test for {', '.join(bare)}"


def test_tests_named_by_assumptions_exist() -> None:
    for identifier, _, _, holder in ASSUMPTIONS:
        for file, function, case in REFERENCE.findall(holder):
            source = ROOT / file
            assert source.is_file(), f"{identifier} names {file}, which does not exist"
            assert function in functions_of(source), f"{identifier} names {function}, which {file} does not have"
            if case:
                assert case in source.read_text(encoding="utf-8"), f"{identifier}: {file} has no case {case}"
