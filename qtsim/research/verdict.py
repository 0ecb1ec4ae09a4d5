"""What a sweep proves: ROBUST, FRAGILE or NOISE.

NOISE    the recommended trial lost, or it is no more than what as many trials show by luck: a deflated Sharpe ratio
         below 0.95, a probability of overfitting of one half or more, or a test for superior ability at 0.05 or above.
FRAGILE  more than luck, but it depends on the exact parameters or on one time: a trial in its neighbourhood lost, it
         gained in fewer than five of eight equal stretches of the period, or its plateau has fewer than four trials.
ROBUST   neither.

A measure that cannot be computed decides nothing, and is named as not computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

ROBUST, FRAGILE, NOISE, NOTHING = "ROBUST", "FRAGILE", "NOISE", "NOTHING"
SHARPE_NEEDED = 0.95
OVERFITTING_ALLOWED = 0.5
SUPERIORITY_NEEDED = 0.05
FOLDS = 8
FOLDS_NEEDED = 5
MEMBERS_NEEDED = 4


@dataclass(frozen=True)
class Evidence:
    """What the verdict is made of. NaN: not computed."""

    trials: int  # of this sweep
    different: int
    independent: float  # that the different ones amount to
    ever: int  # made of this strategy family on this data set, this sweep's included
    total_return: float  # of the recommended trial
    deflated_sharpe: float
    peak_deflated_sharpe: float
    overfitting: float
    superiority: float  # p-value, consistent
    superiority_trials: int
    worst_neighbour: float  # lowest Total Return in the neighbourhood of the recommended trial
    folds: tuple[float, ...]  # sum of daily returns in each stretch
    members: int  # of the plateau
    not_computed: Mapping[str, str] = field(default_factory=dict)  # measure → why

    @property
    def folds_won(self) -> int:
        """Stretches in which the recommended trial gained."""
        return sum(gain > 0.0 for gain in self.folds)


@dataclass(frozen=True)
class Verdict:
    """One word, and why."""

    word: str
    reasons: tuple[str, ...]
    evidence: Evidence

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        return f"{self.word}: {'; '.join(self.reasons)}"

    def __str__(self) -> str:
        return self.sentence


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a sweep that has a recommended trial."""
    luck = list(_what_luck_explains(evidence))
    if luck:
        return Verdict(NOISE, tuple(luck), evidence)
    breaks = list(_what_breaks_it(evidence))
    if breaks:
        return Verdict(FRAGILE, tuple(breaks), evidence)
    return Verdict(ROBUST, (_strength(evidence),), evidence)


def _what_luck_explains(evidence: Evidence) -> list[str]:
    reasons = []
    if not evidence.total_return > 0.0:
        reasons.append(f"the recommended trial lost {-100.0 * evidence.total_return:.2f} %")
    if evidence.deflated_sharpe < SHARPE_NEEDED:
        reasons.append(
            f"deflated Sharpe {evidence.deflated_sharpe:.2f} after {evidence.ever:,} trials ({SHARPE_NEEDED} needed)"
        )
    if evidence.overfitting >= OVERFITTING_ALLOWED:
        reasons.append(
            f"what was best in one half of the time was in the worse half of all trials in the other half "
            f"{100.0 * evidence.overfitting:.0f} % of the time"
        )
    if evidence.superiority >= SUPERIORITY_NEEDED:
        reasons.append(f"not better than cash by the test for superior ability (p = {evidence.superiority:.2f})")
    return reasons


def _what_breaks_it(evidence: Evidence) -> list[str]:
    reasons = []
    if evidence.worst_neighbour <= 0.0:
        reasons.append(f"a neighbour of the recommended trial lost {-100.0 * evidence.worst_neighbour:.2f} %")
    if evidence.folds and evidence.folds_won < FOLDS_NEEDED:
        reasons.append(f"it gained in {evidence.folds_won} of {len(evidence.folds)} stretches of the period")
    if evidence.members < MEMBERS_NEEDED:
        reasons.append(f"its plateau has {evidence.members} trial{'s' if evidence.members != 1 else ''}")
    return reasons


def _strength(evidence: Evidence) -> str:
    parts = [f"a plateau of {evidence.members:,} trials, none of the neighbours lost"]
    if not math.isnan(evidence.deflated_sharpe):
        parts.append(f"deflated Sharpe {evidence.deflated_sharpe:.2f} after {evidence.ever:,} trials")
    parts.append(f"gains in {evidence.folds_won} of {len(evidence.folds)} stretches of the period")
    return ", ".join(parts)
