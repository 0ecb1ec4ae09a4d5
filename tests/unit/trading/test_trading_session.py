"""The session and its broker: what is sent, what is confirmed, where the hard stop rests."""

from __future__ import annotations

import numpy as np
import pytest

from qtsim.core.enums import Action, Reason
from qtsim.core.records import Records, plan_dt, span_dt
from qtsim.sim.broker import SimBroker
from qtsim.sim.market import no_closes
from qtsim.trading.messages import EntryIntent, ExitIntent, StopIntent
from qtsim.trading.session import Session
from tests.generated import HOUR, empty_signals, instrument, params_of

SETTINGS = {
    "leverage.model": "fixed",
    "leverage.fixed": 1.0,
    "sizing.model": "fixed_qty",
    "sizing.fixed_qty": 1.0,
    "limits.per_trade.margin": "inf",
    "costs.slippage.bps": 0.0,
    "costs.fees.taker": 0.0,
    "costs.fees.maker": 0.0,
    "exit.levels.adaptive": False,
    "exit.harvest.scheme.by": "static",
    "exit.stops.trail.mode": "off",
    "gates.enabled": False,
}


def new_session(**settings: object) -> Session:
    """A session of one symbol, without bars of the regime's timeframe."""
    spans = np.zeros(1, span_dt)
    return Session(instrument(tick=(1, 100)), params_of({**SETTINGS, **settings}), 10_000.0, no_closes(), spans, HOUR)


class Recorder(SimBroker):
    """The simulated broker, remembering what it was asked."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.asked: list[EntryIntent | ExitIntent | StopIntent | int] = []

    def submit(self, intent: EntryIntent | ExitIntent) -> None:
        self.asked.append(intent)
        super().submit(intent)

    def place_stop(self, intent: StopIntent) -> None:
        self.asked.append(intent)
        super().place_stop(intent)

    def cancel_stop(self, symbol: int) -> None:
        self.asked.append(symbol)
        super().cancel_stop(symbol)


@pytest.fixture
def long_session() -> tuple[Session, Recorder]:
    """A session that just entered one unit long at 100."""
    session = new_session()
    broker = Recorder(session)
    session.connect(broker)
    session.bar_index[0] = 0
    session.observe(0, 1, 100.0, 100.0)
    signal: Records = empty_signals(1)
    signal["long"] = 1
    session.decide_on_signals({0: (0, signal[0])}, [], [], 1)
    return session, broker


def test_the_hard_stop_is_placed_on_the_first_fill(long_session: tuple[Session, Recorder]) -> None:
    session, broker = long_session
    entry, stop = broker.asked
    assert isinstance(entry, EntryIntent)
    assert stop == StopIntent(0, 0, 98.0)
    assert broker.stops[0] == 98.0
    assert list(session.journal.table("decisions")["action"]) == [Action.INIT_NEW_POSITION]


def test_the_hard_stop_stays_while_anything_is_open_and_goes_when_flat(long_session: tuple[Session, Recorder]) -> None:
    session, broker = long_session
    session.observe(0, 2, 102.0, 102.0)
    session.run_cycles(0, once=True)
    assert broker.asked[2:] == [ExitIntent(0, 0, Reason.TP1, 250, is_leg=True)]
    assert broker.stops[0] == 98.0
    session.observe(0, 3, 99.0, 99.0)
    session.run_cycles(0, once=False)
    assert broker.asked[3:] == [ExitIntent(0, 0, Reason.RATCHET, 750, is_leg=False), 0]
    assert np.isnan(broker.stops[0])
    assert not session.is_open(0)


def test_the_exchange_obeys_the_stop_that_rests_not_the_one_in_the_program(
    long_session: tuple[Session, Recorder],
) -> None:
    session, broker = long_session
    broker.cancel_stop(0)
    session.observe(0, 2, 97.9, 97.9)
    broker.act(0, Reason.HARD_STOP)
    assert session.is_open(0)
    broker.place_stop(StopIntent(0, 0, 98.0))
    broker.act(0, Reason.HARD_STOP)
    assert not session.is_open(0)


def test_a_leg_without_lots_sends_nothing_and_counts(long_session: tuple[Session, Recorder]) -> None:
    session, broker = long_session
    session.positions["tp_lots"][0, 0] = 0
    session.observe(0, 2, 102.0, 102.0)
    session.run_cycles(0, once=True)
    assert broker.asked[2:] == []
    assert (int(session.positions[0]["next_leg"]), int(session.positions[0]["lots"])) == (1, 1000)
    assert session.positions[0]["stop_reason"] == Reason.RATCHET


def test_a_backup_stop_goes_with_the_hard_stop() -> None:
    """Its limit lies 50 bps beyond the trigger at 98, on the tick that fills sooner: 97.51."""
    session = new_session(**{"exit.stops.backup.enabled": True})
    broker = Recorder(session)
    session.connect(broker)
    session.observe(0, 1, 100.0, 100.0)
    signal: Records = empty_signals(1)
    signal["long"] = 1
    session.decide_on_signals({0: (0, signal[0])}, [], [], 1)
    assert broker.asked[1] == StopIntent(0, 0, 98.0, 97.51)


class Accepting(Recorder):
    """Accepts orders and confirms nothing."""

    def fills(self) -> list[object]:  # type: ignore[override]
        return []


def test_an_accepted_order_changes_nothing_until_it_is_confirmed() -> None:
    session = new_session()
    broker = Accepting(session)
    session.connect(broker)
    session.bar_index[0] = 0
    session.observe(0, 1, 100.0, 100.0)
    signal: Records = empty_signals(1)
    signal["long"] = 1
    session.decide_on_signals({0: (0, signal[0])}, [], [], 1)
    assert len(broker.asked) == 1
    assert not session.is_open(0)
    assert session.account[0]["wallet"] == 10_000.0
    assert len(session.journal.table("fills")) == 0


def test_intents_carry_the_plan(long_session: tuple[Session, Recorder]) -> None:
    _, broker = long_session
    entry = broker.asked[0]
    assert isinstance(entry, EntryIntent)
    assert entry.plan.dtype == plan_dt
    assert int(entry.plan["lots"]) == 1000
