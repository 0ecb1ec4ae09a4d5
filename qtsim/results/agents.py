"""The agent of sizing model rl as a file: one .npz without pickle that carries its own manifest.

    q.npy visits.npy decisions.npy    the tables, and how many decisions were made
    manifest.npy                      JSON as bytes: version, seed, settings, digest of the tables

One file, so that tables and manifest cannot come apart; it is written under another name, flushed and renamed.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.core.params import RL_ACTIONS, RL_STATES
from qtsim.core.records import Records, agent_dt
from qtsim.data.atomic import not_allowed, write_atomically
from qtsim.errors import DataError
from qtsim.results.plain_json import decode, encode

VERSION = 1
"""Raised whenever states, actions or the file change their meaning."""
TABLES = ("q", "visits", "decisions")


@dataclass(frozen=True)
class Agent:
    """What sizing model rl has learnt, and how: `record` is agent_dt[1], `seed` and `settings` (path → value) are
    those of its training."""

    record: Records
    seed: int
    settings: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256, hex, of what it has learnt."""
        return agent_digest(self.record)

    def save(self, path: str | Path) -> Path:
        """Write the agent to one file and return it. Errors: DataError where it cannot be written."""
        return save_agent(self.record, path, seed=self.seed, settings=self.settings)


def agent_digest(agent: Records) -> str:
    """SHA-256, hex, of what an agent has learnt."""
    digest = hashlib.sha256()
    for name in TABLES:
        digest.update(np.ascontiguousarray(agent[name]).tobytes())
    return digest.hexdigest()


def training_draws(seed: int, decisions: int) -> np.ndarray:
    """Uniforms in [0, 1), two for each of `decisions`: the row of a number is the same however many there are."""
    return np.random.default_rng(seed).random((decisions, 2))


def save_agent(agent: Records, path: str | Path, *, seed: int, settings: Mapping[str, Any]) -> Path:
    """Write an agent (agent_dt[1]) and return its file. Errors: DataError where it cannot be written."""
    file = Path(path)
    manifest = {
        "kind": "qtsim agent",
        "version": VERSION,
        "seed": seed,
        "settings": encode(settings),
        "digest": agent_digest(agent),
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    arrays = {name: agent[name][0] for name in TABLES}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, manifest=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)

    write_atomically(file, write)
    return file


def load_agent(path: str | Path) -> Agent:
    """Read an agent. Errors: DataError naming the file that is missing, damaged, no agent, or of a newer version."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            arrays = _arrays(np.load(stream, allow_pickle=False))
    except FileNotFoundError:
        raise DataError(f"there is no agent {file}; a backtest with sizing.model rl writes one") from None
    except PermissionError as error:
        raise not_allowed(file) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"agent {file} is damaged or none: {error}") from error
    manifest = _manifest(file, arrays)
    agent = np.zeros(1, agent_dt)
    for name in TABLES:
        wanted = agent[name][0]
        found = arrays.get(name)
        if found is None or found.shape != np.shape(wanted) or found.dtype != agent[name].dtype:
            raise DataError(
                f"agent {file} is damaged: {name} is not a table of {RL_STATES} states, {RL_ACTIONS} actions"
            )
        agent[name][0] = found
    if agent_digest(agent) != manifest["digest"]:
        raise DataError(f"agent {file} is damaged: its tables are not those that were saved")
    if not np.isfinite(agent["q"]).all():
        raise DataError(f"agent {file} is damaged: it has values that are not numbers")
    return Agent(agent, int(manifest["seed"]), decode(manifest["settings"]))


def _arrays(stored: Any) -> dict[str, np.ndarray]:
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("it is a single array")
    return {name: stored[name] for name in stored.files}


def _manifest(file: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        manifest = json.loads(arrays["manifest"].tobytes())
    except (KeyError, ValueError) as error:
        raise DataError(f"{file} is no agent: it has no manifest") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != "qtsim agent":
        raise DataError(f"{file} is no agent: its manifest is of something else")
    missing = {"version", "seed", "settings", "digest"} - set(manifest)
    if missing:
        raise DataError(f"agent {file} is damaged: its manifest has no {', '.join(sorted(missing))}")
    if manifest["version"] > VERSION:
        raise DataError(
            f"agent {file} was written by a newer version (version {manifest['version']}, this one reads up to "
            f"{VERSION}); upgrade qtsim to read it"
        )
    return manifest
