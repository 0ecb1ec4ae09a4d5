"""One writer per session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qtsim.errors import UsageError
from qtsim.live.lock import is_locked, take_lock


def test_a_second_program_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "s", "main")
    assert is_locked(tmp_path / "s")
    with pytest.raises(UsageError, match=rf"session main is running already \(.*:{os.getpid()}\)"):
        take_lock(tmp_path / "s", "main")
    lock.release()
    assert not is_locked(tmp_path / "s")
    take_lock(tmp_path / "s", "main").release()


def test_sessions_do_not_hinder_each_other(tmp_path: Path) -> None:
    locks = [take_lock(tmp_path / name, name) for name in ("one", "two")]
    assert not is_locked(tmp_path / "three")
    for lock in locks:
        lock.release()
