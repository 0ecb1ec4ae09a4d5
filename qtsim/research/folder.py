"""The folder of a sweep: what was asked, its trials, and what they prove.

sweeps/20261121-1430-ema_cross-7f3a/
    sweep.json        what was asked, on what, schema number
    trials.rows       one row per finished trial
    conclusion.json   the verdict, once every trial has been made
    report.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qtsim.data.atomic import write_atomically
from qtsim.errors import DataError, QtsimError, UsageError
from qtsim.research.sweep import SweepInfo
from qtsim.research.trials import HEADER, read_trials, trial_dt
from qtsim.research.verdict import Evidence, Verdict
from qtsim.results.plain_json import decode, encode

SCHEMA = 1
"""Raised whenever a reader of the previous number would misread the folder."""
MANIFEST = "sweep.json"
TRIALS = "trials.rows"
CONCLUSION = "conclusion.json"


@dataclass(frozen=True)
class SweepEntry:
    """One line of the list of sweeps. A damaged one has `damage` and little else."""

    name: str
    path: Path
    info: SweepInfo | None = None
    made: int = 0
    verdict: str = ""
    damage: str = ""

    @property
    def started_at(self) -> str:
        """When it began, ISO UTC."""
        return self.info.started_at if self.info is not None else ""


def sweeps_folder(root: Path) -> Path:
    """Where a workspace keeps its sweeps."""
    return root / "sweeps"


def trials_file(folder: Path) -> Path:
    """The file of a sweep's trials."""
    return folder / TRIALS


def new_folder(root: Path, info: SweepInfo) -> Path:
    """Make the folder of a sweep and write down what was asked. Errors: QtsimError where it cannot be written."""
    started = datetime.fromisoformat(info.started_at).astimezone(UTC)
    strategy = re.sub(r"[^A-Za-z0-9_]+", "_", Path(info.strategy.split(":")[0]).stem).strip("_") or "sweep"
    name = f"{started:%Y%m%d-%H%M}-{strategy[:40]}-{info.identity[:4]}"
    parent = sweeps_folder(root)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = _claim(parent, name)
    except OSError as error:
        raise QtsimError(f"cannot write to the folder {parent}: {error.strerror or error}") from error
    _write(folder / MANIFEST, {"schema": SCHEMA, "info": replace(info, name=folder.name).to_dict()})
    return folder


def _claim(parent: Path, name: str) -> Path:
    attempt = 1
    while True:
        folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            attempt += 1
            continue
        return folder


def find_identical(root: Path, identity: str) -> Path | None:
    """The folder of the same sweep, begun before; None where there is none."""
    entries = [one for one in list_sweeps(root) if one.info is not None and one.info.identity == identity]
    return entries[-1].path if entries else None


def list_sweeps(root: Path) -> list[SweepEntry]:
    """All sweeps of a workspace, the latest last. Damaged ones are listed as such; nothing is raised."""
    parent = sweeps_folder(root)
    if not parent.is_dir():
        return []
    found = [_entry(path) for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda one: (one.started_at or one.name, one.name))


def find_sweep(root: Path, reference: str) -> Path | None:
    """The folder of a sweep named by id, unique prefix, path, or "last"; None where there is none of that name."""
    as_path = Path(reference)
    if (as_path / MANIFEST).exists():
        return as_path
    entries = list_sweeps(root)
    if reference == "last":
        return entries[-1].path if entries else None
    matches = [one for one in entries if one.name == reference]
    matches = matches or [one for one in entries if reference and one.name.startswith(reference)]
    if len(matches) > 1:
        names = ", ".join(one.name for one in matches[-5:][::-1])
        raise UsageError(f"{reference!r} is the beginning of {len(matches)} sweeps ({names}); give more of the id")
    return matches[0].path if matches else None


def read_info(folder: Path) -> SweepInfo:
    """What was asked of a sweep. Errors: DataError where the folder is none, damaged, or of a newer version."""
    try:
        manifest = decode(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        schema, values = int(manifest["schema"]), manifest["info"]
    except FileNotFoundError:
        raise DataError(f"{folder} is no folder of a sweep: it has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"sweep folder {folder} is damaged: {MANIFEST} cannot be read ({error})") from error
    if schema > SCHEMA:
        raise DataError(
            f"sweep folder {folder} was written by a newer version (schema {schema}, this version reads up to "
            f"{SCHEMA}); upgrade qtsim to read it"
        )
    try:
        return SweepInfo.from_dict(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"sweep folder {folder} is damaged: {error}") from error


def save_conclusion(folder: Path, verdict: Verdict) -> None:
    """Write down what the trials prove."""
    values = {"word": verdict.word, "reasons": list(verdict.reasons), "evidence": asdict(verdict.evidence)}
    _write(folder / CONCLUSION, {"schema": SCHEMA, **values})


def read_conclusion(folder: Path) -> Verdict | None:
    """What the trials prove; None where that has not been written down."""
    try:
        values = decode(json.loads((folder / CONCLUSION).read_text(encoding="utf-8")))
        evidence = Evidence(**{**values["evidence"], "folds": tuple(values["evidence"]["folds"])})
        return Verdict(values["word"], tuple(values["reasons"]), evidence)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_sweep(folder: Path) -> None:
    """Delete a sweep; it disappears from the list at once. Errors: DataError where it is no folder of a sweep."""
    if not (folder / MANIFEST).exists():
        raise DataError(f"{folder} is no folder of a sweep: it has no {MANIFEST}")
    hidden = folder.with_name(f".{folder.name}.removed")
    os.rename(folder, hidden)
    shutil.rmtree(hidden)


def _entry(path: Path) -> SweepEntry:
    try:
        info = read_info(path)
        size = os.path.getsize(path / TRIALS) if (path / TRIALS).exists() else HEADER
    except (QtsimError, OSError) as error:
        return SweepEntry(path.name, path, damage=str(error))
    verdict = read_conclusion(path)
    made = max(size - HEADER, 0) // trial_dt.itemsize
    return SweepEntry(path.name, path, info, made, "" if verdict is None else verdict.word)


def load_rows(folder: Path) -> Any:
    """The trials of a sweep, trial_dt."""
    return read_trials(folder / TRIALS)


def _write(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(encode(values), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
