"""Agents on disk: what is saved comes back, without pickle; what is damaged, foreign or newer is a clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qtsim.core.records import Records, agent_dt
from qtsim.errors import DataError
from qtsim.results.agents import VERSION, agent_digest, load_agent, save_agent, training_draws

SETTINGS: dict[str, Any] = {"sizing.rl.alpha": 0.15, "limits.exposure.gross": float("inf")}


def trained() -> Records:
    rng = np.random.default_rng(5)
    agent = np.zeros(1, agent_dt)
    agent["q"] = rng.normal(size=agent["q"].shape)
    agent["visits"] = rng.integers(0, 99, agent["visits"].shape)
    agent["decisions"], agent["learns"], agent["forgotten"] = 77, 1, 3
    return agent


def rewritten(file: Path, change: dict[str, Any], drop: tuple[str, ...] = ()) -> Path:
    """The file with other arrays, or another manifest."""
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if name not in drop}
    for name, value in change.items():
        if name == "manifest":
            manifest = {**json.loads(arrays["manifest"].tobytes()), **value}
            value = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
        arrays[name] = value
    np.savez(file, **arrays)
    return file


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    agent = trained()
    file = save_agent(agent, tmp_path / "new" / "agent.npz", seed=9, settings=SETTINGS)
    saved = load_agent(file)
    for name in ("q", "visits", "decisions"):
        assert saved.record[name].tobytes() == agent[name].tobytes()
    assert (saved.seed, saved.settings, saved.digest) == (9, SETTINGS, agent_digest(agent))
    assert saved.record["learns"][0] == 0, "an agent from a file is evaluated"
    assert [path.name for path in file.parent.iterdir()] == ["agent.npz"], "no temporary file stays"


def test_the_same_agent_is_the_same_bytes(tmp_path: Path) -> None:
    first, second = (save_agent(trained(), tmp_path / name, seed=1, settings=SETTINGS) for name in ("a.npz", "b.npz"))
    assert first.read_bytes() == second.read_bytes()


def test_a_failed_write_leaves_the_old_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save_agent(trained(), tmp_path / "agent.npz", seed=1, settings={})
    before = file.read_bytes()

    def full(*args: Any, **arrays: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match="No space left on device"):
        save_agent(trained(), file, seed=2, settings={})
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("change", "drop", "message"),
    [
        ({"manifest": {"version": VERSION + 1}}, (), "newer version"),
        ({"manifest": {"kind": "weights"}}, (), "is no agent: its manifest is of something else"),
        ({"manifest": {"digest": "0"}}, (), "its tables are not those that were saved"),
        ({"decisions": np.int64(5)}, (), "its tables are not those that were saved"),
        ({"q": np.zeros((20, 4))}, (), "q is not a table of 108 states, 48 actions"),
        ({"visits": np.zeros((108, 48))}, (), "visits is not a table"),
        ({}, ("visits",), "visits is not a table"),
        ({}, ("manifest",), "it has no manifest"),
    ],
)
def test_a_file_that_is_not_what_was_saved(
    tmp_path: Path, change: dict[str, Any], drop: tuple[str, ...], message: str
) -> None:
    file = save_agent(trained(), tmp_path / "agent.npz", seed=1, settings={})
    with pytest.raises(DataError, match=message):
        load_agent(rewritten(file, change, drop))


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    file = save_agent(trained(), tmp_path / "agent.npz", seed=1, settings={})
    whole = file.read_bytes()
    for damaged in (b"", b"not an archive", whole[: len(whole) // 2], whole[:40_000] + b"?" + whole[40_001:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"agent\.npz is damaged"):
            load_agent(file)
    with pytest.raises(DataError, match="there is no agent"):
        load_agent(tmp_path / "none.npz")


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    file = save_agent(trained(), tmp_path / "agent.npz", seed=1, settings={})
    with pytest.raises(DataError, match="damaged or none"):
        load_agent(rewritten(file, {"q": np.array([{}], dtype=object)}))


def test_draws_belong_to_the_decisions_number() -> None:
    assert (training_draws(4, 10) == training_draws(4, 100)[:10]).all()
    assert (training_draws(4, 10) != training_draws(5, 10)).any()
