"""Client order ids: what the exchange takes, whose they are, and that they come apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.core.enums import Reason
from qtsim.live.ids import (
    ATTEMPT_MAX,
    EPOCH_MAX,
    EXCHANGE_PATTERN,
    NUMBER_MAX,
    ClientId,
    is_ours,
    parse_client_id,
    session_tag,
)
from qtsim.live.kinds import OWNED, Module, OrderKind, kind_of

IDS = st.builds(
    ClientId,
    st.text(min_size=1).map(session_tag),
    st.integers(0, EPOCH_MAX),
    st.integers(0, NUMBER_MAX),
    st.sampled_from(OrderKind),
    st.integers(0, ATTEMPT_MAX),
)


@given(IDS)
def test_an_id_is_taken_by_the_exchange_and_comes_apart_again(client_id: ClientId) -> None:
    assert EXCHANGE_PATTERN.fullmatch(str(client_id))
    assert len(str(client_id)) <= 36
    assert parse_client_id(str(client_id)) == client_id


@given(IDS, IDS)
def test_different_parts_are_different_ids(one: ClientId, other: ClientId) -> None:
    assert (str(one) == str(other)) == (one == other)


@given(st.text(max_size=40))
def test_what_we_did_not_make_is_not_ours(text: str) -> None:
    parsed = parse_client_id(text)
    assert parsed is None or str(parsed) == text


def test_another_sessions_order_is_not_ours() -> None:
    mine = str(ClientId(session_tag("main"), 1, 1, OrderKind.ENTRY))
    assert is_ours(mine, session_tag("main"))
    assert not is_ours(mine, session_tag("second"))
    assert not is_ours("x-cvBPrNm9bb649c69994aee381701cf", session_tag("main"))


@pytest.mark.parametrize(("field", "value"), [("epoch", EPOCH_MAX + 1), ("number", NUMBER_MAX + 1), ("attempt", 16)])
def test_a_part_without_room_is_refused(field: str, value: int) -> None:
    parts = {"tag": "0" * 6, "epoch": 1, "number": 1, "kind": OrderKind.ENTRY, field: value}
    with pytest.raises(ValueError, match=field):
        ClientId(**parts)


def test_codes_of_kinds_are_two_characters_and_unique() -> None:
    codes = [kind.code for kind in OrderKind]
    assert len(set(codes)) == len(codes)
    assert all(len(code) == 2 for code in codes)
    assert OrderKind.of_code("zz") is None


@pytest.mark.parametrize("reason", [r for r in Reason if r not in (Reason.NONE, Reason.ENTRY)])
def test_every_exit_has_a_kind_that_reduces(reason: Reason) -> None:
    kind = kind_of(reason)
    assert kind.is_exit
    assert not kind.rests
    assert kind in OWNED[Module.EXIT_ENGINE]


def test_legs_are_named_as_the_predecessor_named_them() -> None:
    assert [kind_of(Reason(Reason.TP1 + k)).value for k in range(3)] == [f"tp_market_leg_{k}" for k in range(3)]
    assert kind_of(Reason.STOP) is OrderKind.SL_MARKET
    assert kind_of(Reason.LOSS_GUARD) is OrderKind.LOSS_GUARD


def test_only_one_module_opens_and_the_guardian_cannot() -> None:
    assert [module for module in Module if OrderKind.ENTRY in OWNED[module]] == [Module.ENTRIES]
    assert all(kind.is_exit for kind in OWNED[Module.GUARDIAN])
