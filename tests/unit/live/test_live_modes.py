"""How far orders may go, and what lowers it."""

from __future__ import annotations

import pytest

from qtsim.errors import UsageError
from qtsim.live.binance.hosts import DEMO, REAL, hosts_of
from qtsim.live.modes import Mode, lowered


@pytest.mark.parametrize(
    ("environ", "wanted", "left"),
    [
        ({}, Mode.LIVE, Mode.LIVE),
        ({"EXIT_EXECUTOR_MODE": "SHADOW"}, Mode.TESTNET, Mode.SHADOW),
        ({"EXIT_EXECUTOR_MODE": "DISABLED"}, Mode.TESTNET, Mode.SHADOW),
        ({"EXIT_EXECUTOR_MODE": "LIVE"}, Mode.LIVE, Mode.LIVE),
        ({"EXIT_BRAIN_V3_LIVE_ROLLOUT": "DISABLED"}, Mode.TESTNET, Mode.SHADOW),
        ({"EXIT_BRAIN_V3_LIVE_ROLLOUT": "ENABLED"}, Mode.LIVE, Mode.LIVE),
        ({"QT_PAPER_TRADING": "true"}, Mode.TESTNET, Mode.PAPER),
        ({"QT_PAPER_TRADING": "false"}, Mode.LIVE, Mode.LIVE),
        ({"STAGING_MODE": "true"}, Mode.TESTNET, Mode.TESTNET),
        ({"STAGING_MODE": "true", "QT_PAPER_TRADING": "1"}, Mode.SHADOW, Mode.PAPER),
        ({"EXIT_EXECUTOR_MODE": "SHADOW"}, Mode.PAPER, Mode.PAPER),
    ],
)
def test_the_predecessors_variables_only_lower(environ: dict[str, str], wanted: Mode, left: Mode) -> None:
    assert lowered(wanted, environ)[0] is left


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EXIT_EXECUTOR_MODE", "SHADOW"),
        ("EXIT_BRAIN_V3_LIVE_ROLLOUT", "DISABLED"),
        ("QT_PAPER_TRADING", "true"),
        ("STAGING_MODE", "true"),
    ],
)
def test_live_with_a_lowering_variable_is_refused_and_it_is_named(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"--mode live is refused: {variable}={value}"):
        lowered(Mode.LIVE, {variable: value})


def test_a_value_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="EXIT_EXECUTOR_MODE=MAYBE"):
        lowered(Mode.PAPER, {"EXIT_EXECUTOR_MODE": "maybe"})


def test_hosts_are_pinned() -> None:
    assert hosts_of("", demo=False) is REAL
    assert hosts_of("", demo=True) is DEMO
    assert hosts_of("http://127.0.0.1:8787", demo=False).is_loopback
    assert hosts_of("http://127.0.0.1:8787", demo=False).streams == "ws://127.0.0.1:8787"
    with pytest.raises(UsageError, match="only this machine"):
        hosts_of("http://example.org", demo=False)
    with pytest.raises(UsageError, match="is no address"):
        hosts_of("127.0.0.1:8787", demo=False)
