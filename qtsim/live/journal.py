"""The journal of a session: SQLite, written ahead, synchronous to the disk, append-only.

An intent is committed before its request leaves; fills are kept by the exchange's trade id, so that none is booked
twice. Every row carries a checksum. A file that is torn is put aside and named; one of a newer version is refused.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from qtsim.data.atomic import write_atomically
from qtsim.errors import DataError, UsageError

SCHEMA_VERSION = 1
"""Of the tables below; a journal of a higher one is not opened."""

_TABLES: dict[str, tuple[str, str]] = {
    # columns; constraint
    "lease": ("epoch INTEGER PRIMARY KEY, ts INTEGER, holder TEXT", ""),
    "intents": (
        "number INTEGER PRIMARY KEY, epoch INTEGER, ts INTEGER, client_id TEXT UNIQUE, module TEXT, kind TEXT, "
        "symbol TEXT, slot INTEGER, trade_id INTEGER, reason INTEGER, lots INTEGER, request TEXT, context TEXT",
        "",
    ),
    "events": ("seq INTEGER PRIMARY KEY, ts INTEGER, kind TEXT, ref TEXT, body TEXT", "UNIQUE (kind, ref)"),
    "fills": (
        "seq INTEGER PRIMARY KEY, symbol TEXT, exchange_id INTEGER, ts INTEGER, client_id TEXT, order_id INTEGER, "
        "side TEXT, position_side TEXT, qty TEXT, price TEXT, fee TEXT, fee_asset TEXT, realized TEXT, maker INTEGER",
        "UNIQUE (symbol, exchange_id)",
    ),
    "ledger": (
        "seq INTEGER PRIMARY KEY, ref TEXT, kind TEXT, ts INTEGER, symbol TEXT, amount TEXT, asset TEXT",
        "UNIQUE (kind, ref)",
    ),
    "inputs": ("seq INTEGER PRIMARY KEY, epoch INTEGER, kind TEXT, body BLOB", ""),
    "decisions": ("seq INTEGER PRIMARY KEY, epoch INTEGER, input INTEGER, kind TEXT, body BLOB", ""),
    "states": ("seq INTEGER PRIMARY KEY, epoch INTEGER, input INTEGER, name TEXT, layout TEXT, body BLOB", ""),
}
TABLES = tuple(_TABLES)
CHECKED = ("lease", "intents", "fills", "ledger", "states")
"""Tables whose checksums are compared when a journal is opened: what a session is recovered from."""


EPOCH_FILE = "epoch"
ROWS_BETWEEN_CHECKPOINTS = 500
PAGES_MAX = 10_000
"""Of the write-ahead log, 40 MB: from there on SQLite moves them itself, with whatever is committed next."""


class JournalDamagedError(DataError):
    """The journal cannot be trusted; the message names the file and where it was put."""


class JournalFullError(DataError):
    """The journal cannot be written: the disk is full, read-only or failing."""


@dataclass(frozen=True)
class Intent:
    """A request that is about to leave, as it was committed."""

    number: int
    epoch: int
    ts: int
    client_id: str
    module: str
    kind: str
    symbol: str
    slot: int
    trade_id: int
    reason: int
    lots: int
    request: dict[str, Any]
    context: dict[str, Any]


class Journal:
    """One session's file. Only one process writes it, which the lease holds."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use `open_journal`."""
        self.path = path
        self._db = connection
        self._next = {table: self._last(table) + 1 for table in ("intents", "inputs")}
        self.epoch = self._last("lease")
        self.failure: JournalFullError | None = None  # the first of what has happened that could not be written
        self._unwritten: set[tuple[str, ...]] = set()
        self._moved = connection.total_changes  # rows written before the last checkpoint

    # writing ---------------------------------------------------------------------------------------------------------

    def take_lease(self, ts: int, holder: str) -> int:
        """Begin the next epoch. Returns it.

        The number is kept beside the journal too: where that is lost, client ids are not used a second time.
        """
        kept = self.path.with_name(EPOCH_FILE)
        self.epoch = max(self.epoch, _number_in(kept)) + 1
        write_atomically(kept, lambda path: path.write_text(str(self.epoch), encoding="utf-8"))
        self._insert("lease", {"epoch": self.epoch, "ts": ts, "holder": holder})
        self.commit()
        return self.epoch

    @property
    def next_intent(self) -> int:
        """The number of the intent that comes next."""
        return self._next["intents"]

    def skip_intent(self) -> None:
        """A number was used by an order that left without the disk; it is not used again."""
        self._next["intents"] += 1

    def intend(self, intent: Intent) -> None:
        """Write an intent and wait until it is on the disk. Raises JournalFullError where it is not."""
        self.write_intent(intent)
        self.commit()

    def write_intent(self, intent: Intent) -> None:
        """Write an intent; its request may leave after the next commit. Raises JournalFullError."""
        self._insert(
            "intents",
            {
                **{name: getattr(intent, name) for name in Intent.__dataclass_fields__},
                "request": _text(intent.request),
                "context": _text(intent.context),
            },
        )
        self._next["intents"] = intent.number + 1

    def event(self, ts: int, kind: str, ref: str, body: Mapping[str, Any]) -> bool:
        """Write what happened; False where this kind and reference are known already. The next commit commits it."""
        row = {"ts": ts, "kind": kind, "ref": ref, "body": _text(body)}
        return self._happened("events", (kind, ref), row)

    def fill(self, row: Mapping[str, Any]) -> bool:
        """Write an execution of the exchange; False where its trade id is known already."""
        return self._happened("fills", (str(row["symbol"]), str(row["exchange_id"])), row)

    def book(self, ts: int, kind: str, ref: str, symbol: str, amount: str, asset: str) -> bool:
        """Write a payment of the ledger; False where it is known already."""
        row = {"ref": ref, "kind": kind, "ts": ts, "symbol": symbol, "amount": amount, "asset": asset}
        return self._happened("ledger", (kind, ref), row)

    def _happened(self, table: str, key: tuple[str, ...], row: Mapping[str, Any]) -> bool:
        """Write what has happened at the exchange: it goes on being true where the disk does not take it."""
        try:
            return self._insert(table, row, once=True)
        except JournalFullError as error:
            self.failure = self.failure or error
            is_news = (table, *key) not in self._unwritten
            self._unwritten.add((table, *key))
            return is_news

    def input(self, kind: str, body: bytes) -> int:
        """Write what the session is about to be told. Returns its number. Committed with the next commit."""
        seq = self._next["inputs"]
        self._insert("inputs", {"seq": seq, "epoch": self.epoch, "kind": kind, "body": body})
        self._next["inputs"] = seq + 1
        return seq

    def decision(self, at: int, kind: str, body: bytes) -> None:
        """Write what the session decided on an input. Committed with the next commit."""
        self._insert("decisions", {"epoch": self.epoch, "input": at, "kind": kind, "body": body})

    def state(self, at: int, name: str, layout: str, body: bytes) -> None:
        """Write the bytes of a record as they are after an input. Committed with the next commit."""
        self._insert("states", {"epoch": self.epoch, "input": at, "name": name, "layout": layout, "body": body})

    def commit(self) -> None:
        """Wait until everything written so far is on the disk. Raises JournalFullError."""
        try:
            self._db.commit()
        except sqlite3.Error as error:
            raise self._full(error) from error

    def checkpoint(self) -> None:
        """Move what was written since the last time into the file itself, where it is much: no order waits for that."""
        if self._db.total_changes - self._moved < ROWS_BETWEEN_CHECKPOINTS:
            return
        self._moved = self._db.total_changes
        with contextlib.suppress(sqlite3.Error):  # it is on the disk either way
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """Commit and close."""
        self.commit()
        self._db.close()

    # reading ---------------------------------------------------------------------------------------------------------

    def intents(self) -> list[Intent]:
        """Every intent, in order."""
        rows = self._rows("intents", tuple(Intent.__dataclass_fields__))
        return [_intent_of(row) for row in rows]

    def intent_of(self, client_id: str) -> Intent | None:
        """The intent of a client id."""
        names = tuple(Intent.__dataclass_fields__)
        row = self._db.execute(
            f"SELECT {', '.join(names)} FROM intents WHERE client_id = ?",
            (client_id,),
        ).fetchone()
        return None if row is None else _intent_of(row)

    def events(self, kind: str | None = None) -> list[tuple[int, str, str, dict[str, Any]]]:
        """(ts, kind, ref, body) of every event, or of those of a kind."""
        rows = self._rows("events", ("ts", "kind", "ref", "body"))
        return [(ts, own, ref, json.loads(body)) for ts, own, ref, body in rows if kind in (None, own)]

    def fills(self) -> list[dict[str, Any]]:
        """Every execution, in the order it was written."""
        return self._dicts("fills")

    def ledger(self) -> list[dict[str, Any]]:
        """Every payment."""
        return self._dicts("ledger")

    def inputs(self, epoch: int) -> Iterator[tuple[int, str, bytes]]:
        """(number, kind, body) of an epoch's inputs."""
        yield from self._db.execute("SELECT seq, kind, body FROM inputs WHERE epoch = ? ORDER BY seq", (epoch,))

    def decisions(self, epoch: int) -> Iterator[tuple[int, str, bytes]]:
        """(number of the input, kind, body) of an epoch's decisions."""
        yield from self._db.execute("SELECT input, kind, body FROM decisions WHERE epoch = ? ORDER BY seq", (epoch,))

    def last_states(self) -> dict[str, tuple[str, bytes]]:
        """The newest (layout, bytes) by name."""
        query = "SELECT name, layout, body FROM states WHERE seq IN (SELECT max(seq) FROM states GROUP BY name)"
        return {name: (layout, body) for name, layout, body in self._db.execute(query)}

    def epochs(self) -> list[tuple[int, int, str]]:
        """(epoch, ts, holder) of every lease."""
        return list(self._db.execute("SELECT epoch, ts, holder FROM lease ORDER BY epoch"))

    def known_trades(self, symbol: str) -> set[int]:
        """The trade ids of a symbol that are booked."""
        return {row[0] for row in self._db.execute("SELECT exchange_id FROM fills WHERE symbol = ?", (symbol,))}

    # the file --------------------------------------------------------------------------------------------------------

    def _last(self, table: str) -> int:
        column = {"lease": "epoch", "intents": "number"}.get(table, "seq")
        return int(self._db.execute(f"SELECT coalesce(max({column}), 0) FROM {table}").fetchone()[0])

    def _rows(self, table: str, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        return self._db.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid").fetchall()

    def _dicts(self, table: str) -> list[dict[str, Any]]:
        cursor = self._db.execute(f"SELECT * FROM {table} ORDER BY rowid")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _insert(self, table: str, row: Mapping[str, Any], *, once: bool = False) -> bool:
        try:
            cursor = self._db.execute(_insertion(table, tuple(row), once), (*row.values(), _checksum(row)))
        except sqlite3.IntegrityError as error:
            raise ValueError(f"{table}: {error}") from error
        except sqlite3.Error as error:
            raise self._full(error) from error
        return cursor.rowcount == 1

    def _full(self, error: sqlite3.Error) -> JournalFullError:
        return JournalFullError(
            f"the journal {self.path} cannot be written ({error}); make room or the folder writable"
        )

    def check(self) -> None:
        """Compare checksums and structure. Raises JournalDamagedError."""
        try:
            state = self._db.execute("PRAGMA integrity_check").fetchone()[0]
            if state != "ok":
                raise JournalDamagedError(f"the journal {self.path} is damaged: {state}")
            for table in CHECKED:
                for row in self._dicts(table):
                    crc, given = row.pop("crc"), {name: value for name, value in row.items() if value is not None}
                    if table not in ("lease", "intents"):
                        given.pop("seq")
                    if crc != _checksum(given):
                        raise JournalDamagedError(f"the journal {self.path} is damaged: a row of {table} has changed")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise JournalDamagedError(f"the journal {self.path} is damaged: {error}") from error


def open_journal(path: Path, *, read_only: bool = False) -> Journal:
    """Open a session's journal, made where there is none.

    Raises
    ------
    JournalDamagedError
        It is torn, or a row has changed. Nothing is altered; `put_aside` moves it out of the way.
    UsageError
        It was written by a newer version, or there is none to read.
    JournalFullError
        The folder cannot be written.
    """
    if read_only and not path.is_file():
        raise UsageError(f"there is no journal {path}; no session of this name has run here")
    try:
        if not read_only:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.parent.chmod(0o700)
        mode = "ro" if read_only else "rwc"
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level="DEFERRED")
    except (OSError, sqlite3.Error) as error:
        raise JournalFullError(f"the journal {path} cannot be opened: {error}") from error
    try:
        db.execute("PRAGMA trusted_schema = OFF")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            db.close()
            raise UsageError(
                f"the journal {path} was written by a newer version of qtsim (schema {version}, this one reads "
                f"{SCHEMA_VERSION}); use that version, or name another session: live.session"
            )
        if not read_only:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA wal_autocheckpoint = {PAGES_MAX}")
            if version == 0:
                _make_tables(db)
            path.chmod(0o600)
        journal = Journal(path, db)
    except (sqlite3.OperationalError, OSError) as error:
        db.close()
        if "malformed" in str(error) or "no such table" in str(error):
            raise JournalDamagedError(f"the journal {path} is damaged: {error}") from error
        raise JournalFullError(f"the journal {path} cannot be opened: {error}") from error
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # SQLite repeats a torn schema in its words, which need not be text any more
        db.close()
        raise JournalDamagedError(f"the journal {path} is damaged: {error}") from error
    try:
        journal.check()
    except JournalDamagedError:
        db.close()
        raise
    return journal


@cache
def _insertion(table: str, names: tuple[str, ...], once: bool) -> str:
    """The statement that writes one row with its checksum."""
    verb = "INSERT OR IGNORE" if once else "INSERT"
    marks = ", ".join("?" * (len(names) + 1))
    return f"{verb} INTO {table} ({', '.join(names)}, crc) VALUES ({marks})"


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def put_aside(path: Path, ts: int) -> Path:
    """Move a damaged journal, with what SQLite keeps beside it, out of the way. Returns where it lies now."""
    target = path.with_name(f"{path.name}.damaged-{ts}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


def _make_tables(db: sqlite3.Connection) -> None:
    with db:
        for name, (columns, constraint) in _TABLES.items():
            parts = [columns, "crc INTEGER", *([constraint] if constraint else [])]
            db.execute(f"CREATE TABLE {name} ({', '.join(parts)})")
            for verb in ("UPDATE", "DELETE"):
                db.execute(
                    f"CREATE TRIGGER {name}_{verb.lower()} BEFORE {verb} ON {name} "
                    f"BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
                )
        db.execute("CREATE INDEX inputs_epoch ON inputs (epoch)")
        db.execute("CREATE INDEX decisions_epoch ON decisions (epoch)")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _intent_of(row: Sequence[Any]) -> Intent:
    values: dict[str, Any] = dict(zip(Intent.__dataclass_fields__, row, strict=True))
    return Intent(**{**values, "request": json.loads(values["request"]), "context": json.loads(values["context"])})


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), default=str)


def _checksum(row: Mapping[str, Any]) -> int:
    return zlib.crc32(repr(sorted((name, value) for name, value in row.items() if value is not None)).encode())
