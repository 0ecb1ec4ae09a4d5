"""Does a live session stay flat and quick? Hours of trading against the emulator, at real-time pace.

    python benchmarks/soak.py [--hours 2] [--symbols 5] [--out soak] [--every 30]

Starts `qtsim emulator` and `qtsim live` as processes of their own, in a workspace of its own. The market is the
store's one-minute bars where it has them for that many symbols over the whole time, else generated ones, which is said.
Levels are narrow and the averages short, so that entries, legs, stops and hard stops come all the time.

Every sample goes to OUT/samples.csv as it is taken: memory (resident, and what no other process shares), descriptors
and processor time of program and guardian, size of the journal, orders, trades, latencies as the program itself
measures them, and the machine's load, because other work on the machine shows in processor time and latency. At the
end a table with slopes (Theil-Sen, after the warm-up) is printed and the verdict: memory grows by less than 2 MB an
hour, descriptors do not grow, the program takes less than 20 % of one core, and 99 % of the requests leave
within 5 ms of the price that they were decided on. Exit code 1 where one of them does not hold.
On a machine that does other work, `--prefer` keeps that out of the latency, and a folder in memory
(`--out /dev/shm/soak`) keeps other work's disk out of it; the table says how busy both were. `--read OUT` gives the
table of a run that goes on, or was interrupted.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

import numpy as np
import pandas as pd

from qtsim.app.api import open_store
from qtsim.app.live import JOURNAL, STATUS, state_folder
from qtsim.app.workspace import Workspace, find_workspace, settings_of
from qtsim.data.frames import make_frame, times_of
from qtsim.data.store import Store
from qtsim.data.timeframes import MINUTE
from qtsim.emulator.exchange import DEFAULT_KEY

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "LINKUSDT")
PRICES = (60_000.0, 3_000.0, 150.0, 600.0, 2.5, 0.2, 0.8, 15.0)
WARM_UP_S = 600.0
WARM_UP_SHARE = 0.2
HISTORY_BARS = 5_000
SPARE_BARS = 30
MEMORY_MB_PER_HOUR = 2.0
CPU_SHARE = 0.20
LATENCY_MS = 5.0
PATIENCE_S = 300.0
FIGURES = (
    ("latency", "price to request", "decided"),
    ("disk", "of it the disk", "committed"),
    ("unprotected", "fill to stop", "stops"),
)
SETTINGS = """
[run]
strategy = "ema_cross"
symbols = {symbols}
timeframe = "1m"
timerange = "{start}:"
[strategy]
fast = 2
slow = 5
adx_min = 0.0
[account]
balance = 1000000.0
[exit]
base_tp = 0.0008
base_sl = 0.0022
on_opposite_signal = "close"
[exit.levels.tp]
min = 0.0003
[exit.stops.trail]
mode = "percent"
activate = 0.0008
distance = 0.0008
[exit.stops.hard]
distance = 0.0026
[exit.stops.backup]
enabled = true
[leverage]
model = "fixed"
fixed = 3.0
[sizing]
model = "notional"
notional = 20000.0
[gates]
enabled = false
[governor.shutdown]
drawdown = 0.9
[governor]
daily_drawdown = 0.9
"""


@dataclass
class Started:
    """A process and where its words go."""

    process: subprocess.Popen[bytes]
    output: Path


@contextmanager
def started(folder: Path, name: str, *words: str, **environ: str) -> Iterator[Started]:
    """A qtsim command in the workspace; ended in order at the end, killed where it does not."""
    output = folder / f"{name}.out"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "qtsim.cli", *words],
            cwd=folder,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield Started(process, output)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(60.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# the market ----------------------------------------------------------------------------------------------------------


def stored_bars(count: int, minutes: int) -> dict[str, pd.DataFrame]:
    """One-minute bars of the user's store that cover the time and some history; empty where they do not."""
    workspace = find_workspace()
    store = open_store(workspace, settings_of(workspace))
    chosen = [symbol for symbol in SYMBOLS if store.find(symbol, "1m") is not None][:count]
    if len(chosen) < count:
        return {}
    frames = {symbol: store.read_bars(symbol, "1m") for symbol in chosen}
    end = min(int(times_of(frame)[-1]) for frame in frames.values())
    first = max(int(times_of(frame)[0]) for frame in frames.values())
    wanted = (minutes + SPARE_BARS + HISTORY_BARS) * MINUTE
    if end - first < wanted:
        return {}
    found = {symbol: frame[times_of(frame) > end - wanted] for symbol, frame in frames.items()}
    return found if all(len(frame) >= 0.99 * wanted / MINUTE for frame in found.values()) else {}


def generated_bars(count: int, minutes: int, seed: int = 1) -> dict[str, pd.DataFrame]:
    """Random walks with minutes of 8 bps, from 2024 on."""
    rng, bars = np.random.default_rng(seed), minutes + SPARE_BARS + HISTORY_BARS
    start = int(pd.Timestamp("2024-01-01", tz="UTC").value)
    found = {}
    for symbol, price in list(zip(SYMBOLS, PRICES, strict=True))[:count]:
        close = price * np.exp(np.cumsum(rng.normal(0.0, 8e-4, bars)))
        opened = np.concatenate([[price], close[:-1]])
        reach = np.abs(rng.normal(0.0, 4e-4, (2, bars)))
        found[symbol] = make_frame(
            start + MINUTE * np.arange(bars, dtype=np.int64),
            {
                "open": opened,
                "high": np.maximum(opened, close) * (1.0 + reach[0]),
                "low": np.minimum(opened, close) * (1.0 - reach[1]),
                "close": close,
                "volume": rng.uniform(10.0, 1000.0, bars),
            },
        )
    return found


def make_workspace(root: Path, frames: dict[str, pd.DataFrame], minutes: int) -> Workspace:
    """A workspace whose store holds these bars, with the settings of the soak."""
    root.mkdir(parents=True, exist_ok=True)
    end = min(int(times_of(frame)[-1]) for frame in frames.values()) + MINUTE
    start = pd.Timestamp(end - (minutes + SPARE_BARS) * MINUTE).strftime("%Y-%m-%dT%H:%M:%S")
    symbols = json.dumps(sorted(frames))
    (root / "qtsim.toml").write_text(SETTINGS.format(symbols=symbols, start=start), encoding="utf-8")
    workspace = Workspace(root)
    store: Store = open_store(workspace, settings_of(workspace))
    for symbol, frame in frames.items():
        store.write_bars(symbol, "1m", frame, source="soak")
    return workspace


# processes -----------------------------------------------------------------------------------------------------------


def memory_kb(pid: int) -> tuple[int, int]:
    """Resident memory, and the part of it that no other process shares, kB; 0 where the process has gone."""
    found = {"Rss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0])
    except OSError:
        return 0, 0
    return found["Rss"], found["Private_Clean"] + found["Private_Dirty"]


def open_files(pid: int) -> int:
    """Open descriptors; 0 where the process has gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def cpu_s(pid: int) -> float:
    """Processor time, user and system, s; 0 where the process has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, float]:
    """Load average over a minute, and processor time since boot: all, idle, and taken by other machines, s."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields[:8]]
    return {"load": os.getloadavg()[0], "all_cpu": sum(ticks), "idle_cpu": ticks[3], "steal_cpu": ticks[7]}


def sync_ms(folder: Path) -> float:
    """How long the disk takes to keep one page now: what every order waits for before it leaves."""
    probe = folder / "probe"
    began = time.perf_counter()
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(handle, bytes(4096))
        os.fsync(handle)
    finally:
        os.close(handle)
    return (time.perf_counter() - began) * 1e3


def queued_s(pid: int) -> float:
    """How long the main thread was ready and waited for a processor, s: what other work on the machine cost it."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def guardian_of(folder: Path) -> int:
    """The guardian's process; 0 where there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qtsim.app.guardian" in words and any(str(folder).encode() in word for word in words):
            return int(path.parent.name)
    return 0


def asked(url: str, path: str) -> dict[str, Any]:
    """A question to the emulator's own pages."""
    with urlopen(f"{url}/emulator/{path}", timeout=10) as answer:
        return dict(json.load(answer))


def wait_for(what: str, ask: Any) -> Any:
    """Ask until there is an answer."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.5)
    raise SystemExit(f"{what}: not within {PATIENCE_S:g} s")


def url_of(emulator: Started) -> str | None:
    """Where the emulator listens, once it has said so."""
    text = emulator.output.read_text(encoding="utf-8")
    at = text.find("{")
    try:
        return str(json.loads(text[at:])["rest"]) if at >= 0 else None
    except ValueError:
        return None


def hash_of(folder: Path, url: str, environ: dict[str, str]) -> str:
    """The hash of these settings, which `--confirm` wants."""
    words = [sys.executable, "-m", "qtsim.cli", "live", "--mode", "live", "--endpoint", url, "--no-alerts"]
    found = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if "--confirm " not in found.stderr:
        raise SystemExit(found.stderr)
    return found.stderr.rsplit("--confirm ", 1)[1].split()[0]


# samples -------------------------------------------------------------------------------------------------------------


def status_of(folder: Path) -> dict[str, Any]:
    """What the program wrote last; empty before that."""
    try:
        return dict(json.loads((folder / STATUS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def sample(began: float, program: int, guardian: int, folder: Path, url: str) -> dict[str, float]:
    """Everything that is measured, at one moment."""
    status, summary = status_of(folder), asked(url, "summary")
    rss, own = memory_kb(program)
    guardian_rss, guardian_own = memory_kb(guardian)
    took: dict[str, float] = {}
    for kind, _, count in FIGURES:
        found = status.get(f"{kind}_ms", {})
        took[count] = found.get("count", 0)
        took |= {f"{kind}_{part}": found.get(part, 0.0) for part in ("p50", "p99", "max")}
    journal = sum(path.stat().st_size for path in folder.glob(f"{JOURNAL}*"))
    events = folder / "events.jsonl"
    values = {
        "s": time.monotonic() - began,
        "rss_kb": rss,
        "own_kb": own,
        "files": open_files(program),
        "cpu_s": cpu_s(program),
        "queued_s": queued_s(program),
        "sync_ms": sync_ms(folder),
        "guardian_rss_kb": guardian_rss,
        "guardian_own_kb": guardian_own,
        "guardian_files": open_files(guardian),
        "guardian_cpu_s": cpu_s(guardian),
        "journal_kb": journal // 1024,
        "events_kb": events.stat().st_size // 1024 if events.exists() else 0,
        "requests": status.get("requests", 0),
        "trades": sum(one["trades"] for one in status.get("pnl", {}).values()),
        "positions": len(status.get("positions", [])),
        "fills": summary["trades"],
    }
    return {**values, **took, **machine()}


def watch(out: IO[str], program: Started, folder: Path, url: str, seconds: float, every: float) -> None:
    """Sample until the time is over, or the program has ended."""
    began, writer = time.monotonic(), None
    while time.monotonic() - began < seconds:
        row = sample(began, program.process.pid, guardian_of(folder), folder, url)
        if writer is None:
            writer = csv.DictWriter(out, list(row))
            writer.writeheader()
        writer.writerow({name: round(value, 3) for name, value in row.items()})
        out.flush()
        if program.process.poll() is not None:
            raise SystemExit(f"the program ended by itself:\n{program.output.read_text(encoding='utf-8')[-2000:]}")
        time.sleep(every)


# what it comes to ----------------------------------------------------------------------------------------------------


def slope(x: list[float], y: list[float]) -> float:
    """The median of the slopes of all pairs (Theil and Sen): what a single outlier does not move."""
    found = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(zip(x, y, strict=True), 2) if b[0] > a[0]]
    return statistics.median(found) if found else 0.0


def report(path: Path) -> bool:
    """Print the table and the verdicts of what has been sampled. Returns whether all hold."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    if len(rows) < 3:
        raise SystemExit(f"{path}: {len(rows)} samples are too few")
    first, last = rows[0], rows[-1]
    warm = [row for row in rows if row["s"] >= min(WARM_UP_S, WARM_UP_SHARE * last["s"])]
    hours = [row["s"] / 3600.0 for row in warm]
    took = warm[-1]["s"] - warm[0]["s"]

    def per_hour(name: str) -> float:
        return slope(hours, [row[name] for row in warm])

    def share(name: str) -> float:
        return (warm[-1][name] - warm[0][name]) / took

    machine_s = last["all_cpu"] - first["all_cpu"]
    busy = 1.0 - (last["idle_cpu"] - first["idle_cpu"]) / machine_s
    steal = (last["steal_cpu"] - first["steal_cpu"]) / machine_s
    print(f"{last['s'] / 3600.0:.2f} h, {len(rows)} samples; slopes after {warm[0]['s'] / 60.0:.0f} min")
    for name, who in (("", "program"), ("guardian_", "guardian")):
        mb = [row[f"{name}own_kb"] / 1024.0 for row in warm]
        print(
            f"{who:9} own memory {mb[0]:7.1f} → {mb[-1]:7.1f} MB ({per_hour(f'{name}own_kb') / 1024.0:+.2f} MB/h)"
            f" · resident {per_hour(f'{name}rss_kb') / 1024.0:+.2f} MB/h"
            f" · descriptors {warm[0][f'{name}files']:.0f} → {warm[-1][f'{name}files']:.0f}"
            f" ({per_hour(f'{name}files'):+.2f}/h) · {share(f'{name}cpu_s'):.1%} of a core"
        )
    print(
        f"traded    {last['trades']:.0f} trades, {last['fills']:.0f} fills, {last['requests']:.0f} requests;"
        f" journal {per_hour('journal_kb') / 1024.0:+.1f} MB/h, events {per_hour('events_kb') / 1024.0:+.1f} MB/h"
    )
    for name, text, count in FIGURES:
        if count not in last:
            continue  # samples of an older version
        figures = (last[f"{name}_{part}"] for part in ("p50", "p99", "max"))
        shown = " · ".join(f"{part} {ms:.1f}" for part, ms in zip(("p50", "p99", "max"), figures, strict=True))
        print(f"{text:17} {shown} ms, of {last[count]:.0f}")
    loads = [row["load"] for row in rows]
    synced = sorted(row.get("sync_ms", math.nan) for row in rows)
    print(
        f"machine   load {statistics.median(loads):.2f} (median), {max(loads):.2f} (most) on {os.cpu_count()} cores,"
        f" {busy:.0%} busy, {steal:.1%} taken by other machines; the program was ready and waited"
        f" {share('queued_s'):.2%} of the time; the disk kept a page in {statistics.median(synced):.1f} ms (median),"
        f" {synced[-1]:.1f} ms (most)"
    )
    verdicts = {
        f"memory grows by less than {MEMORY_MB_PER_HOUR:g} MB/h": per_hour("own_kb") / 1024.0 < MEMORY_MB_PER_HOUR,
        "descriptors do not grow": per_hour("files") <= 0.0 and warm[-1]["files"] <= warm[0]["files"] + 2,
        f"less than {CPU_SHARE:.0%} of a core": share("cpu_s") < CPU_SHARE,
        f"p99 from price to request below {LATENCY_MS:g} ms": 0.0 < last["latency_p99"] < LATENCY_MS,
    }
    for text, holds in verdicts.items():
        print(f"{'holds' if holds else 'FAILS'}     {text}")
    return all(verdicts.values())


def prefer(*pids: int) -> None:
    """Let processes run whenever they are ready: real-time priority, which takes the right to give it."""
    for pid in pids:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def soak(hours: float, symbols: int, out: Path, every: float, *, preferred: bool) -> bool:
    """Play, sample, report."""
    minutes = int(hours * 60.0) + 1
    frames = stored_bars(symbols, minutes)
    print(f"market: {'one-minute bars of the store' if frames else 'generated bars'}, into {out}", flush=True)
    root = out / "workspace"
    workspace = make_workspace(root, frames or generated_bars(symbols, minutes), minutes)
    folder = state_folder(workspace, settings_of(workspace).settings.live.session)
    keys = {"BINANCE_API_KEY": DEFAULT_KEY.key, "BINANCE_API_SECRET": DEFAULT_KEY.secret}
    with started(root, "emulator", "emulator", "--port", "0", "--json") as emulator:
        url = wait_for("the emulator", lambda: url_of(emulator))
        words = ("live", "--mode", "live", "--endpoint", url, "--no-alerts", "--confirm", hash_of(root, url, keys))
        with (
            started(root, "live", *words, **keys) as program,
            (out / "samples.csv").open("w", encoding="utf-8", newline="") as file,
        ):
            wait_for("the session", lambda: status_of(folder) or program.process.poll() is not None)
            if preferred:
                prefer(emulator.process.pid, program.process.pid)
            watch(file, program, folder, url, hours * 3600.0, every)
    return report(out / "samples.csv")


def main() -> None:
    """Parse the command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--symbols", type=int, default=5, choices=range(1, len(SYMBOLS) + 1))
    parser.add_argument("--out", type=Path, default=Path("soak"), help="folder of the samples and the workspace")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between samples")
    parser.add_argument("--prefer", action="store_true", help="real-time priority, on a machine that does other work")
    parser.add_argument("--read", type=Path, metavar="OUT", help="only show what has been sampled")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # what was started ends with it
    if given.read is not None:
        sys.exit(0 if report(given.read / "samples.csv") else 1)
    out = given.out.resolve()
    if (out / "samples.csv").exists():
        parser.error(f"{out} has samples already; name another folder, or read them with --read")
    sys.exit(0 if soak(given.hours, given.symbols, out, given.every, preferred=given.prefer) else 1)


if __name__ == "__main__":
    main()
