"""A search that is guided by what it has found: Optuna proposes cells of the grid, in a journal that survives.

Cells are proposed by the place of each value, so that neighbours, copies and heat maps are those of any other search.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.errors import DataError, QtsimError
from qtsim.research.space import CHOICE, Space

JOURNAL = "optuna.journal"
STUDY = "sweep"


class CellStudy:
    """Asks Optuna for cells, and tells it how good they were. A larger value is better.

    journal: a file that the study is kept in, and goes on from; None: in memory. Errors: QtsimError without Optuna,
    DataError for a journal that is none.
    """

    def __init__(self, space: Space, seed: int, journal: Path | None = None) -> None:
        try:
            self._optuna = importlib.import_module("optuna")
        except ImportError as error:
            raise QtsimError('--optuna needs Optuna: pip install "qtsim[sweep]"') from error
        self._space = space
        with self._quiet():
            sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True)
            self._study = self._optuna.create_study(
                storage=None if journal is None else self._storage(journal),
                study_name=STUDY,
                sampler=sampler,
                direction="maximize",
                load_if_exists=True,
            )

    def _storage(self, journal: Path) -> Any:
        storages = importlib.import_module("optuna.storages")
        journals = importlib.import_module("optuna.storages.journal")
        try:
            return storages.JournalStorage(journals.JournalFileBackend(str(journal)))
        except (OSError, ValueError) as error:
            raise DataError(f"{journal} cannot be read ({error}); remove it to search anew") from error

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Without Optuna's own words."""
        logging = self._optuna.logging
        before = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.set_verbosity(before)

    @property
    def finished(self) -> int:
        """Proposals that have been answered."""
        return sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))

    def unanswered(self) -> list[tuple[int, int]]:
        """(number, cell) of proposals that a process left behind."""
        return [
            (trial.number, self._cell([trial.params[axis.path] for axis in self._space.axes]))
            for trial in self._study.get_trials(deepcopy=False)
            if not trial.state.is_finished() and len(trial.params) == len(self._space.axes)
        ]

    def ask(self, count: int) -> list[tuple[int, int]]:
        """(number, cell) of so many new proposals."""
        found = []
        with self._quiet():
            for _ in range(count):
                trial = self._study.ask()
                places = [self._propose(trial, k) for k in range(len(self._space.axes))]
                found.append((trial.number, self._cell(places)))
        return found

    def tell(self, number: int, value: float | None) -> None:
        """Answer a proposal; None: it is not allowed, or has no value."""
        state = self._optuna.trial.TrialState
        with self._quiet():
            if value is None or not np.isfinite(value):
                self._study.tell(number, state=state.FAIL)
            else:
                self._study.tell(number, value)

    def _propose(self, trial: Any, axis: int) -> int:
        """The place of a value; an axis without an order has no near places."""
        one = self._space.axes[axis]
        if one.scale == CHOICE:
            return int(trial.suggest_categorical(one.path, list(range(len(one.values)))))
        return int(trial.suggest_int(one.path, 0, len(one.values) - 1))

    def _cell(self, places: list[int]) -> int:
        return int(self._space.cells(np.array([places], dtype=np.int64))[0])
