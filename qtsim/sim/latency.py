"""How long an order takes from its decision to the exchange: fixed, or with a random part drawn by its number.

A draw depends on the seed, the slot and how many orders the slot has sent, never on draws before it: what happens in
one symbol changes nothing in another.
"""

from __future__ import annotations

from qtsim.core._jit import kernel
from qtsim.core.records import Record

MODULUS = 2**31 - 1
MULTIPLIER = 48_271
"""Of the minimal standard generator (Park and Miller 1988, revised 1993); products stay below 2**47."""
ROUNDS = 4
NS_PER_MS = 1e6


@kernel
def mixed_nb(state: int, value: int) -> int:
    """Mix a number into the state of a hash, in [1, MODULUS)."""
    state = (state ^ (value & MODULUS)) % MODULUS
    for _ in range(ROUNDS):
        state = (state * MULTIPLIER + 12_345) % MODULUS
        state ^= state >> 13
    return state % (MODULUS - 1) + 1


@kernel
def uniform_nb(seed: int, slot: int, number: int) -> float:
    """A uniform in [0, 1) for the `number`-th order of a slot; the same for the same three, and no other state."""
    state = mixed_nb(mixed_nb(mixed_nb(1, seed), slot), number)
    return (state - 1) / (MODULUS - 1)


@kernel
def has_latency_nb(sim: Record) -> bool:
    """Does an order take any time?"""
    return sim["latency_ms_decision"] > 0.0 or sim["latency_ms_order"] > 0.0 or sim["latency_ms_jitter"] > 0.0


@kernel
def delay_nb(account: Record, position: Record, slot: int, params: Record) -> int:
    """ns from deciding to send the slot's next order until the exchange has it: decision + order + jitter · u."""
    sim = params["sim"]
    if not has_latency_nb(sim):
        return 0
    position["sent"] += 1
    ms = sim["latency_ms_decision"] + sim["latency_ms_order"]
    if sim["latency_ms_jitter"] > 0.0:
        ms += sim["latency_ms_jitter"] * uniform_nb(params["run"]["seed"], slot, position["sent"])
    delay = int(ms * NS_PER_MS)
    account["delayed"] += 1
    account["delay_ns"] += delay
    return delay
