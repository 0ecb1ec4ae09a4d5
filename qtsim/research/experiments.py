"""The experiment store: what has been tried, and how often, on which data.

One SQLite file per workspace. Runs and sweeps lie in folders of their own; here is what is known of all of them, what
people note beside them, and the number of trials, which only grows: a removed run was a trial all the same.

A data set is the symbols and the timeframe, whatever the period: another cut of the same market is no fresh one. A
strategy family is the strategy's name, whatever its parameters and its code.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtsim.errors import DataError, QtsimError
from qtsim.results.plain_json import decode, encode

FILE = "experiments.sqlite"
RUN, SWEEP = "run", "sweep"
MIGRATIONS = (
    """
    CREATE TABLE entries (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, started_at TEXT NOT NULL, strategy TEXT NOT NULL,
        symbols TEXT NOT NULL, timeframe TEXT NOT NULL, profile TEXT NOT NULL, data_set TEXT NOT NULL,
        digest TEXT NOT NULL, settings TEXT NOT NULL, passport TEXT NOT NULL, metrics TEXT NOT NULL,
        removed INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE trials (
        source TEXT PRIMARY KEY, data_set TEXT NOT NULL, family TEXT NOT NULL, made INTEGER NOT NULL,
        different INTEGER NOT NULL, sharpe_sum REAL NOT NULL, sharpe_squares REAL NOT NULL
    );
    CREATE INDEX trials_by_subject ON trials (data_set, family);
    """,
    """
    CREATE TABLE notes (id TEXT PRIMARY KEY, note TEXT NOT NULL);
    CREATE TABLE tags (id TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (id, tag));
    CREATE TABLE openings (
        sweep TEXT NOT NULL, opened_at TEXT NOT NULL, period TEXT NOT NULL, trial TEXT NOT NULL, metrics TEXT NOT NULL
    );
    """,
)
"""Each brings a store of the schema before it to the next; the last one's number is that of this version."""
SCHEMA = len(MIGRATIONS)


@dataclass(frozen=True)
class Entry:
    """A run or a sweep as the store knows it."""

    id: str
    kind: str
    started_at: str
    strategy: str
    symbols: tuple[str, ...]
    timeframe: str
    profile: str
    data_set: str
    digest: str
    settings: Mapping[str, Any]
    passport: Mapping[str, Any]
    metrics: Mapping[str, float]
    note: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialCount:
    """How many trials were made of one strategy family on one data set, and how their Sharpe ratios spread."""

    made: int = 0
    different: int = 0  # by what they decided and filled
    sharpe_sum: float = 0.0
    sharpe_squares: float = 0.0

    @property
    def sharpe_variance(self) -> float:
        """Variance of the annualised Sharpe ratios of the different trials; 0 with fewer than two."""
        if self.different < 2:
            return 0.0
        mean = self.sharpe_sum / self.different
        return max(0.0, (self.sharpe_squares - self.different * mean * mean) / (self.different - 1))

    def beside(self, other: TrialCount) -> TrialCount:
        """Both together."""
        return TrialCount(
            self.made + other.made,
            self.different + other.different,
            self.sharpe_sum + other.sharpe_sum,
            self.sharpe_squares + other.sharpe_squares,
        )

    def without(self, other: TrialCount) -> TrialCount:
        """What is left without the trials of one source."""
        return TrialCount(
            self.made - other.made,
            self.different - other.different,
            self.sharpe_sum - other.sharpe_sum,
            self.sharpe_squares - other.sharpe_squares,
        )


def data_set_of(symbols: Sequence[str], timeframe: str, *, synthetic: bool) -> str:
    """`BTCUSDT,ETHUSDT 1h`, and `SYNTHETIC` where the market was generated."""
    return f"{','.join(sorted(symbols))} {timeframe}{' SYNTHETIC' if synthetic else ''}"


def count_of(made: int, sharpes: Sequence[float]) -> TrialCount:
    """The count of trials of which the different ones have these Sharpe ratios; an unknown one counts as 0."""
    known = [0.0 if math.isnan(x) else x for x in sharpes]
    return TrialCount(made, len(known), math.fsum(known), math.fsum(x * x for x in known))


class Experiments:
    """The store of one workspace. Every change is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.OperationalError) as error:
            raise QtsimError(f"cannot use the experiment store {path}: {error}") from error
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        with self._explained():
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version > SCHEMA:
                raise DataError(
                    f"{self.path} was written by a newer version (schema {version}, this version reads up to "
                    f"{SCHEMA}); upgrade qtsim to use this workspace"
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            if version < SCHEMA:
                self._migrate()

    def _migrate(self) -> None:
        with self._transaction():
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])  # another process may have been faster
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    if statement.strip():
                        self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """What SQLite complains of, in words."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise QtsimError(f"cannot use the experiment store {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"the experiment store {self.path} is damaged ({error}); move it away and a new one begins, runs stay"
            ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- runs and sweeps ---------------------------------------------------------------------------------------------

    def record(self, entry: Entry) -> None:
        """Add a run or sweep, or replace what was known of it; its note and tags stay."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO entries (id, kind, started_at, strategy, symbols, timeframe, profile, data_set, digest, "
                "settings, passport, metrics) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, metrics = excluded.metrics, "
                "settings = excluded.settings, passport = excluded.passport, removed = 0",
                (
                    entry.id,
                    entry.kind,
                    entry.started_at,
                    entry.strategy,
                    json.dumps(list(entry.symbols)),
                    entry.timeframe,
                    entry.profile,
                    entry.data_set,
                    entry.digest,
                    json.dumps(encode(dict(entry.settings))),
                    json.dumps(encode(dict(entry.passport))),
                    json.dumps(encode(dict(entry.metrics))),
                ),
            )

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Everything that has not been removed, the latest last."""
        with self._explained():
            rows = self._db.execute(
                "SELECT e.id, kind, started_at, strategy, symbols, timeframe, profile, data_set, digest, settings, "
                "passport, metrics, coalesce(note, '') FROM entries e LEFT JOIN notes n ON n.id = e.id "
                "WHERE removed = 0 AND (? IS NULL OR kind = ?) ORDER BY started_at, e.id",
                (kind, kind),
            ).fetchall()
            tags: dict[str, list[str]] = {}
            for name, tag in self._db.execute("SELECT id, tag FROM tags ORDER BY id, tag"):
                tags.setdefault(name, []).append(tag)
        return [
            Entry(
                id=row[0],
                kind=row[1],
                started_at=row[2],
                strategy=row[3],
                symbols=tuple(json.loads(row[4])),
                timeframe=row[5],
                profile=row[6],
                data_set=row[7],
                digest=row[8],
                settings=decode(json.loads(row[9])),
                passport=decode(json.loads(row[10])),
                metrics=decode(json.loads(row[11])),
                note=row[12],
                tags=tuple(tags.get(row[0], ())),
            )
            for row in rows
        ]

    def remove(self, name: str) -> None:
        """Forget a run or sweep; its trials stay counted."""
        with self._transaction():
            self._db.execute("UPDATE entries SET removed = 1 WHERE id = ?", (name,))

    # --- notes and tags ----------------------------------------------------------------------------------------------

    def note(self, name: str, text: str) -> None:
        """Set the note of a run or sweep; an empty text removes it."""
        with self._transaction():
            self._db.execute("DELETE FROM notes WHERE id = ?", (name,))
            if text:
                self._db.execute("INSERT INTO notes VALUES (?, ?)", (name, text))

    def tag(self, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Add and remove tags of a run or sweep."""
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", [(name, tag) for tag in add])
            self._db.executemany("DELETE FROM tags WHERE id = ? AND tag = ?", [(name, tag) for tag in remove])

    def remarks(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Name → note and tags, of everything that has any."""
        with self._explained():
            found: dict[str, tuple[str, tuple[str, ...]]] = {
                name: (text, ()) for name, text in self._db.execute("SELECT id, note FROM notes")
            }
            for name, tag in self._db.execute("SELECT id, tag FROM tags ORDER BY id, tag"):
                text, tags = found.get(name, ("", ()))
                found[name] = (text, (*tags, tag))
        return found

    # --- trials ------------------------------------------------------------------------------------------------------

    def count(self, source: str, data_set: str, family: str, trials: TrialCount) -> None:
        """Set how many trials a source (a run by its digest, a sweep) has made; it never makes fewer."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET made = "
                "excluded.made, different = excluded.different, sharpe_sum = excluded.sharpe_sum, "
                "sharpe_squares = excluded.sharpe_squares WHERE excluded.made >= made",
                (
                    source,
                    data_set,
                    family,
                    trials.made,
                    trials.different,
                    trials.sharpe_sum,
                    trials.sharpe_squares,
                ),
            )

    def trials(self, data_set: str, family: str, source: str | None = None) -> TrialCount:
        """All trials of a family on a data set, or those of one source."""
        with self._explained():
            row = self._db.execute(
                "SELECT coalesce(sum(made), 0), coalesce(sum(different), 0), coalesce(sum(sharpe_sum), 0.0), "
                "coalesce(sum(sharpe_squares), 0.0) FROM trials WHERE data_set = ? AND family = ? "
                "AND (? IS NULL OR source = ?)",
                (data_set, family, source, source),
            ).fetchone()
        return TrialCount(int(row[0]), int(row[1]), float(row[2]), float(row[3]))

    # --- openings of a holdout ---------------------------------------------------------------------------------------

    def log_opening(self, sweep: str, opened_at: str, period: str, trial: str, metrics: Mapping[str, float]) -> int:
        """Log that a holdout was looked at. Returns how often that has happened."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO openings VALUES (?, ?, ?, ?, ?)",
                (sweep, opened_at, period, trial, json.dumps(encode(dict(metrics)))),
            )
        return len(self.openings(sweep))

    def openings(self, sweep: str) -> list[dict[str, Any]]:
        """Every time that a sweep's holdout was looked at, in order."""
        with self._explained():
            rows = self._db.execute(
                "SELECT opened_at, period, trial, metrics FROM openings WHERE sweep = ? ORDER BY rowid", (sweep,)
            ).fetchall()
        return [
            {"opened_at": row[0], "period": row[1], "trial": row[2], "metrics": decode(json.loads(row[3]))}
            for row in rows
        ]


@contextlib.contextmanager
def open_experiments(root: Path) -> Iterator[Experiments]:
    """The store of the workspace at `root`, made on first use. Errors: DataError, QtsimError."""
    store = Experiments(root / FILE)
    try:
        yield store
    finally:
        store.close()
