"""The agent of sizing model rl beside a session: it chooses, waits for outcomes, and learns them at the next signal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qtsim.core.params import LESSONS_MAX, RL_ACTIONS
from qtsim.core.records import Record, Records
from qtsim.core.rl_sizing import (
    DEFAULT_ACTION,
    best_value_nb,
    choose_nb,
    entry_state_nb,
    reward_nb,
    update_nb,
)


@dataclass(frozen=True)
class Request:
    """What an entry was decided on: symbol, side, bar of its signal, and the account at that instant."""

    symbol: int
    side: int
    bar: int
    ts: int
    equity: float
    margin_used: float
    available: float


@dataclass
class Lesson:
    """An outcome of one action that is known from `exit_ts` on; `exit_ts` None: not known yet."""

    state: int
    action: int
    exit_ts: int | None
    reward: float


@dataclass
class Pupil:
    """What waits to be learnt from one symbol's signals: by decision, and the action taken last."""

    waiting: deque[list[Lesson]] = field(default_factory=deque)
    own: Lesson | None = None
    equity: float = 0.0


Teacher = Callable[[Request, int], tuple[int, float]]
"""Replays a request under an action: (exit time, reward). A backtest has one, live trading has none."""


class Learner:
    """Chooses an action for each approved signal; with `learns` set in the agent it updates the tables too."""

    def __init__(
        self,
        agent: Records,
        draws: npt.NDArray[np.float64],
        n_symbols: int,
        params: Records,
        *,
        teacher: Teacher | None = None,
        instant_is_known: bool = True,
    ) -> None:
        """agent: agent_dt[1], changed in place; draws: uniforms, two per decision; params: params_dt[1].

        instant_is_known: False where a decision at an instant comes before that instant's last price.
        """
        self.agent = agent
        self.draws = draws
        self.params: Record = params[0]
        self.teacher = teacher
        self.instant_is_known = instant_is_known
        self.pupils = [Pupil() for _ in range(n_symbols)]

    @property
    def learns(self) -> bool:
        """Is this training?"""
        return bool(self.agent["learns"][0] == 1)

    def decide(self, i: int, ts: int, plan: Record, account: Record, crowd: Record, equity: float) -> None:
        """Choose the action of a plan that the gates have let through, after learning what has become known."""
        sizing = self.params["sizing"]
        state = entry_state_nb(plan, account, crowd, equity, self.params)
        if self.learns:
            self._learn(i, state, ts if self.instant_is_known else ts - 1)
        action = choose_nb(
            self.agent[0]["q"],
            self.agent[0]["visits"],
            state,
            DEFAULT_ACTION,
            self.draws,
            int(self.agent["decisions"][0]),
            float(sizing["rl_epsilon"]) if self.learns else 0.0,
            int(sizing["rl_min_visits"]),
        )
        self.agent["decisions"] += 1
        plan["has_action"], plan["rl_state"], plan["rl_action"] = 1, state, action
        if self.learns:
            # until it is entered, and where it never is, the action has brought nothing
            self.pupils[i].own = Lesson(state, action, ts, 0.0)
            self.pupils[i].equity = equity

    def teach(self, request: Request, plan: Record) -> None:
        """Replay a decided request under every action but the one taken."""
        if not self.learns or self.teacher is None:
            return
        waiting = self.pupils[request.symbol].waiting
        if len(waiting) == LESSONS_MAX:
            self.agent["forgotten"] += len(waiting.popleft())
        state, taken = int(plan["rl_state"]), int(plan["rl_action"])
        others = [action for action in range(RL_ACTIONS) if action != taken]
        waiting.append([Lesson(state, action, *self.teacher(request, action)) for action in others])

    def note_entry(self, i: int) -> None:
        """The action taken last has become a trade: its reward is known when that ends."""
        own = self.pupils[i].own
        if own is not None:
            own.exit_ts = None

    def note_trade(self, i: int, ts: int, net: float) -> None:
        """The trade of the action taken last has ended."""
        own = self.pupils[i].own
        if own is not None and own.exit_ts is None:
            own.exit_ts = ts
            own.reward = reward_nb(net, self.pupils[i].equity)

    def _learn(self, i: int, next_state: int, known: int) -> None:
        pupil = self.pupils[i]
        value = best_value_nb(self.agent[0]["q"], next_state)
        for lessons in pupil.waiting:
            for lesson in list(lessons):
                if lesson.exit_ts is not None and lesson.exit_ts <= known:
                    self._update(lesson, value)
                    lessons.remove(lesson)
        if pupil.own is not None and pupil.own.exit_ts is not None:
            self._update(pupil.own, value)
            pupil.own = None

    def _update(self, lesson: Lesson, value: float) -> None:
        sizing = self.params["sizing"]
        update_nb(
            self.agent[0]["q"],
            self.agent[0]["visits"],
            lesson.state,
            lesson.action,
            lesson.reward,
            value,
            float(sizing["rl_alpha"]),
            float(sizing["rl_gamma"]),
        )
