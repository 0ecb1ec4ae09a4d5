"""The run folder: one run, complete or not there at all.

    runs/20261121-1430-ema_cross-7f3a/
        manifest.json                   what was run, schema number, digests of the files below
        metrics.json                    metrics, range and optimism
        trades.parquet  fills.parquet  orders.parquet  decisions.parquet  denials.parquet  funding.parquet
        equity.parquet  positions.parquet  governor.parquet  buy_and_hold.parquet  bars.parquet
        ambiguous.parquet               bars whose path decides exits
        agent.npz                       what sizing model rl has learnt, where it was chosen
        settings.json                   path -> value, every setting
        report.html                     where one was made

It is written under a hidden name, flushed to the disk and renamed, so a run that is interrupted leaves nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from qtsim.data.atomic import sync_file, sync_folder
from qtsim.errors import DataError, QtsimError, UsageError
from qtsim.results.ablation import EMPTY_ABLATION
from qtsim.results.agents import load_agent
from qtsim.results.ambiguity import EMPTY_AMBIGUOUS
from qtsim.results.metrics import Totals
from qtsim.results.plain_json import decode, encode
from qtsim.results.result import Result, RunInfo
from qtsim.results.signals import EMPTY_SIGNALS
from qtsim.results.tables import EMPTY_GOVERNOR, EMPTY_TRANSFERS, REGIME_COLUMNS, times_ns

SCHEMA = 1
"""Raised whenever a reader of the previous number would misread the folder."""
MANIFEST = "manifest.json"
AGENT = "agent.npz"
FRAMES = (
    "trades",
    "fills",
    "orders",
    "decisions",
    "denials",
    "funding",
    "equity",
    "positions",
    "governor",
    "transfers",
    "ablation",
    "ambiguous",
    "signals",
)
MAX_STORED_BARS = 300_000
"""Beyond this, only the bars around trades are stored: the market data itself is in the store."""
BARS_BEFORE, BARS_AFTER = 60, 30
"""Bars kept around a trade."""


@dataclass(frozen=True)
class RunEntry:
    """One line of the list of runs. A damaged run has `damage` and little else."""

    run_id: str
    path: Path
    started_at: str = ""
    strategy: str = ""
    symbols: tuple[str, ...] = ()
    timeframe: str = ""
    profile: str = ""
    digest: str = ""
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    info: RunInfo | None = None
    damage: str = ""


def check_writable(path: str | Path) -> None:
    """Make the folder if need be and prove that files can be made in it. Errors: QtsimError naming the folder."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".write-test-"):
            pass
    except OSError as error:
        raise QtsimError(
            f"cannot write to the folder {folder}: {error.strerror or error}; "
            "choose another workspace or make it writable"
        ) from error


def save_run(result: Result, runs_dir: Path, *, finish: Callable[[Path], None] | None = None) -> Path:
    """Write the run folder below `runs_dir` and return it; sets `run_id` and `path` of the result.

    `finish` is called with the folder while it is still hidden, to add files such as the report. Nothing remains if
    anything fails or is interrupted. Errors: QtsimError where the folder cannot be written.
    """
    check_writable(runs_dir)
    try:
        with _claimed_folder(runs_dir, _run_name(result)) as (partial, final):
            result.run_id = final.name
            _write_files(result, partial)
            if finish is not None:
                finish(partial)
            _sync_tree(partial)
            os.rename(partial, final)
            sync_folder(runs_dir)
    except BaseException as error:
        result.run_id = ""
        if isinstance(error, OSError):
            raise QtsimError(f"cannot write the run below {runs_dir}: {error.strerror or error}") from error
        raise
    result.path = final
    return final


def load_run(path: str | Path) -> Result:
    """Read a run folder. Errors: DataError naming the file that is missing or damaged."""
    folder = Path(path)
    manifest = verify_run(folder)
    try:
        metrics = decode(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
        frames = _read_frames(folder, manifest)
        held = _read_frame(folder / "buy_and_hold.parquet")["equity"]
        bars = _split_bars(_read_frame(folder / "bars.parquet"))
        return Result(
            info=RunInfo.from_dict(manifest["info"]),
            totals=Totals(**manifest["totals"]),
            metrics=metrics["metrics"],
            bars=bars,
            buy_and_hold=held,
            digest=manifest["digest"],
            ranges=metrics["ranges"],
            optimism=metrics["optimism"],
            ablation_left_out=metrics.get("ablation_left_out", {}),
            verified=manifest["verified"],
            agent=load_agent(folder / AGENT) if AGENT in manifest["files"] else None,
            has_governor=_has_governor(manifest),
            run_id=folder.name,
            path=folder,
            **frames,
        )
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"run folder {folder} is damaged: {error}") from error


def verify_run(folder: Path) -> dict[str, Any]:
    """The manifest of a run whose files are those it wrote. Errors: DataError naming the file that is missing or
    damaged."""
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        _check_file(folder / name, expected)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder. Errors: DataError where it is not one, or one of a newer version."""
    file = folder / MANIFEST
    try:
        manifest = decode(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(f"{folder} is not a run folder: it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"run folder {folder} is damaged: {MANIFEST} cannot be read ({error})") from error
    missing = {"schema", "info", "totals", "digest", "files"} - set(manifest if isinstance(manifest, dict) else ())
    if missing:
        raise DataError(f"run folder {folder} is damaged: {MANIFEST} has no {', '.join(sorted(missing))}")
    if manifest["schema"] > SCHEMA:
        raise DataError(
            f"run folder {folder} was written by a newer version (schema {manifest['schema']}, "
            f"this version reads up to {SCHEMA}); upgrade qtsim to read it"
        )
    checked: dict[str, Any] = manifest
    return checked


def read_ambiguous(folder: Path, manifest: Mapping[str, Any]) -> pd.DataFrame | None:
    """A run's ambiguous bars alone; None for a run of a version that did not list them. Errors: DataError."""
    file = folder / "ambiguous.parquet"
    if file.name not in manifest["files"]:
        return None
    _check_file(file, manifest["files"][file.name])
    return _read_frame(file)


def read_signals(folder: Path, manifest: Mapping[str, Any]) -> pd.DataFrame | None:
    """A run's newest signals alone; None for a run of a version that kept none. Errors: DataError."""
    file = folder / "signals.parquet"
    if file.name not in manifest["files"]:
        return None
    _check_file(file, manifest["files"][file.name])
    return _read_frame(file)


def list_runs(runs_dir: str | Path) -> list[RunEntry]:
    """All runs below a folder, the latest last. Damaged ones are listed as such; nothing is raised."""
    folder = Path(runs_dir)
    if not folder.is_dir():
        return []
    entries = [_entry(path) for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(entries, key=lambda entry: (entry.started_at or entry.run_id, _written_at(entry.path), entry.run_id))


def _written_at(folder: Path) -> int:
    """When a run was written, ns: of two that began in one second the later one comes last. 0 where it is damaged."""
    manifest = folder / MANIFEST
    return manifest.stat().st_mtime_ns if manifest.exists() else 0


def find_run(runs_dir: str | Path, reference: str) -> Path:
    """The folder of a run named by id, unique prefix, path, or "last". Errors: UsageError saying what there is."""
    folder = Path(runs_dir)
    if (as_path := Path(reference)).is_absolute() or os.sep in reference:
        if (as_path / MANIFEST).exists():
            return as_path
        raise UsageError(f"{reference!r} is not a run folder: it has no {MANIFEST}")
    entries = list_runs(folder)
    if not entries:
        raise UsageError(f"there are no runs in {folder} yet; `qtsim backtest` makes one")
    if reference == "last":
        whole = [entry for entry in entries if not entry.damage]
        if not whole:
            raise UsageError(f"every run in {folder} is damaged: {', '.join(entry.run_id for entry in entries)}")
        return whole[-1].path
    matches = [entry for entry in entries if entry.run_id == reference]
    matches = matches or [entry for entry in entries if reference and entry.run_id.startswith(reference)]
    if len(matches) == 1:
        return matches[0].path
    latest = ", ".join(entry.run_id for entry in (matches or entries)[-5:][::-1])
    if matches:
        raise UsageError(f"{reference!r} is the beginning of {len(matches)} runs ({latest}); give more of the id")
    if (as_path / MANIFEST).exists():
        return as_path
    raise UsageError(f"no run {reference!r} in {folder}; the latest are {latest}")


def remove_run(path: Path) -> None:
    """Delete a run folder; it disappears from the list at once. Errors: DataError where it is not a run folder."""
    if not (path / MANIFEST).exists():
        raise DataError(f"{path} is not a run folder: it has no {MANIFEST}")
    hidden = path.with_name(f".{path.name}.removed")
    os.rename(path, hidden)
    shutil.rmtree(hidden)


def stored_bars(result: Result) -> pd.DataFrame:
    """Bars worth keeping with a run, symbols one after another: all of them, or those around trades where that is
    more than `MAX_STORED_BARS`."""
    whole = sum(map(len, result.bars.values())) <= MAX_STORED_BARS
    parts = []
    for symbol, frame in result.bars.items():
        kept = frame if whole else frame[bars_near_trades(result, symbol)]
        part = kept.reset_index(names="time")
        part.insert(0, "symbol", symbol)
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"symbol": [], "time": []})


def bars_near_trades(result: Result, symbol: str) -> np.ndarray:
    """Which bars of a symbol lie around its trades: bool, one per bar."""
    opens = times_ns(pd.DatetimeIndex(result.bars[symbol].index))
    trades = result.trades[result.trades["symbol"] == symbol]
    first = np.searchsorted(opens, times_ns(trades["entry_time"]), side="right") - 1 - BARS_BEFORE
    last = np.searchsorted(opens, times_ns(trades["exit_time"]), side="right") + BARS_AFTER
    edges = np.zeros(opens.size + 1, dtype=np.int64)
    np.add.at(edges, np.clip(first, 0, opens.size), 1)
    np.add.at(edges, np.clip(last, 0, opens.size), -1)
    near: np.ndarray = np.cumsum(edges)[:-1] > 0
    return near


def _run_name(result: Result) -> str:
    """20261121-1430-ema_cross-7f3a: start, strategy, beginning of the digest."""
    try:
        started = datetime.fromisoformat(result.info.started_at).astimezone(UTC)
    except ValueError:
        started = datetime.now(UTC)
    strategy = re.sub(r"[^A-Za-z0-9_]+", "_", Path(result.info.strategy.split(":")[0]).stem).strip("_") or "run"
    return f"{started:%Y%m%d-%H%M}-{strategy[:40]}-{result.digest[:4]}"


@contextlib.contextmanager
def _claimed_folder(runs_dir: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """A hidden folder that no other process writes to, and the free name it will get; removed unless renamed."""
    partial, final = _claim(runs_dir, name)
    try:
        yield partial, final
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _claim(runs_dir: Path, name: str) -> tuple[Path, Path]:
    """Making the hidden folder is the claim: it fails where another run writes under the same name."""
    attempt = 1
    while True:
        final = runs_dir / (name if attempt == 1 else f"{name}-{attempt}")
        partial = runs_dir / f".{final.name}.partial"
        attempt += 1
        try:
            partial.mkdir()
        except FileExistsError:
            continue
        # looked at only after the claim: a run that finished in between has taken the name
        if not final.exists():
            return partial, final
        partial.rmdir()


def _write_files(result: Result, folder: Path) -> None:
    for name in FRAMES:
        _write_frame(getattr(result, name), folder / f"{name}.parquet")
    _write_frame(result.buy_and_hold.rename_axis("time").to_frame("equity"), folder / "buy_and_hold.parquet")
    _write_frame(stored_bars(result), folder / "bars.parquet")
    metrics = {
        "metrics": result.metrics,
        "ranges": result.ranges,
        "optimism": result.optimism,
        "ablation_left_out": result.ablation_left_out,
    }
    _write_json(metrics, folder / "metrics.json")
    _write_json(result.info.settings, folder / "settings.json")
    if result.agent is not None:
        result.agent.save(folder / AGENT)
    manifest = {
        "schema": SCHEMA,
        "run_id": result.run_id,
        "digest": result.digest,
        "verified": result.verified,
        "info": result.info.to_dict(),
        "totals": dataclasses.asdict(result.totals),
        "files": {file.name: _file_digest(file) for file in sorted(folder.iterdir())},
    }
    _write_json(manifest, folder / MANIFEST)


def _write_frame(frame: pd.DataFrame, file: Path) -> None:
    pq.write_table(pa.Table.from_pandas(frame), file, compression="zstd")


def _read_frame(file: Path) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(file).to_pandas()
    if isinstance(frame.index, pd.DatetimeIndex):
        frame.index = frame.index.as_unit("ns")
    return frame


def _has_governor(manifest: Mapping[str, Any]) -> bool:
    """Whether the folder is of a version that had gates and governor."""
    return "governor.parquet" in manifest["files"]


def _read_frames(folder: Path, manifest: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Every frame by its name; what a folder of an older version lacks is empty, or was the same as something else."""
    frames = {
        name: _read_frame(folder / f"{name}.parquet") for name in FRAMES if f"{name}.parquet" in manifest["files"]
    }
    if "governor" not in frames:
        frames["trades"] = (
            frames["trades"].assign(**dict.fromkeys(REGIME_COLUMNS, "")).astype(dict.fromkeys(REGIME_COLUMNS, "str"))
        )
        frames["governor"] = EMPTY_GOVERNOR.copy()
    if "transfers" not in frames:
        frames["transfers"] = EMPTY_TRANSFERS.copy()
        frames["equity"]["growth"] = frames["equity"]["equity"]
    frames.setdefault("ablation", EMPTY_ABLATION.copy())
    frames.setdefault("ambiguous", EMPTY_AMBIGUOUS.copy())
    frames.setdefault("signals", EMPTY_SIGNALS.copy())
    return frames


def _split_bars(bars: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Inverse of `stored_bars`."""
    return {
        str(symbol): part.drop(columns="symbol").set_index("time").dropna(axis="columns", how="all")
        for symbol, part in bars.groupby("symbol", sort=False)
    }


def _entry(path: Path) -> RunEntry:
    try:
        manifest = read_manifest(path)
        info = RunInfo.from_dict(manifest["info"])
        metrics = decode(json.loads((path / "metrics.json").read_text(encoding="utf-8")))["metrics"]
    except (QtsimError, OSError, ValueError, KeyError, TypeError) as error:
        return RunEntry(path.name, path, damage=str(error))
    return RunEntry(
        run_id=path.name,
        path=path,
        started_at=info.started_at,
        strategy=info.strategy,
        symbols=tuple(info.symbols),
        timeframe=info.timeframe,
        profile=info.profile,
        digest=manifest["digest"],
        metrics=metrics,
        info=info,
    )


def _check_file(file: Path, expected: str) -> None:
    try:
        found = _file_digest(file)
    except OSError as error:
        raise DataError(
            f"run folder {file.parent} is damaged: {file.name} cannot be read ({error.strerror})"
        ) from error
    if found != expected:
        raise DataError(f"run folder {file.parent} is damaged: {file.name} is not what the run wrote")


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_json(value: Any, file: Path) -> None:
    file.write_text(json.dumps(encode(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _sync_tree(folder: Path) -> None:
    for file in folder.iterdir():
        sync_file(file)
    sync_folder(folder)
