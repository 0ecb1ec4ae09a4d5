"""Rules of the house that no linter knows, checked on the sources."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from pathlib import Path

import pytest

from qtsim.core import enums

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "qtsim"
KERNEL_SOURCES = sorted([*(PACKAGE / "core").glob("**/*.py"), *(PACKAGE / "sim").glob("**/*.py")])
DECIDING_SOURCES = sorted([*KERNEL_SOURCES, *(PACKAGE / "trading").glob("**/*.py")])
SOURCES = sorted(PACKAGE.glob("**/*.py"))

AMBIENT_MODULES = {"time", "datetime", "random", "secrets", "uuid"}
ALLOCATING = {
    "array",
    "arange",
    "copy",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "linspace",
    "ones",
    "zeros",
    "zeros_like",
}
NAMES_THAT_SAY_NOTHING = {"util", "utils", "helper", "helpers", "manager", "handler", "misc", "common", "tools"}
# Written in pieces, so that this file does not find itself.
FOREIGN_TEXT = [
    re.compile(pattern)
    for pattern in (
        r"(?<![\w.])/(?:" + "home|root|work|Users" + r")/\w",
        r"[A-Z]:\\" + "Users",
        r"(?i)\bpy" + r"pi\.org|python" + "hosted",
        r"--(?:extra-)?index" + "-url",
        r"(?i)\blocal" + r"host:\d{4}.*simple",
    )
]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(source: Path) -> ast.Module:
    return ast.parse(source.read_text(encoding="utf-8"), filename=str(source))


def functions_of(source: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree_of(source)) if isinstance(node, ast.FunctionDef))


def is_kernel(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "kernel" for d in function.decorator_list)


def project_files() -> list[Path]:
    """Files that belong to the project: what git tracks, else everything that is not built."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    built = {".venv", "build", "dist", "__pycache__", "runs", ".git"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not built & set(path.relative_to(ROOT).parts)]


# Kernels -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", KERNEL_SOURCES, ids=relative)
def test_kernels_are_named_decorated_and_documented(source: Path) -> None:
    for function in functions_of(source):
        where = f"{relative(source)}:{function.lineno} {function.name}"
        assert function.name.endswith("_nb") == is_kernel(function), f"{where}: `_nb` and @kernel belong together"
        if is_kernel(function):
            assert ast.get_docstring(function), f"{where}: a kernel's docstring states its rule"


@pytest.mark.parametrize("source", [s for s in KERNEL_SOURCES if s.parent.name == "core"], ids=relative)
def test_kernels_of_the_core_allocate_nothing(source: Path) -> None:
    for function in filter(is_kernel, functions_of(source)):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            target = call.func
            numpy_call = (
                isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "np"
            )
            assert not (numpy_call and isinstance(target, ast.Attribute) and target.attr in ALLOCATING), (
                f"{relative(source)}:{call.lineno} {function.name} allocates"
            )


@pytest.mark.parametrize("source", SOURCES, ids=relative)
def test_only_one_decorator_compiles(source: Path) -> None:
    if source.name == "_jit.py":
        return
    compiling = re.findall(
        r"\b(?:njit|jitclass|guvectorize|numba\.jit|fastmath|prange)\b", source.read_text(encoding="utf-8")
    )
    assert not compiling, f"{relative(source)} uses {compiling}; compile through qtsim.core._jit.kernel"


# Nothing ambient -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", DECIDING_SOURCES, ids=relative)
def test_decisions_have_no_clock_and_no_chance(source: Path) -> None:
    for node in ast.walk(tree_of(source)):
        imported: set[str] = set()
        if isinstance(node, ast.Import):
            imported = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported = {(node.module or "").split(".")[0]}
        assert not imported & AMBIENT_MODULES, f"{relative(source)} imports {sorted(imported & AMBIENT_MODULES)}"
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in {"np.random", "numpy.random", "os.environ"} or source.name == "_jit.py", (
                f"{relative(source)}:{node.lineno} uses {ast.unparse(node)}"
            )


@pytest.mark.parametrize("source", [s for s in SOURCES if "app" not in s.relative_to(PACKAGE).parts], ids=relative)
def test_the_mode_is_chosen_in_app_only(source: Path) -> None:
    assert "is_live" not in source.read_text(encoding="utf-8")


@pytest.mark.parametrize("source", [s for s in SOURCES if "cli" not in s.relative_to(PACKAGE).parts], ids=relative)
def test_only_the_command_line_prints(source: Path) -> None:
    calls = [n for n in ast.walk(tree_of(source)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
    assert not calls, f"{relative(source)}:{calls[0].lineno} prints"


@pytest.mark.parametrize("source", SOURCES, ids=relative)
def test_every_module_says_what_it_is(source: Path) -> None:
    assert ast.get_docstring(tree_of(source)), f"{relative(source)} has no docstring"


# Codes ---------------------------------------------------------------------------------------------------------------

TABLES = {name: table for name, table in vars(enums).items() if name.endswith("_TEXT")}
CODES = [
    code
    for code in vars(enums).values()
    if isinstance(code, type) and issubclass(code, IntEnum | IntFlag) and code not in (IntEnum, IntFlag)
]


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_texts_are_complete(name: str) -> None:
    table = TABLES[name]
    kind: type[IntEnum] = type(next(iter(table)))
    missing = [code.name for code in kind if code not in table]
    assert not missing, f"{name} lacks {missing}"
    assert len(set(table.values())) == len(table), f"{name} gives one text to two codes"


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.__name__)
def test_codes_have_a_harmless_zero_and_a_description(code: type[IntEnum]) -> None:
    assert code(0) is not None
    assert (code.__doc__ or "").strip()


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.__name__)
def test_codes_are_upper_case(code: type[IntEnum]) -> None:
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", member) for member in code.__members__)


# The tree ------------------------------------------------------------------------------------------------------------


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = [relative(path) for path in project_files() if NAMES_THAT_SAY_NOTHING & set(path.stem.lower().split("_"))]
    assert not vague, f"say what is in it: {vague}"


def test_no_machine_is_named() -> None:
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{relative(path)}: {match[0]}" for pattern in FOREIGN_TEXT if (match := pattern.search(text))]
    assert not found, f"paths of a machine or hosts of a registry: {found}"


def test_no_large_file_is_tracked() -> None:
    large = [f"{relative(p)} {p.stat().st_size >> 20} MiB" for p in project_files() if p.stat().st_size > 5 << 20]
    assert not large
