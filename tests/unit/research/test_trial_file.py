"""Finished trials survive what happens to the process that makes them."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from qtsim.core.records import Records
from qtsim.errors import DataError, QtsimError, UsageError
from qtsim.research.trials import HEADER, TrialFile, done_of, open_trials, read_trials, sealed, trial_dt

OWNER = bytes(range(32))


def rows_of(*cells: int) -> Records:
    rows = np.zeros(len(cells), trial_dt)
    rows["cell"], rows["symbol"] = cells, -1
    rows["measures"]["sharpe"] = np.asarray(cells) / 10.0
    return sealed(rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trials.rows"


def test_rows_come_back_by_cell_each_once(file: Path) -> None:
    with open_trials(file, OWNER) as trials:
        trials.append(rows_of(3, 1))
        trials.append(rows_of(2, 3))
        trials.flush()
        assert trials.rows()["cell"].tolist() == [1, 2, 3]
    assert read_trials(file)["measures"]["sharpe"].tolist() == [0.1, 0.2, 0.3]
    assert done_of(read_trials(file)) == {(1, -1), (2, -1), (3, -1)}


def test_a_torn_row_is_cut_off_and_the_file_goes_on(file: Path) -> None:
    with open_trials(file, OWNER) as trials:
        trials.append(rows_of(1, 2))
    with file.open("ab") as stream:
        stream.write(rows_of(9).tobytes()[:-5])
    assert read_trials(file)["cell"].tolist() == [1, 2]
    with open_trials(file, OWNER) as trials:
        trials.append(rows_of(3))
    assert read_trials(file)["cell"].tolist() == [1, 2, 3]
    assert file.stat().st_size == HEADER + 3 * trial_dt.itemsize


def test_a_damaged_row_ends_what_is_believed(file: Path) -> None:
    with open_trials(file, OWNER) as trials:
        trials.append(rows_of(1, 2, 3))
    data = bytearray(file.read_bytes())
    data[HEADER + trial_dt.itemsize + 100] ^= 1
    file.write_bytes(data)
    assert read_trials(file)["cell"].tolist() == [1]


def test_rows_of_another_sweep_are_not_mixed_in(file: Path) -> None:
    with open_trials(file, OWNER) as trials:
        trials.append(rows_of(1))
    with pytest.raises(DataError, match="another sweep"):
        TrialFile(file, bytes(32))


def test_what_is_no_file_of_trials_is_refused(file: Path) -> None:
    file.write_bytes(b"x" * 500)
    with pytest.raises(DataError, match="no file of trials"):
        read_trials(file)


def test_two_processes_do_not_write_one_sweep(file: Path) -> None:
    with open_trials(file, OWNER), pytest.raises(UsageError, match="another process"):
        TrialFile(file, OWNER)


def test_a_full_disk_is_told_and_tears_nothing(file: Path) -> None:
    def fill() -> str:
        """In a process of its own, which may write three rows and a half."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER + int(3.5 * trial_dt.itemsize),) * 2)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with open_trials(file, OWNER) as trials:
            trials.append(rows_of(1, 2))
            try:
                trials.append(rows_of(3, 4))
            except QtsimError as error:
                return str(error)
        return "nothing happened"

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, fill().encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reading, 10_000).decode()
    os.close(reading)
    os.close(writing)
    assert str(file) in said
    assert "make room" in said
    assert read_trials(file)["cell"].tolist() == [1, 2]
    with open_trials(file, OWNER) as trials:
        trials.append(rows_of(3, 4))
    assert read_trials(file)["cell"].tolist() == [1, 2, 3, 4]
