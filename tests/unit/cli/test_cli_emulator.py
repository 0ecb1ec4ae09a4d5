"""`qtsim emulator` as people and programs use it: what it prints, how it ends, what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.made_workspace import Run, assert_refused

pytest.importorskip("aiohttp", reason="needs the extra live")

Spawn = Callable[..., "subprocess.Popen[str]"]
BTC = ("emulator", "-p", "BTCUSDT", "-i", "1h", "--port", "0")
BAD: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "two paces": (("--lockstep", "--speed", "60"), ("--lockstep", "--speed", "contradict")),
    "speed": (("--speed", "-1"), ("--speed -1", "above 0")),
    "host": (("--host", "0.0.0.0"), ("--host 0.0.0.0", "loopback only")),
    "no plan": (("--faults", "none.toml"), ("none.toml", "cannot read")),
    "slippage": (("--set", "costs.slippage.model=impact"), ("costs.slippage.model = impact", "fixed")),
    "symbol": (("-p", "NOPEUSDT"), ("NOPEUSDT",)),
    "period": (("--timerange", "20300101-"), ("20300101", "2024-01-13")),
    "data": (("--data", "elsewhere"), ("BTCUSDT",)),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_requests_are_refused(case: tuple[tuple[str, ...], tuple[str, ...]], qtsim: Run) -> None:
    words, said = case
    assert_refused(qtsim(*BTC, *words), 2, *said)


def test_a_bad_plan_is_refused_by_its_name(qtsim: Run, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("rates = { drop = 1 }\n", encoding="utf-8")
    assert_refused(qtsim(*BTC, "--faults", "plan.toml"), 2, "plan.toml", "fault rate 'drop'", "drop_before")


def test_without_aiohttp_it_says_what_to_install(qtsim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert_refused(qtsim(*BTC), 2, "pip install 'qtsim[live]'")


def test_it_ends_with_the_data_where_that_is_asked_for(qtsim: Run) -> None:
    answer = qtsim(*BTC, "--timerange", "2024-01-05T00:00:2024-01-05T03:00", "--speed", "100000", "--exit")
    assert answer.code == 0, answer.said
    assert "emulator   http://127.0.0.1:" in answer.out
    assert "the data ended 2024-01-05 03:00" in answer.err
    assert "0 fills, wallet 10,000.00" in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_asked_to_stop(number: signal.Signals, qtsim: Run, spawn: Spawn) -> None:
    child = spawn(*BTC, "--lockstep", "--seed", "3")
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(7)]
    try:
        said = dict(line.split(maxsplit=1) for line in lines)
        url = said["emulator"].split()[0]
        assert said["account"].strip() == "10,000.00 USDT · key emulator-key · secret emulator-secret"
        assert said["lockstep"].strip() == f"{url.replace('http', 'ws')}/lockstep"
        assert f"qtsim live --mode live --endpoint {url}" in said["next"]
        info = ask(f"{url}/fapi/v1/exchangeInfo")
        assert [symbol["symbol"] for symbol in info["symbols"]] == ["BTCUSDT"]
        command = {"do": "trade", "symbol": "BTCUSDT", "qty": "1"}
        assert ask(said["control"].strip(), command) == {"result": None}
    finally:
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    assert "1 fills" in err
    assert "Traceback" not in err


def test_json_for_programs(qtsim: Run) -> None:
    period = ("--timerange", "2024-01-05T00:00:2024-01-05T01:00")
    answer = qtsim(*BTC, *period, "--speed", "100000", "--exit", "--json")
    found = json.loads(answer.out)
    assert found["symbols"] == ["BTCUSDT"]
    assert found["rest"].startswith("http://127.0.0.1:")
    assert len(found["streams"]) == 3


def ask(url: str, command: dict[str, Any] | None = None) -> Any:
    """GET, or POST a command, without the environment's proxies."""
    body = None if command is None else json.dumps(command).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=body), timeout=20) as answer:
        return json.loads(answer.read())
