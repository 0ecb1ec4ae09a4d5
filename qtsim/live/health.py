"""The program's health from what was measured: pure. CRITICAL stops entries; three looks in a row end the program."""

from __future__ import annotations

from dataclasses import dataclass

from qtsim.core.enums import Health

CRITICAL_IN_A_ROW = 3
REACHABLE_MS, LATENCY_MS, ERROR_SHARE, LEAST_BALANCE = 500.0, 1000.0, 0.05, 100.0
CPU_SHARE, MEMORY_SHARE, DISK_FREE_SHARE = 0.80, 0.90, 0.05
GRAVE = frozenset(("exchange", "data", "balance", "clock", "stream"))
"""Whose failing is CRITICAL: without them nothing may be opened."""


@dataclass(frozen=True)
class Measured:
    """One look. Ages in seconds, latencies in milliseconds, shares as decimals."""

    reachable: bool
    ping_ms: float
    latency_ms: float
    error_share: float
    balance: float
    clock_offset_ms: float
    data_age_s: float
    data_age_max_s: float
    stream_up: bool
    bar_age: float  # bars
    bar_age_max: float
    clock_offset_max_ms: float
    cpu_share: float = 0.0
    memory_share: float = 0.0
    disk_free_share: float = 1.0


@dataclass(frozen=True)
class Finding:
    """Something that fails, with its figure and limit."""

    what: str
    text: str


def examine(seen: Measured) -> list[Finding]:
    """Everything that fails."""
    checks: list[tuple[str, bool, str]] = [
        ("exchange", seen.reachable, "the exchange does not answer"),
        ("stream", seen.stream_up, "the account's stream is down"),
        ("data", seen.data_age_s <= seen.data_age_max_s, f"the last price is {seen.data_age_s:.1f} s old"),
        ("data", seen.bar_age <= seen.bar_age_max, f"the last bar is {seen.bar_age:.1f} bars old"),
        ("balance", seen.balance > LEAST_BALANCE, f"the balance is {seen.balance:,.2f}"),
        (
            "clock",
            abs(seen.clock_offset_ms) <= seen.clock_offset_max_ms,
            f"the clock is {seen.clock_offset_ms:+,.0f} ms off",
        ),
        ("ping", seen.ping_ms < REACHABLE_MS, f"the exchange answers in {seen.ping_ms:,.0f} ms"),
        ("latency", seen.latency_ms < LATENCY_MS, f"requests take {seen.latency_ms:,.0f} ms"),
        ("errors", seen.error_share < ERROR_SHARE, f"{seen.error_share:.1%} of the requests fail"),
        ("cpu", seen.cpu_share < CPU_SHARE, f"the processor is {seen.cpu_share:.0%} busy"),
        ("memory", seen.memory_share < MEMORY_SHARE, f"the memory is {seen.memory_share:.0%} full"),
        ("disk", seen.disk_free_share > DISK_FREE_SHARE, f"{seen.disk_free_share:.1%} of the disk is free"),
    ]
    return [Finding(what, text) for what, is_good, text in checks if not is_good]


def health_of(findings: list[Finding]) -> Health:
    """HEALTHY, DEGRADED where anything fails, CRITICAL where what trading needs fails."""
    if any(finding.what in GRAVE for finding in findings):
        return Health.CRITICAL
    return Health.DEGRADED if findings else Health.HEALTHY
