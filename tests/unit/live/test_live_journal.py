"""The journal: written ahead, each thing once, append-only, and never trusted when it is torn."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qtsim.errors import UsageError
from qtsim.live.journal import (
    ROWS_BETWEEN_CHECKPOINTS,
    TABLES,
    Intent,
    Journal,
    JournalDamagedError,
    JournalFullError,
    open_journal,
    put_aside,
)


def intent(number: int, client_id: str = "") -> Intent:
    return Intent(
        number, 1, 5, client_id or f"c{number}", "entries", "entry", "BTCUSDT", 0, 7, 22, 10, {"a": "1"}, {"p": 1.5}
    )


def fill(exchange_id: int, qty: str = "0.01") -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "exchange_id": exchange_id,
        "ts": 1,
        "client_id": "c1",
        "order_id": 9,
        "side": "BUY",
        "position_side": "BOTH",
        "qty": qty,
        "price": "1",
        "fee": "0",
        "fee_asset": "USDT",
        "realized": "0",
        "maker": 0,
    }


def filled(path: Path) -> Journal:
    journal = open_journal(path)
    journal.take_lease(1, "here")
    for number in range(1, 4):
        journal.intend(intent(number))
    journal.fill(fill(1))
    journal.event(1, "ack", "c1", {"x": 1})
    journal.book(1, "FUNDING_FEE", "t1", "BTCUSDT", "-0.5", "USDT")
    journal.state(journal.input("start", b"\x00\x01"), "account", "f8", b"\x02")
    journal.decision(1, "decisions", b"\x03")
    journal.commit()
    return journal


def test_what_is_written_is_read_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "s" / "journal.sqlite"
    filled(path).close()
    journal = open_journal(path)
    assert [one.number for one in journal.intents()] == [1, 2, 3]
    assert journal.intent_of("c2") == intent(2)
    assert journal.intent_of("nobody") is None
    assert journal.next_intent == 4
    assert journal.known_trades("BTCUSDT") == {1}
    assert journal.events("ack") == [(1, "ack", "c1", {"x": 1})]
    assert journal.ledger()[0]["amount"] == "-0.5"
    assert journal.last_states() == {"account": ("f8", b"\x02")}
    assert list(journal.inputs(1)) == [(1, "start", b"\x00\x01")]
    assert list(journal.decisions(1)) == [(1, "decisions", b"\x03")]
    assert journal.take_lease(2, "there") == 2
    assert [row[2] for row in journal.epochs()] == ["here", "there"]


def test_nothing_is_booked_twice(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal.sqlite")
    assert not journal.fill(fill(1, "5"))
    assert journal.fill(fill(2))
    assert not journal.event(9, "ack", "c1", {})
    assert not journal.book(9, "FUNDING_FEE", "t1", "BTCUSDT", "-9", "USDT")
    assert [row["qty"] for row in journal.fills()] == ["0.01", "0.01"]
    with pytest.raises(ValueError, match="UNIQUE"):
        journal.intend(intent(4, "c1"))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("verb", ["UPDATE {} SET crc = 0", "DELETE FROM {}"])
def test_the_journal_is_append_only(tmp_path: Path, table: str, verb: str) -> None:
    filled(tmp_path / "journal.sqlite").close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(verb.format(table))


def test_the_folder_and_file_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.sqlite"
    filled(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_intent_is_on_the_disk_when_intend_returns(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = open_journal(path)
    journal.intend(intent(1))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT count(*) FROM intents").fetchone() == (1,)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_newer_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    filled(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"newer version of qtsim \(schema 99, this one reads 1\)"):
        open_journal(path)
    assert path.read_bytes() == before


def test_a_changed_row_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    filled(path).close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER intents_update")
        db.execute("UPDATE intents SET lots = 11 WHERE number = 2")
    with pytest.raises(JournalDamagedError, match="a row of intents has changed"):
        open_journal(path)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@example(cut=0, at=81, flip=128)  # the words of a torn schema are no text
@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 255))
def test_a_torn_or_flipped_file_opens_to_what_it_was_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal.sqlite"
    journal = filled(path)
    wanted, states = journal.intents(), journal.last_states()
    journal.close()
    data = bytearray(path.read_bytes())
    data = data[: max(1, len(data) * (100 - cut // 2) // 100)]
    data[min(len(data) - 1, len(data) * at // 100)] ^= flip
    path.write_bytes(bytes(data))
    try:
        found = open_journal(path)
    except (JournalDamagedError, UsageError, JournalFullError):
        return
    assert found.intents() == wanted
    assert found.last_states() == states


def test_a_damaged_journal_is_put_aside_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database, and it is long enough to be read as one" * 100)
    with pytest.raises(JournalDamagedError, match="damaged"):
        open_journal(path)
    kept = put_aside(path, 17)
    assert kept.name == "journal.sqlite.damaged-17"
    assert kept.read_bytes().startswith(b"this is no database")
    assert open_journal(path).intents() == []


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal.sqlite")
    journal._db.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalFullError, match="make room"):
        journal.intend(intent(4))


def test_there_must_be_one_to_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no session of this name"):
        open_journal(tmp_path / "journal.sqlite", read_only=True)


def test_what_was_written_moves_into_the_file_once_it_is_much_and_no_commit_of_an_order_does_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = open_journal(path)
    journal.take_lease(0, "test")
    for number in range(2, ROWS_BETWEEN_CHECKPOINTS):  # the lease is the first row
        journal.event(number, "reply", str(number), {"text": "x" * 4096})
        journal.commit()
        journal.checkpoint()
    before = path.stat().st_size
    assert before < ROWS_BETWEEN_CHECKPOINTS * 4096
    journal.event(0, "reply", "last", {})
    journal.commit()
    assert path.stat().st_size == before
    journal.checkpoint()
    assert path.stat().st_size > ROWS_BETWEEN_CHECKPOINTS * 4096
    journal.close()
