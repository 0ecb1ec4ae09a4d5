"""The claim: the same settings and bars, backtested and traded live at the emulator, decide and fill the same."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qtsim.app.live import JOURNAL
from qtsim.app.replay import replay_session
from qtsim.core.records import Records
from qtsim.live.tape import packed, row_bytes, unpacked
from tests.live_rehearsal import Played, journals_of, make_workspace, play_in_lockstep, resolved_of, rows_of
from tests.unit.live.lines import MINUTE, START, frames_of

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
pytest.importorskip("aiohttp", reason="live trading needs the extra: pip install 'qtsim[live]'")

SYMBOLS = ["BTCUSDT", "ETHUSDT", "XRPUSDT"]
WARM_UP, TRADED = 60, 200
PERIOD = "2024-01-01T01:00:00:"
COMPARED = ("decisions", "denials", "fills", "trades", "funding", "governor")


def hourly_funding(hours: int) -> pd.DataFrame:
    """A payment each hour, of changing sign, with its mark price."""
    times = START + 60 * MINUTE * np.arange(hours)
    index = pd.DatetimeIndex(times.view("M8[ns]"), name="time").tz_localize("UTC")
    rates = 0.0001 * np.where(np.arange(hours) % 3 == 0, -1.0, 1.0)
    return pd.DataFrame({"funding_rate": rates, "mark_price": np.full(hours, np.nan)}, index=index)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Played, dict, object]:
    """One rehearsal for all tests of this module."""
    frames = frames_of(SYMBOLS, WARM_UP + TRADED)
    workspace = make_workspace(
        tmp_path_factory.mktemp("claim"), frames, {symbol: hourly_funding(5) for symbol in SYMBOLS}
    )
    resolved = resolved_of(workspace, SYMBOLS, PERIOD)
    wanted = journals_of(workspace, resolved)
    found = play_in_lockstep(workspace, resolved)
    return found, rows_of(found.plan.folder), wanted


def by_symbol(rows: Records) -> Records:
    """Each symbol's rows in their order.

    An order takes its time, so at one instant the next symbol decides before the first one's fill: between symbols the
    order of rows is another, and with it the wallet after each of several fills of one instant.
    """
    found = rows.copy()
    if "symbol" in (found.dtype.names or ()):
        found = found[np.argsort(found["symbol"], kind="stable")]
    if "wallet" in (found.dtype.names or ()):
        found["wallet"] = 0.0
    return found


@pytest.mark.parametrize("kind", COMPARED)
def test_backtest_and_live_session_write_the_same_rows(played: tuple[Played, dict, object], kind: str) -> None:
    _, rows, wanted = played
    expected = getattr(wanted, kind)
    found = rows.get(kind, expected[:0])
    assert len(found) == len(expected)
    found, expected = by_symbol(found), by_symbol(expected)
    for k in range(len(expected)):
        assert row_bytes(found[k : k + 1]) == row_bytes(expected[k : k + 1]), f"{kind} {k}: {found[k]} {expected[k]}"


def test_the_rehearsal_traded_paid_funding_and_denied(played: tuple[Played, dict, object]) -> None:
    _, rows, _ = played
    assert len(rows["trades"]) >= 8
    assert len(rows["funding"]) >= 2
    assert len(rows["denials"]) >= 5


def test_the_account_ends_as_the_exchange_has_it(played: tuple[Played, dict, object]) -> None:
    found, _, wanted = played
    assert float(found.exchange.state.account.wallet) == pytest.approx(float(wanted.account["wallet"][0]), abs=1e-8)
    assert found.why == "the recorded market has ended"


def test_no_order_of_the_session_is_left_without_a_position(played: tuple[Played, dict, object]) -> None:
    found, _, _ = played
    state = found.exchange.state
    open_symbols = {position.symbol for position in state.account.open_positions()}
    assert {algo.symbol for algo in state.open_algos.values()} == open_symbols
    assert not state.open_orders


def test_every_request_was_written_down_before(played: tuple[Played, dict, object]) -> None:
    found, _, _ = played
    with sqlite3.connect(found.plan.folder / JOURNAL) as db:
        known = {row[0] for row in db.execute("SELECT client_id FROM intents")}
    sent = {order.client_id for order in found.exchange.state.orders.values()}
    sent |= {algo.client_id for algo in found.exchange.state.algos.values()}
    assert sent
    assert sent <= known


def test_a_replay_of_the_session_is_byte_identical(played: tuple[Played, dict, object]) -> None:
    found, _, _ = played
    (replayed,) = replay_session(found.plan.workspace, "main")
    assert replayed.difference is None
    assert replayed.inputs > 1_000
    assert not replayed.remarks


def test_a_tampered_input_is_named(played: tuple[Played, dict, object], tmp_path: Path) -> None:
    found, _, _ = played
    path = found.plan.folder / JOURNAL
    kept = path.read_bytes()
    try:
        with sqlite3.connect(path) as db:
            fill = db.execute("SELECT min(seq) FROM inputs WHERE kind = 'fill'").fetchone()[0]
            rows = db.execute("SELECT seq, kind, body FROM inputs WHERE seq < ? ORDER BY seq DESC", (fill,))
            unpacked_rows = ((row[0], list(unpacked([row]))) for row in rows)
            seq, inputs = next(row for row in unpacked_rows if "points" in {kind for _, kind, _ in row[1]})
            shown = next(body for _, kind, body in reversed(inputs) if kind == "points")
            shown["prices"][0][1] *= 1.001
            db.execute("DROP TRIGGER inputs_update")
            kind, body = packed([(kind, body) for _, kind, body in inputs])
            db.execute("UPDATE inputs SET kind = ?, body = ? WHERE seq = ?", (kind, body, seq))
        (replayed,) = replay_session(found.plan.workspace, "main")
        assert replayed.difference is not None
        assert replayed.difference.at >= seq
        assert "recorded:" in str(replayed.difference)
        assert "replayed:" in str(replayed.difference)
    finally:
        path.write_bytes(kept)


def test_no_secret_is_written_anywhere(played: tuple[Played, dict, object]) -> None:
    found, _, _ = played
    key = next(iter(found.exchange.keys.values()))
    texts = [path.read_bytes() for path in found.plan.folder.rglob("*") if path.is_file()]
    texts.append("\n".join(found.told).encode())
    assert len(texts) > 3
    for secret in (key.key, key.secret, found.exchange.streams.listen_key or "emulatorlistenkey"):
        assert all(secret.encode() not in text for text in texts)
