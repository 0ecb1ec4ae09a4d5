"""Real processes on real sockets: the emulator, the session and its guardian; SIGKILL, a restart, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ccxt", reason="live trading needs the extra: pip install 'qtsim[live]'")
pytest.importorskip("aiohttp", reason="live trading needs the extra: pip install 'qtsim[live]'")
if sys.platform == "win32":
    pytest.skip("signals of POSIX", allow_module_level=True)

from tests.live_rehearsal import ENVIRON, make_workspace
from tests.unit.live.lines import frames_of

PATIENCE_S = 120.0
SETTINGS = """
[run]
symbols = ["BTCUSDT", "ETHUSDT"]
timeframe = "1m"
timerange = "2024-01-01T02:00:00:"
[strategy]
fast = 3
slow = 8
[exit]
base_tp = 0.04
base_sl = 0.015
[regime]
timeframe = "5m"
leader = { timeframe = "5m", ema_bars = 20 }
[costs.funding]
source = "off"
[leverage]
model = "fixed"
fixed = 3.0
[live]
wait_s = { guardian = 0.5 }
"""


@contextmanager
def process(folder: Path, *words: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A qtsim command in a workspace; it is killed at the end where it still runs."""
    out = (folder / f"{words[0]}-{time.monotonic_ns()}.out").open("w+", encoding="utf-8")
    found = subprocess.Popen(
        [sys.executable, "-m", "qtsim.cli", *words],
        cwd=folder,
        env={**os.environ, **environ},
        stdout=out,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found.output = Path(out.name)  # type: ignore[attr-defined]
    try:
        yield found
    finally:
        if found.poll() is None:
            found.kill()
            found.wait()
        out.close()


def until(what: str, ask: Any) -> Any:
    """Ask until there is an answer."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {PATIENCE_S:g} s")


def report_of(emulator: Any) -> dict[str, Any] | None:
    text = emulator.output.read_text()
    at = text.find("{")
    try:
        return dict(json.loads(text[at:])) if at >= 0 else None
    except ValueError:
        return None


def summary(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/emulator/summary", timeout=10) as answer:
        return dict(json.load(answer))


def hash_of(folder: Path, url: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "qtsim.cli", "live", "--mode", "live", "--endpoint", url, "--no-alerts"],
        cwd=folder,
        env={**os.environ, **ENVIRON},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert found.returncode == 2, found.stderr
    return found.stderr.rsplit("--confirm ", 1)[1].split()[0]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A folder; guardians that outlive their program are ended with it."""
    yield tmp_path
    for pid in _guardians(tmp_path):
        os.kill(pid, signal.SIGTERM)


def test_killed_guarded_restarted_and_ended(workspace: Path) -> None:
    tmp_path = workspace
    make_workspace(tmp_path, frames_of(["BTCUSDT", "ETHUSDT"], 700, 6))
    (tmp_path / "qtsim.toml").write_text(SETTINGS)
    with process(tmp_path, "emulator", "--speed", "40", "--port", "0", "--json") as emulator:
        url = until("the emulator listens", lambda: report_of(emulator))["rest"]
        words = ("live", "--mode", "live", "--endpoint", url, "--no-alerts", "--confirm", hash_of(tmp_path, url))
        with process(tmp_path, *words, **ENVIRON) as program:
            until("a position and its stop", lambda: summary(url)["positions"] and summary(url)["open_algos"])
            for name, value in ENVIRON.items():
                assert value not in Path(f"/proc/{program.pid}/cmdline").read_text(), name
            program.send_signal(signal.SIGKILL)
            program.wait()

            # the guardian outlives it: a stop that somebody cancels is placed again
            held = [one["symbol"] for one in summary(url)["positions"]]
            if held:
                command = json.dumps({"do": "cancel_algos", "symbol": held[0]}).encode()
                urllib.request.urlopen(f"{url}/emulator/control", data=command, timeout=10).close()
                until(
                    "the guardian's stop, or the position's end",
                    lambda: summary(url)["open_algos"] >= len(summary(url)["positions"]),
                )
        with process(tmp_path, *words, **ENVIRON) as program:
            until("the second start", lambda: "session main, epoch 2" in program.output.read_text())  # type: ignore[attr-defined]
            until("one guardian", lambda: len(_guardians(tmp_path)) == 1)
            program.send_signal(signal.SIGTERM)
            assert program.wait(timeout=PATIENCE_S) == 0
            text = program.output.read_text()  # type: ignore[attr-defined]
            assert "ended: a person ended it" in text
        found = summary(url)
        assert found["open_algos"] == len(found["positions"])
        for one in found["positions"]:
            assert f"open: {one['symbol']}" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_for_the_exchange_is_ended_in_order(workspace: Path, number: signal.Signals) -> None:
    make_workspace(workspace, frames_of(["BTCUSDT", "ETHUSDT"], 300, 6))
    (workspace / "qtsim.toml").write_text(SETTINGS)
    nobody = "http://127.0.0.1:9"
    words = ("live", "--mode", "live", "--endpoint", nobody, "--no-alerts", "--confirm", hash_of(workspace, nobody))
    with process(workspace, *words, **ENVIRON) as program:
        until("it waits", lambda: "does not answer" in program.output.read_text())  # type: ignore[attr-defined]
        program.send_signal(number)
        assert program.wait(timeout=PATIENCE_S) == 0
        text = program.output.read_text()  # type: ignore[attr-defined]
    assert "ended before trading began; what rests on the exchange stays" in text
    assert "Traceback" not in text
    assert _guardians(workspace) == []


def test_a_program_that_stood_still_is_guarded_meanwhile_and_looks_before_it_trades_on(workspace: Path) -> None:
    make_workspace(workspace, frames_of(["BTCUSDT", "ETHUSDT"], 700, 6))
    (workspace / "qtsim.toml").write_text(SETTINGS)
    events = workspace / "live" / "main" / "events.jsonl"
    with process(workspace, "emulator", "--speed", "10", "--port", "0", "--json") as emulator:
        url = until("the emulator listens", lambda: report_of(emulator))["rest"]
        words = ("live", "--mode", "live", "--endpoint", url, "--no-alerts", "--confirm", hash_of(workspace, url))
        with process(workspace, *words, **ENVIRON) as program:
            until("a position and its stop", lambda: summary(url)["positions"] and summary(url)["open_algos"])
            program.send_signal(signal.SIGSTOP)
            stood_from = time.monotonic()
            held = summary(url)["positions"]
            if held:
                command = json.dumps({"do": "cancel_algos", "symbol": held[0]["symbol"]}).encode()
                urllib.request.urlopen(f"{url}/emulator/control", data=command, timeout=10).close()
            until("the guardian's stop", lambda: summary(url)["open_algos"] >= len(summary(url)["positions"]))
            until("a pause", lambda: time.monotonic() - stood_from > 7.0)
            program.send_signal(signal.SIGCONT)
            until("it has noticed", lambda: "STALLED" in events.read_text())
            until("it trades on", lambda: json.loads((events.parent / "status.json").read_text())["state"] == "RUN")
            program.send_signal(signal.SIGTERM)
            assert program.wait(timeout=PATIENCE_S) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of another process are Linux's")
def test_a_program_whose_disk_is_full_only_leaves_positions_and_ends_in_order(workspace: Path) -> None:
    import resource

    make_workspace(workspace, frames_of(["BTCUSDT", "ETHUSDT"], 700, 6))
    (workspace / "qtsim.toml").write_text(SETTINGS)
    status = workspace / "live" / "main" / "status.json"
    with process(workspace, "emulator", "--speed", "10", "--port", "0", "--json") as emulator:
        url = until("the emulator listens", lambda: report_of(emulator))["rest"]
        words = ("live", "--mode", "live", "--endpoint", url, "--no-alerts", "--confirm", hash_of(workspace, url))
        with process(workspace, *words, **ENVIRON) as program:
            until("a position and its stop", lambda: summary(url)["positions"] and summary(url)["open_algos"])
            resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (8192, 8192))  # no file grows beyond
            until("exits only", lambda: json.loads(status.read_text())["state"] == "EXIT_ONLY")
            program.send_signal(signal.SIGTERM)
            assert program.wait(timeout=PATIENCE_S) == 0
            text = program.output.read_text()  # type: ignore[attr-defined]
        assert "journal.sqlite cannot be written" in text
        assert "Traceback" not in text
        assert summary(url)["open_algos"] >= len(summary(url)["positions"])


def _guardians(folder: Path) -> list[int]:
    """Guardians of this folder that outlived their program."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qtsim.app.guardian" in words and any(str(folder).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found
