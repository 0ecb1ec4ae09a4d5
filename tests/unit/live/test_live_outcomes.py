"""What answers say about an order: every row of the table, and that what it lacks is UNKNOWN."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qtsim.live.outcomes import NO_ID, NOT_SENT, TABLE, Answer, Outcome, Remedy, Row, classify

A, R, U = Outcome.ACK, Outcome.REJECTED, Outcome.UNKNOWN


def example(row: Row) -> Answer:
    """The plainest answer that a row speaks of."""
    http = row.http if row.http is not None else (400 if row.code is not None else 500)
    return Answer(http, row.code or 0, row.text)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.http or ''}{row.code or ''}{row.text}")
def test_each_row_decides_its_own_answer(row: Row) -> None:
    assert classify(example(row)) == (row.outcome, row.remedy)


@pytest.mark.parametrize(
    ("answer", "outcome", "remedy"),
    [
        (Answer(200), A, Remedy.NONE),
        (Answer(200, 200, "success"), A, Remedy.NONE),
        (Answer(200, 0, NO_ID), U, Remedy.VERIFY),
        (Answer(200, -2019, "Margin is insufficient."), R, Remedy.NONE),
        (Answer(0, 0, NOT_SENT), R, Remedy.WAIT),
        (Answer(0, 0, "connection reset"), U, Remedy.VERIFY),
        (Answer(503, -1000, "Unknown error, please check your request or try again later."), U, Remedy.VERIFY),
        (Answer(503, 0, "Service Unavailable."), R, Remedy.WAIT),
        (Answer(503, -1008, "Request throttled by system-level protection."), R, Remedy.WAIT),
        (Answer(503, -1016, "Internal error; unable to process your request."), R, Remedy.WAIT),
        (Answer(503, 0, "<html>bad gateway</html>"), U, Remedy.VERIFY),
        (Answer(502, 0, "<html>"), U, Remedy.VERIFY),
        (Answer(408, -1007, "Timeout waiting for response from backend server."), U, Remedy.VERIFY),
        (Answer(400, -1006, "An unexpected response was received from the message bus."), U, Remedy.VERIFY),
        (Answer(418, 0, "Way too many requests; banned until 1"), R, Remedy.WAIT),
        (Answer(429, -1003, "Too many requests"), R, Remedy.WAIT),
        (Answer(400, -1021, "Timestamp for this request is outside of the recvWindow."), R, Remedy.RESYNC),
        (Answer(401, -2015, "Invalid API-key, IP, or permissions for action"), R, Remedy.HALT),
        (Answer(400, -2021, "Order would immediately trigger."), R, Remedy.CLOSE),
        (Answer(400, -2022, "ReduceOnly Order is rejected."), R, Remedy.VERIFY),
        (Answer(400, -4116, "ClientOrderId is duplicated."), U, Remedy.VERIFY),
        (Answer(400, -4120, "Order type not supported for this endpoint."), R, Remedy.REVIEW),
        (Answer(400, -4130, "An open stop or take profit order with closePosition is existing."), R, Remedy.VERIFY),
        (Answer(400, -9999, "nobody has seen this"), U, Remedy.VERIFY),
        (Answer(400, 0, ""), U, Remedy.VERIFY),
    ],
)
def test_answers_of_the_exchange(answer: Answer, outcome: Outcome, remedy: Remedy) -> None:
    assert classify(answer) == (outcome, remedy)


KNOWN_CODES = {row.code for row in TABLE if row.code is not None}


@given(st.integers(-9999, -1).filter(lambda code: code not in KNOWN_CODES), st.sampled_from([200, 400, 500, 503]))
def test_a_code_that_nobody_listed_is_unknown(code: int, http: int) -> None:
    assert classify(Answer(http, code, ""))[0] is U


def test_no_row_stands_for_nothing() -> None:
    for k, row in enumerate(TABLE):
        first = next(n for n, one in enumerate(TABLE) if one.matches(example(row)))
        assert first == k, f"{row} is hidden behind {TABLE[first]}"
