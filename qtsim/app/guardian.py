"""The guardian's own process: `python -m qtsim.app.guardian FILE`, started and ended by `qtsim live`.

FILE names hosts, symbols and session; keys come from the environment, never from an argument.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from qtsim.app.credentials import read_credentials
from qtsim.data.atomic import write_atomically
from qtsim.errors import UsageError
from qtsim.live.binance.client import open_client
from qtsim.live.binance.exchange import BinanceExchange
from qtsim.live.binance.hosts import Hosts
from qtsim.live.gateway import Gateway
from qtsim.live.guardian import Guardian, read_triggers
from qtsim.live.ids import session_tag
from qtsim.live.journal import open_journal
from qtsim.live.orders import QueryFailedError
from qtsim.live.precision import filters_of
from qtsim.live.redaction import Secret
from qtsim.live.weights import Budget

CONFIG = "guardian.json"
LOG = "guardian.jsonl"
JOURNAL = "guardian.sqlite"
WAIT_S = 2.0
WEIGHT_LIMIT = 600
"""Of the account's request weight; the rest belongs to the program that it guards."""
RECV_WINDOW_MS = 2_000


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Say what is guarded: hosts, symbols, session, epoch, pace, loss. A guardian of an earlier start ends then."""
    text = json.dumps(config)
    write_atomically(folder / CONFIG, lambda target: target.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def guardian_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a guardian beside the session; it is ended with the session, and lives on where the session is killed."""
    path = folder / CONFIG
    with (folder / LOG).open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "qtsim.app.guardian", str(path)],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C of the terminal is not meant for it
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)


async def guard(folder: Path, config: dict[str, Any]) -> None:
    """Guard until the process is ended."""
    credentials = read_credentials(os.environ)
    hosts = Hosts(**config["hosts"])
    client = open_client(hosts, Secret(credentials.key), Secret(credentials.secret), recv_window_ms=RECV_WINDOW_MS)
    exchange = BinanceExchange(client, Budget(WEIGHT_LIMIT))
    symbols = list(config["symbols"])
    opened = contextlib.ExitStack()
    try:
        info = None
        while info is None:
            try:
                await exchange.sync_clock()
                info = await exchange.exchange_info()
            except QueryFailedError as error:
                _tell("GUARDIAN_WAITS", "", {"why": str(error)})
                await asyncio.sleep(2.0)
        filters = {symbol: filters_of(info[symbol]) for symbol in symbols}
        exchange.lots = {symbol: one.step for symbol, one in filters.items()}
        journal = opened.enter_context(contextlib.closing(open_journal(folder / JOURNAL)))
        guardian = Guardian(
            exchange,
            Gateway(filters),
            journal,
            session_tag(config["session"]),
            int(config["epoch"]),
            exchange.lots,
            lambda: read_triggers(folder / "protection.json"),
            float(config["max_loss"]),
            _tell,
        )
        await guardian.run(float(config["every_s"]), lambda: _is_newest(folder / CONFIG, int(config["epoch"])))
    finally:
        opened.close()
        await client.close()


async def guard_always(folder: Path, tell: Callable[[str], None]) -> None:
    """Guard whatever session was started last in a folder, from its first start on, until the process is ended.

    Raises UsageError without a key.
    """
    if not read_credentials(os.environ).are_there:
        raise UsageError("the guardian needs the session's key: BINANCE_API_KEY and BINANCE_API_SECRET, or their _FILE")
    waits = False
    while True:
        config = _config_of(folder)
        if config is None:
            if not waits:
                tell(f"no session has been started in {folder} yet; waiting for one")
            waits = True
            await asyncio.sleep(WAIT_S)
            continue
        tell(f"guarding {config['session']}, epoch {config['epoch']}: {', '.join(config['symbols'])}")
        await guard(folder, config)


def _config_of(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _is_newest(path: Path, epoch: int) -> bool:
    """Has no later start of the session brought a guardian of its own?"""
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["epoch"]) == epoch
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _tell(name: str, symbol: str, fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"event": name, "symbol": symbol, **fields}, default=str) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Entry point of the process."""
    path = Path(sys.argv[1])
    config = json.loads(path.read_text(encoding="utf-8"))
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    asyncio.run(guard(path.parent, config))


if __name__ == "__main__":
    main()
