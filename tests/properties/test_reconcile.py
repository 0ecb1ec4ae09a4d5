"""The reconciler: one pass finds everything, a second finds nothing, and the exchange wins for quantity."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from qtsim.live.ids import ClientId, session_tag
from qtsim.live.kinds import OrderKind
from qtsim.live.reconcile import (
    Adjusted,
    Disputed,
    ForeignEpoch,
    Gone,
    MissedTrade,
    Rules,
    Settled,
    StopMissing,
    Stray,
    applied,
    covers,
    diff,
)
from qtsim.live.snapshot import Execution, Held, Local, Resting, Snapshot

TAG = session_tag("main")
SYMBOLS = ("AAA", "BBB")
RULES = Rules(TAG, 3, {"AAA": Decimal(1), "BBB": Decimal("0.1")}, frozenset(SYMBOLS))
NOW = 1_700_000_000_000_000_000
KEYS = [("AAA", "BOTH"), ("BBB", "LONG"), ("BBB", "SHORT")]


def our_id(number: int, kind: OrderKind = OrderKind.HARD_SL, epoch: int = 3) -> str:
    return str(ClientId(TAG, epoch, number, kind))


CLIENT_IDS = st.one_of(
    st.integers(0, 4).map(our_id),
    st.integers(0, 2).map(lambda n: our_id(n, epoch=4)),
    st.integers(0, 2).map(lambda n: our_id(n, OrderKind.ENTRY)),
    st.sampled_from(["foreign-1", "x-cvBPrNm9aa", ""]),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    positions = {}
    for symbol, side in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        most = draw(st.integers(-5, 5))
        lots = abs(most) if side == "LONG" else -abs(most) if side == "SHORT" else most
        positions[symbol, side] = Held(symbol, side, lots, 100.0, 101.0)
    orders = []
    for number in range(draw(st.integers(0, 5))):
        symbol, side = draw(st.sampled_from([*KEYS, ("ZZZ", "BOTH")]))
        orders.append(
            Resting(
                symbol,
                draw(CLIENT_IDS),
                number,
                draw(st.sampled_from(["BUY", "SELL"])),
                side,
                draw(st.booleans()),
                draw(st.sampled_from(["NEW", "NEW", "TRIGGERING", "FINISHED", "CANCELED"])),
                draw(st.booleans()),
                updated=NOW // 1_000_000 - draw(st.sampled_from([0, 60_000])),
            )
        )
    executions = []
    for number in range(draw(st.integers(0, 4))):
        symbol, side = draw(st.sampled_from(KEYS))
        executions.append(
            Execution(
                symbol,
                draw(st.integers(0, 3)),
                NOW + number,
                "",
                number,
                draw(st.sampled_from(["BUY", "SELL"])),
                side,
                draw(st.sampled_from(["1", "2"])),
                "100",
            )
        )
    return Snapshot(NOW, positions, tuple(orders), tuple(executions))


LOCALS = st.builds(
    Local,
    st.dictionaries(st.sampled_from(KEYS), st.integers(-5, 5)),
    st.frozensets(st.tuples(st.sampled_from(SYMBOLS), st.integers(0, 3))),
    st.frozensets(st.integers(0, 4).map(our_id)),
    st.frozensets(st.integers(0, 4).map(our_id)),
    st.frozensets(st.integers(0, 2).map(lambda n: our_id(n, OrderKind.ENTRY))),
)


def converged(local: Local, snapshot: Snapshot) -> Local:
    """Two looks at the same truth: a difference that nothing explains is adjusted at the second."""
    for _ in range(2):
        local = applied(local, diff(local, snapshot, RULES), RULES)
    return local


@given(LOCALS, snapshots())
def test_a_further_look_at_the_same_truth_finds_nothing(local: Local, snapshot: Snapshot) -> None:
    left = [event for event in diff(converged(local, snapshot), snapshot, RULES) if not isinstance(event, ForeignEpoch)]
    assert left == []


@given(LOCALS, snapshots())
def test_the_exchange_wins_for_quantity(local: Local, snapshot: Snapshot) -> None:
    after = converged(local, snapshot)
    for key in KEYS:
        held = snapshot.positions.get(key)
        assert after.lots.get(key, 0) == (held.lots if held else 0)


@given(LOCALS, snapshots())
def test_nothing_is_adjusted_at_the_first_look(local: Local, snapshot: Snapshot) -> None:
    assert not any(isinstance(event, Adjusted) for event in diff(replace(local, disputed={}), snapshot, RULES))


@given(LOCALS, snapshots())
def test_each_execution_is_booked_once(local: Local, snapshot: Snapshot) -> None:
    events = diff(local, snapshot, RULES)
    missed = [(e.execution.symbol, e.execution.exchange_id) for e in events if isinstance(e, MissedTrade)]
    assert len(set(missed)) == len(missed)
    assert not set(missed) & local.trades
    again = diff(applied(local, events, RULES), snapshot, RULES)
    assert not any(isinstance(event, MissedTrade) for event in again)


@given(LOCALS, snapshots())
def test_an_entry_that_is_known_here_is_left_and_one_that_is_not_goes(local: Local, snapshot: Snapshot) -> None:
    touched = {e.order.client_id for e in diff(local, snapshot, RULES) if isinstance(e, Stray)}
    assert not touched & local.entries
    for order in snapshot.orders:
        is_open = order.symbol in SYMBOLS and order.status in ("NEW", "TRIGGERING")
        if is_open and order.client_id in {our_id(n, OrderKind.ENTRY) for n in range(3)} - local.entries:
            assert order.client_id in touched | local.unresolved


def test_the_entry_of_a_newer_program_is_its_own() -> None:
    held = {("AAA", "BOTH"): Held("AAA", "BOTH", 1, 100.0, 101.0)}
    local = Local({("AAA", "BOTH"): 1}, stops_asked=frozenset(held))
    for epoch, goes in ((2, True), (3, True), (4, False)):
        order = Resting("AAA", our_id(1, OrderKind.ENTRY, epoch), 7, "BUY", "BOTH", is_algo=False, price=99.0)
        events = diff(local, Snapshot(NOW, held, (order,)), RULES)
        assert any(isinstance(event, Stray) for event in events) == goes
        assert any(isinstance(event, ForeignEpoch) for event in events) != goes


@given(LOCALS, snapshots())
def test_foreign_orders_are_left_alone_unless_the_settings_say_otherwise(local: Local, snapshot: Snapshot) -> None:
    touched = [e.order for e in diff(local, snapshot, RULES) if isinstance(e, Stray)]
    assert all(TAG in order.client_id for order in touched)
    assert all(order.symbol in SYMBOLS for order in touched)


@given(LOCALS, snapshots())
def test_every_open_position_is_covered_or_its_missing_stop_is_told(local: Local, snapshot: Snapshot) -> None:
    told = {e.held.key for e in diff(local, snapshot, RULES) if isinstance(e, StopMissing)}
    for key, held in snapshot.positions.items():
        if held.lots:
            is_covered = any(covers(order, held, NOW // 1_000_000) for order in snapshot.orders)
            assert is_covered != (key in told)


LONG = Held("AAA", "BOTH", 5, 100.0, 101.0)


def stop(**changes: object) -> Resting:
    first = Resting("AAA", our_id(1), 1, "SELL", "BOTH", True, close_position=True, trigger=98.0)
    return replace(first, **changes)  # type: ignore[arg-type]


def test_what_covers_a_position() -> None:
    now = NOW // 1_000_000
    assert covers(stop(), LONG, now)
    assert not covers(stop(side="BUY"), LONG, now)
    assert not covers(stop(close_position=False), LONG, now)
    assert not covers(stop(is_algo=False), LONG, now)
    assert not covers(stop(status="EXPIRED"), LONG, now)
    assert covers(stop(status="TRIGGERING", updated=now - 1_000), LONG, now)
    assert not covers(stop(status="TRIGGERING", updated=now - 60_000), LONG, now), "stuck: it protects nothing"


def test_a_manual_close_is_explained_by_its_trade_and_leaves_a_stray_stop() -> None:
    trade = Execution("AAA", 8, NOW, "web_1", 4, "SELL", "BOTH", "5", "101")
    snapshot = Snapshot(NOW, {}, (stop(),), (trade,))
    local = Local({("AAA", "BOTH"): 5}, live=frozenset({our_id(1)}))
    assert [type(event) for event in diff(local, snapshot, RULES)] == [MissedTrade, Stray]


def test_an_order_that_is_gone_and_one_that_has_arrived_are_told() -> None:
    local = Local({}, live=frozenset({our_id(1)}), unresolved=frozenset({our_id(2)}))
    snapshot = Snapshot(NOW, {("AAA", "BOTH"): LONG}, (stop(client_id=our_id(2)),))
    kinds = [type(event) for event in diff(local, snapshot, RULES)]
    assert kinds == [Disputed, Gone, Settled]


def test_a_newer_epoch_on_the_account_is_another_program() -> None:
    snapshot = Snapshot(NOW, {("AAA", "BOTH"): LONG}, (stop(client_id=our_id(1, epoch=4)),))
    events = diff(Local({("AAA", "BOTH"): 5}), snapshot, RULES)
    assert [type(event) for event in events] == [ForeignEpoch]
