"""Random scenes of faults in virtual time: some in every run, more with `-m slow`, thousands by `benchmarks.faults`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")

from tests.fault_scenes import (
    ENTERING,
    EXITING,
    FLAT,
    OPEN,
    RECOVERING,
    STANDING,
    TRAILING,
    Outcome,
    Scene,
    Strike,
    minimal,
    play_scene,
    scene_of,
)

CALM, QUICK, SLOW = (0, 0), (10, 80), (20, 400)
PER_PART, USUAL, PARTS = 5, 8, 80
FOUND = {
    "an account that could not be read was not read again for half a minute": Scene(
        70, 21, CALM, 15, (Strike("hand_opens", FLAT, 0, 207122), Strike("late", OPEN, 0, 624770))
    ),
    "fees of what a hand opened were nowhere in the ledger": Scene(17, 38, CALM, 15, (Strike("hand_opens", FLAT),)),
    "a hard stop that had acted while the program was down was booked as a hand's, at another price": Scene(
        9,
        1,
        SLOW,
        15,
        (Strike("crash", OPEN), Strike("http_429", RECOVERING, 1), Strike("jump", RECOVERING, 2, 120241)),
    ),
    "an order that could not be cancelled kept the wallets from being compared": Scene(
        71, 7, QUICK, 15, (Strike("hand_opens", EXITING, 0, 772871), Strike("stuck_trigger", EXITING, 2, 375237))
    ),
    "a crash between a trade's row and its booking lost what it had cost": Scene(
        535, 21, SLOW, 15, (Strike("hand_opens", FLAT, 0, 526141), Strike("crash", ENTERING))
    ),
    "a stop that a ban had kept from leaving was forgotten for half a minute after it": Scene(
        929, 0, QUICK, 15, (Strike("http_418", ENTERING, 1, 209123),)
    ),
    "the stop of a position that was turned round while the program was down was never cleaned up": Scene(
        906,
        13,
        SLOW,
        15,
        (Strike("crash_journal_torn", OPEN, 2, 990659), Strike("hand_reverses", RECOVERING, 0, 706488)),
    ),
    "a program that started in a ban slept on for half a minute after its end": Scene(
        1320,
        28,
        QUICK,
        15,
        (
            Strike("crash", OPEN),
            Strike("http_418", RECOVERING, 1, 789407),
            Strike("drop_before", ENTERING, 1, 594908),
        ),
    ),
    "an entry that turned round what a hand had opened met the stop of the other side": Scene(
        1596, 4, QUICK, 15, (Strike("hand_opens", ENTERING, 0, 300134),)
    ),
    "the refusal of an old stop took the new one down that was under way": Scene(
        1881, 35, QUICK, 15, (Strike("hand_reverses", ENTERING, 0, 193198),)
    ),
    "what a hand had turned round waited for its stop until the account could be read": Scene(
        390, 1, QUICK, 15, (Strike("hand_reverses", OPEN, 0, 509608), Strike("http_429", OPEN, 2, 81613))
    ),
    "what a hand opened unheard was without a stop until the next comparison": Scene(
        1141, 21, SLOW, 15, (Strike("hand_opens", FLAT, 0, 920139), Strike("event_drop", FLAT, 0, 207996))
    ),
    "what a hand turned round unheard was without a stop until the next comparison": Scene(
        1379, 28, QUICK, 15, (Strike("hand_reverses", OPEN, 0, 507126), Strike("event_drop", OPEN, 0, 9))
    ),
    "trades from before a journal that was torn were never booked again": Scene(
        1395, 34, SLOW, 15, (Strike("hand_opens", FLAT, 0, 883490), Strike("crash_journal_torn", ENTERING, 0, 190564))
    ),
    "an exchange that was back was not asked again for half a minute at the start": Scene(
        1573,
        21,
        SLOW,
        15,
        (
            Strike("crash", ENTERING, 2),
            Strike("outage", RECOVERING, 2, 866159),
            Strike("hand_opens", RECOVERING, 2, 958511),
        ),
    ),
    "a stop that closed what a hand had turned round was booked to a position that was not there": Scene(
        733,
        4,
        SLOW,
        15,
        (
            Strike("limit_part", STANDING, 0, 130395),
            Strike("crash", EXITING, 2),
            Strike("hand_reverses", RECOVERING, 0, 268455),
            Strike("jump", STANDING, 1, 908959),
        ),
        limits=True,
    ),
}
"""Scenes that showed a fault of the program, by what it was."""


@pytest.mark.parametrize("scene", FOUND.values(), ids=FOUND.keys())
def test_what_a_scene_has_shown_once_stays_mended(tmp_path: Path, scene: Scene) -> None:
    outcome = play_scene(scene, tmp_path)
    assert not outcome.failure
    assert sum(outcome.struck.values()) == len(scene.strikes)


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=[] if part < USUAL else [pytest.mark.slow]) for part in range(PARTS)]
)
def test_random_scenes_end_in_the_exchanges_truth_with_every_position_protected(tmp_path: Path, part: int) -> None:
    for seed in range(part * PER_PART, (part + 1) * PER_PART):
        outcome = play_scene(scene_of(seed), tmp_path / str(seed))
        assert not outcome.failure, f"{outcome.scene}: {outcome.failure}"


def test_the_same_seed_sends_the_same_requests(tmp_path: Path) -> None:
    scene = Scene(
        1, 3, SLOW, 15, (Strike("crash", ENTERING), Strike("event_reorder", TRAILING), Strike("outage", OPEN))
    )
    one, two = (play_scene(scene, tmp_path / name) for name in ("one", "two"))
    assert one.log == two.log
    assert len(one.log) > 10_000


@pytest.mark.slow
def test_the_order_of_hashes_changes_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, hashlib, pathlib; from tests.fault_scenes import play_scene, scene_of; "
        "print(hashlib.sha256(play_scene(scene_of(11), pathlib.Path(sys.argv[1])).log.encode()).hexdigest())"
    )
    told = set()
    for seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, str(tmp_path / seed)]
        told.add(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout)
    assert len(told) == 1


def test_a_failure_is_told_with_the_fewest_strikes_that_make_it() -> None:
    guilty, other = Strike("late", OPEN), Strike("crash", FLAT)
    scene = Scene(0, 0, CALM, 1, (other, guilty, replace(other, skip=1)))

    def played(tried: Scene) -> Outcome:
        return Outcome(tried, Counter(), 0, [], [], None, "", "it fails" if guilty in tried.strikes else "")

    assert minimal(scene, played).strikes == (guilty,)
