"""What is measured for a person to read: durations, and since when a price has waited."""

from __future__ import annotations

import asyncio
import math

import pytest

from qtsim.live.latency import KEPT, Arrivals, Durations, leaves, when_leaving


def test_all_are_counted_and_quantiles_are_those_of_the_newest() -> None:
    durations = Durations()
    assert durations.summary() == {"count": 0}
    for k in range(1, 101):
        durations.add(float(k))
    assert durations.summary() == {"count": 100, "p50": 51.0, "p99": 100.0, "max": 100.0}
    for _ in range(KEPT):
        durations.add(3.0)
    assert durations.summary() == {"count": 100 + KEPT, "p50": 3.0, "p99": 3.0, "max": 100.0}


class Clock:
    """A clock that a test moves, s."""

    now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("pause_s", "counted_from"),
    [
        (0.0005, 10.0),  # it may have waited while the batch before was worked on
        (0.5, 10.54),
    ],
)
def test_a_message_that_may_have_waited_counts_from_the_start_of_the_work(pause_s: float, counted_from: float) -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    arrivals.hear()
    arrivals.begin()
    assert arrivals.of_batch == 10.0
    clock.now += 0.04
    arrivals.end()
    assert math.isnan(arrivals.of_batch)
    clock.now += pause_s
    arrivals.hear()
    clock.now += 0.0001
    arrivals.hear()  # the older one counts
    arrivals.begin()
    assert arrivals.of_batch == pytest.approx(counted_from)
    clock.now += 0.002
    assert arrivals.age_ms(arrivals.of_batch) == pytest.approx((clock.now - counted_from) * 1e3)


@pytest.mark.parametrize(
    ("pause_s", "reads", "counted_from"),
    [
        (0.0002, False, 10.0),
        (0.0002, True, 10.0402),  # what had come by then was read
        (0.5, False, 10.54),
    ],
)
def test_what_is_read_after_two_batches_without_reading_between_may_have_come_with_the_first(
    pause_s: float, reads: bool, counted_from: float
) -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    arrivals.begin()
    clock.now += 0.04
    arrivals.end()
    clock.now += pause_s
    if reads:
        arrivals.hear()
    arrivals.begin()
    arrivals.end()
    clock.now += 0.0001
    arrivals.hear()
    arrivals.begin()
    assert arrivals.of_batch == pytest.approx(counted_from)


def test_a_batch_without_a_price_has_no_age() -> None:
    arrivals = Arrivals(Clock())
    arrivals.begin()
    assert math.isnan(arrivals.of_batch)


def test_only_the_first_request_of_its_own_task_is_noted() -> None:
    noted: list[str] = []

    async def order(name: str, requests: int) -> None:
        when_leaving(lambda: noted.append(name))
        for _ in range(requests):
            await asyncio.sleep(0)
            leaves()

    async def others() -> None:
        leaves()

    async def both() -> None:
        await asyncio.gather(order("a", 3), order("b", 1), others())

    asyncio.run(both())
    assert sorted(noted) == ["a", "b"]
