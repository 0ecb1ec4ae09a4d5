"""Commands beside a session, with or without it: orders, kill, resume, status, and what `doctor` asks."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qtsim.app.credentials import read_credentials
from qtsim.app.live import JOURNAL, RECV_WINDOW_MS, STATUS, state_folder
from qtsim.app.workspace import Workspace
from qtsim.config.settings import Settings
from qtsim.data.symbols import normalize_symbol
from qtsim.errors import DataError, QtsimError, UsageError
from qtsim.live.binance.client import open_client
from qtsim.live.binance.exchange import BinanceExchange
from qtsim.live.binance.hosts import Hosts, hosts_of
from qtsim.live.commands import Command, leave_command
from qtsim.live.ids import ClientId, is_ours, parse_client_id, session_tag
from qtsim.live.journal import Intent, open_journal
from qtsim.live.kinds import Module, OrderKind
from qtsim.live.lock import is_locked, take_lock
from qtsim.live.orders import OrderRequest, QueryFailedError
from qtsim.live.outcomes import Outcome
from qtsim.live.permissions import FORBIDDEN
from qtsim.live.precision import filters_of
from qtsim.live.reconcile import covers
from qtsim.live.redaction import Secret
from qtsim.live.snapshot import Held, Resting, Snapshot
from qtsim.live.weights import Budget

T = TypeVar("T")
MS = 1_000_000


@dataclass(frozen=True)
class Access:
    """How commands reach the account of a session."""

    workspace: Workspace
    settings: Settings
    hosts: Hosts
    environ: Mapping[str, str]
    mixins: tuple[type, ...] = ()
    client_values: Mapping[str, Any] | None = None

    @property
    def folder(self) -> Path:
        """The session's state."""
        return state_folder(self.workspace, self.settings.live.session)

    @property
    def tag(self) -> str:
        """Of the session's client ids."""
        return session_tag(self.settings.live.session)


def access_of(
    workspace: Workspace,
    settings: Settings,
    *,
    endpoint: str = "",
    mode: str = "",
    environ: Mapping[str, str] | None = None,
) -> Access:
    """Access to the account of a session; `testnet` is demo trading's."""
    wanted = mode or settings.live.mode
    hosts = hosts_of(endpoint or settings.live.endpoint, demo=wanted == "testnet")
    return Access(workspace, settings, hosts, os.environ if environ is None else environ)


async def with_exchange(access: Access, work: Callable[[BinanceExchange], Awaitable[T]]) -> T:
    """Do something with a signed connection. Raises UsageError without a key, QtsimError where nobody answers."""
    found = read_credentials(access.environ)
    if not found.are_there:
        raise UsageError("this needs a key: set BINANCE_API_KEY and BINANCE_API_SECRET, or their _FILE variables")
    client = open_client(
        access.hosts,
        Secret(found.key),
        Secret(found.secret),
        recv_window_ms=RECV_WINDOW_MS,
        mixins=access.mixins,
        **(access.client_values or {}),
    )
    exchange = BinanceExchange(client, Budget())
    try:
        await exchange.sync_clock()
        info = await exchange.exchange_info()
        exchange.lots = {symbol: filters_of(entry).step for symbol, entry in info.items() if _has_filters(entry)}
        return await work(exchange)
    except QueryFailedError as error:
        raise QtsimError(f"{access.hosts.rest}: {error}") from None
    finally:
        await client.close()


def _has_filters(entry: Mapping[str, Any]) -> bool:
    return {"PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "MIN_NOTIONAL"} <= {
        str(one.get("filterType")) for one in entry.get("filters", [])
    }


# status --------------------------------------------------------------------------------------------------------------


def read_status(access: Access, place: str = "") -> dict[str, Any]:
    """What the session wrote last, and whether it runs. place: SYMBOL or SYMBOL:SIDE.

    Raises
    ------
    UsageError
        No session of this name has run here, or it holds no such position.
    """
    path = access.folder / STATUS
    try:
        status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"session {access.settings.live.session} has not run in {access.workspace.root}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    status["running"] = is_locked(access.folder)
    if place:
        name, _, side = place.partition(":")
        symbol = normalize_symbol(name)
        wanted = [one for one in status["positions"] if one["symbol"] == symbol and side.upper() in ("", one["side"])]
        if not wanted:
            raise UsageError(f"no position {place}; open are {_names(status) or 'none'}")
        status["positions"] = wanted
        status["journal"] = recent_decisions(access, symbol)
    return status


def _names(status: Mapping[str, Any]) -> str:
    return ", ".join(f"{one['symbol']}:{one['side']}" for one in status["positions"])


def recent_decisions(access: Access, symbol: str, count: int = 20) -> list[dict[str, Any]]:
    """The last intents of a symbol."""
    journal = open_journal(access.folder / JOURNAL, read_only=True)
    try:
        rows = [one for one in journal.intents() if one.symbol == symbol][-count:]
        return [
            {"time": one.ts // MS, "kind": one.kind, "module": one.module, "lots": one.lots, "id": one.client_id}
            for one in rows
        ]
    finally:
        journal.close()


# orders --------------------------------------------------------------------------------------------------------------


async def list_orders(access: Access) -> list[dict[str, Any]]:
    """Open orders of both worlds, whose they are, and which protect a position."""

    async def work(exchange: BinanceExchange) -> list[dict[str, Any]]:
        snapshot = await exchange.snapshot([], {})
        held = await _held(exchange)
        return [_order_row(order, access.tag, held, snapshot) for order in snapshot.orders]

    return await with_exchange(access, work)


async def cancel_orders(
    access: Access, symbol: str = "", *, include_protection: bool = False, others: bool = False
) -> tuple[list[dict[str, Any]], list[str]]:
    """Cancel this session's open orders; an open position's stop only where that is asked for.

    Returns the orders that were cancelled, and why others were left.
    """

    async def work(exchange: BinanceExchange) -> tuple[list[dict[str, Any]], list[str]]:
        snapshot = await exchange.snapshot([], {})
        held = await _held(exchange)
        done, left = [], []
        for order in snapshot.orders:
            row = _order_row(order, access.tag, held, snapshot)
            if symbol and order.symbol != normalize_symbol(symbol):
                continue
            if not row["ours"] and not others:
                left.append(f"{order.symbol} {order.client_id}: not this session's (--others)")
                continue
            if row["protects"] and not include_protection:
                left.append(f"{order.symbol} {order.client_id}: protects a position (--include-protection)")
                continue
            reply = await exchange.cancel(order)
            (done.append(row) if reply.outcome is Outcome.ACK else left.append(f"{order.client_id}: {reply.text}"))
        return done, left

    return await with_exchange(access, work)


def _is_entry(order: Resting) -> bool:
    parsed = parse_client_id(order.client_id)
    return parsed is not None and parsed.kind is OrderKind.ENTRY


async def _held(exchange: BinanceExchange) -> list[Held]:
    positions, _ = await exchange.protection(list(exchange.lots))
    return [one for one in positions.values() if one.lots]


def _order_row(order: Resting, tag: str, held: list[Held], snapshot: Snapshot) -> dict[str, Any]:
    return {
        "symbol": order.symbol,
        "side": order.side,
        "position_side": order.position_side,
        "kind": "conditional" if order.is_algo else "regular",
        "status": order.status,
        "trigger": order.trigger,
        "price": order.price,
        "id": order.client_id,
        "order_id": order.order_id,
        "ours": is_ours(order.client_id, tag),
        "protects": any(covers(order, one, snapshot.ts // MS) for one in held),
    }


# resume and kill -----------------------------------------------------------------------------------------------------


def resume(access: Access, symbol: str = "") -> bool:
    """Clear a shutdown, or a symbol's blacklist. Returns whether a session runs that obeys at once."""
    access.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    leave_command(access.folder, Command("resume", normalize_symbol(symbol) if symbol else ""), time.time_ns())
    return is_locked(access.folder)


async def kill(access: Access, *, flatten: bool) -> list[str]:
    """End the session, and close every position where asked to; with or without a program that runs."""
    if is_locked(access.folder):
        leave_command(access.folder, Command("kill", flatten=flatten), time.time_ns())
        wanted = "closes every position and ends" if flatten else "ends; hard stops stay"
        return [f"session {access.settings.live.session} {wanted}"]
    if not flatten and not _may_have_entries(access):
        return [f"session {access.settings.live.session} does not run; positions and stops are as they were"]
    lock = take_lock(access.folder, access.settings.live.session)
    try:
        if not flatten:
            return await with_exchange(access, lambda exchange: _withdraw_entries(access, exchange))
        return await with_exchange(access, lambda exchange: _flatten(access, exchange))
    finally:
        lock.release()


def _may_have_entries(access: Access) -> bool:
    """Does the journal know of a limit entry, and not of its end?"""
    if not (access.folder / JOURNAL).is_file():
        return False
    journal = open_journal(access.folder / JOURNAL, read_only=True)
    try:
        done = {ref for _, _, ref, _ in journal.events("done")}
        entries = (one for one in journal.intents() if one.kind == OrderKind.ENTRY and one.request.get("limit"))
        return any(one.client_id not in done for one in entries)
    finally:
        journal.close()


async def _withdraw_entries(access: Access, exchange: BinanceExchange) -> list[str]:
    done, left = await cancel_orders_of(exchange, access.tag, only_entries=True)
    return [
        f"session {access.settings.live.session} does not run; positions and stops are as they were",
        f"{done} standing entries cancelled" + (f", {left} left" if left else ""),
    ]


async def _flatten(access: Access, exchange: BinanceExchange) -> list[str]:
    journal = open_journal(access.folder / JOURNAL)
    epoch = journal.take_lease(time.time_ns(), "kill")
    info = await exchange.exchange_info()
    lines = []
    try:
        await cancel_orders_of(exchange, access.tag, only_entries=True)  # or they open again what is closed now
        for held in await _held(exchange):
            filters = filters_of(info[held.symbol])
            number = journal.next_intent
            client_id = str(ClientId(access.tag, epoch, number, OrderKind.FLATTEN))
            request = OrderRequest(
                client_id,
                OrderKind.FLATTEN,
                held.symbol,
                "SELL" if held.lots > 0 else "BUY",
                held.position_side,
                qty=filters.quantity(abs(held.lots), exchange.lots[held.symbol]),
                reduce_only=held.position_side == "BOTH",
            )
            body = {name: value for name, value in vars(request).items() if value not in ("", None)}
            context = {"ref": None, "side": 1 if held.lots > 0 else -1, "leg": False, "asked": False, "trigger": None}
            journal.intend(
                Intent(
                    number,
                    epoch,
                    exchange.now_ms() * MS,
                    client_id,
                    str(Module.OPERATOR),
                    str(OrderKind.FLATTEN),
                    held.symbol,
                    0,
                    -1,
                    0,
                    abs(held.lots),
                    body,
                    context,
                )
            )
            reply = await exchange.place(request)
            side = "LONG" if held.lots > 0 else "SHORT"
            lines.append(f"{held.symbol} {side} {request.qty}: {reply.outcome.value} {reply.text}".rstrip())
        done, left = await cancel_orders_of(exchange, access.tag)
        lines.append(f"{done} orders of this session cancelled" + (f", {left} left" if left else ""))
        remaining = await _held(exchange)
        lines.append("flat" if not remaining else f"STILL OPEN: {', '.join(one.symbol for one in remaining)}")
    finally:
        journal.close()
    return lines


async def cancel_orders_of(exchange: BinanceExchange, tag: str, *, only_entries: bool = False) -> tuple[int, int]:
    """Cancel the session's orders of both worlds, or its standing entries alone. Returns (cancelled, left)."""
    snapshot = await exchange.snapshot([], {})
    done = left = 0
    for order in snapshot.orders:
        if is_ours(order.client_id, tag) and (not only_entries or _is_entry(order)):
            reply = await exchange.cancel(order)
            done, left = (done + 1, left) if reply.outcome is Outcome.ACK else (done, left + 1)
    return done, left


# doctor --------------------------------------------------------------------------------------------------------------

Finding = tuple[str, str, str]
"""(ok, note or FAIL; what; finding with its remedy)"""


async def examine_account(access: Access) -> list[Finding]:
    """Key, permissions, clock, modes, orphans and unprotected positions, each with its remedy."""

    async def work(exchange: BinanceExchange) -> list[Finding]:
        found: list[Finding] = []
        offset = exchange.offset_ms
        most = access.settings.live.max_age.clock_skew_ms
        text = f"{offset:+,d} ms" + ("" if abs(offset) <= most else "; set the machine's clock (chrony or ntpd)")
        found.append(("ok" if abs(offset) <= most else "FAIL", "clock", text))
        found.append(_permissions(await exchange.permissions() if access.hosts.wallet else None))
        config = await exchange.account_config()
        wants_hedge = access.settings.account.mode.position == "hedge"
        same = config.hedge == wants_hedge
        is_in = "hedge" if config.hedge else "one_way"
        remedy = "" if same else f"; set account.mode.position = {is_in}, or change it at the exchange while flat"
        found.append(("ok" if same else "FAIL", "position mode", is_in + remedy))
        snapshot = await exchange.snapshot([], {})
        held = await _held(exchange)
        for one in held:
            covered = any(covers(order, one, exchange.now_ms()) for order in snapshot.orders)
            side = "LONG" if one.lots > 0 else "SHORT"
            what = f"position {one.symbol} {side}"
            found.append(("ok", what, "has a stop") if covered else ("FAIL", what, UNPROTECTED))
        symbols = {one.symbol for one in held}
        runs = is_locked(access.folder)
        ours = [order for order in snapshot.orders if is_ours(order.client_id, access.tag)]
        orphans = [order for order in ours if (not runs if _is_entry(order) else order.symbol not in symbols)]
        if orphans:
            found.append(("FAIL", "orphaned orders", f"{len(orphans)}; qtsim orders cancel removes them"))
        return found

    try:
        return await with_exchange(access, work)
    except QtsimError as error:
        return [("FAIL", "account", str(error))]


UNPROTECTED = "no stop on the exchange; start qtsim live, which places one, or qtsim kill --flatten"


def _permissions(found: Mapping[str, Any] | None) -> Finding:
    if found is None:
        return ("note", "key", "its permissions cannot be read here")
    bad = [name for name in FORBIDDEN if found.get(name) is True]
    if bad:
        return ("FAIL", "key", f"it may move money out ({', '.join(bad)}); make one that may not")
    if found.get("ipRestrict") is False:
        return ("note", "key", "it works from any address; restrict it to this machine's")
    return ("ok", "key", "futures only, no withdrawals")


def run(work: Awaitable[T]) -> T:
    """Run a coroutine from a command."""

    async def main() -> T:
        return await work

    return asyncio.run(main())
