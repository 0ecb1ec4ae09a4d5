"""What tests and rehearsals do to an exchange beside its API: trade by hand, cut, ban, expire, restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import localcontext
from typing import Any

from qtsim.emulator.decimals import EXACT, exact, plain
from qtsim.emulator.errors import ApiError
from qtsim.emulator.exchange import Exchange
from qtsim.emulator.faults import Scripted
from qtsim.emulator.orders import Order
from qtsim.emulator.payloads import account_event
from qtsim.errors import UsageError


class Control:
    """Acts on one exchange. Every method but `fill_resting` and `trade` always succeeds."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def trade(self, symbol: str, qty: str | float, position_side: str = "BOTH") -> Order:
        """Somebody else's market order: qty signed, base currency. Raises ApiError where it is refused."""
        with localcontext(EXACT):
            return self.exchange.orders.foreign_trade(symbol, exact(qty), position_side)

    def cancel_orders(self, symbol: str) -> int:
        """Cancel a symbol's regular orders; how many."""
        with localcontext(EXACT):
            return self.exchange.orders.cancel_orders_of(symbol)

    def cancel_algos(self, symbol: str) -> int:
        """Cancel a symbol's conditional orders; how many."""
        with localcontext(EXACT):
            return self.exchange.orders.cancel_algos_of(symbol)

    def fill_resting(self, order_id: int, qty: str | float) -> None:
        """Fill a resting limit order in part, at its price. Raises UsageError where it does not rest."""
        order = self.exchange.state.open_orders.get(order_id)
        if order is None:
            raise UsageError(f"order {order_id} does not rest; open are {sorted(self.exchange.state.open_orders)}")
        with localcontext(EXACT):
            self.exchange.matching.fill_resting(order, min(exact(qty), order.rest))

    def deposit(self, amount: str | float) -> None:
        """Move money into the wallet, out of it below 0."""
        state = self.exchange.state
        with localcontext(EXACT):
            change = exact(amount)
            state.account.pay(change, state.now_ms)
            state.add_income("", "TRANSFER", change, "TRANSFER")
            reason = "DEPOSIT" if change > 0 else "WITHDRAW"
            state.streams.private(account_event(state, reason, [], change), state.wall_ms)

    def expire_listen_key(self) -> None:
        """End the listen key now."""
        state = self.exchange.state
        self.exchange.streams.expire_listen_key(state.now_ms, state.wall_ms)

    def disconnect(self, part: str = "") -> int:
        """Cut the connections whose path contains `part`; how many."""
        chosen = [c for c in self.exchange.streams.connections.values() if part in c.path and not c.closed]
        for connection in chosen:
            self.exchange.streams.close(connection, now_ms=self.exchange.state.wall_ms)
        return len(chosen)

    def silence(self, silent: bool = True, part: str = "") -> None:
        """Stop the frames of open connections without closing them, or let them flow again."""
        for connection in self.exchange.streams.connections.values():
            if part in connection.path:
                connection.silent = silent

    def ban(self, ms: int) -> None:
        """Ban the client's address for a time."""
        self.exchange.limiter.ban(self.exchange.state.wall_ms + ms)

    def set_down(self, down: bool = True) -> None:
        """Answer nobody, or everybody again. Orders, positions and the listen key outlive it."""
        self.exchange.down = down
        self.exchange.tick(self.exchange.state.wall_ms)

    def restart(self) -> None:
        """End all connections and the listen key, as a restart of the exchange's gateways does."""
        self.exchange.streams.drop_listen_key()
        self.exchange.streams.close_all(self.exchange.state.wall_ms)

    def add_fault(self, fault: Scripted) -> None:
        """Script one more fault; its `nth` counts requests from now on."""
        faults = self.exchange.faults
        done = faults.requests if fault.endpoint == "*" else faults.counts[fault.endpoint]
        later = replace(fault, nth=done + fault.nth)
        faults.plan = replace(faults.plan, script=(*faults.plan.script, later))

    def stick_next_trigger(self) -> None:
        """Let the next trigger stay TRIGGERING."""
        faults = self.exchange.faults
        faults.plan = replace(faults.plan, stuck_triggers=(*faults.plan.stuck_triggers, faults.triggers + 1))

    def set_query_lag(self, ms: int, *, lists: bool = False) -> None:
        """Hide new orders from queries for a time."""
        faults = self.exchange.faults
        faults.plan = replace(faults.plan, query_lag_ms=ms, lists_lag=lists)

    def set_key(self, **changes: Any) -> None:
        """Change permissions of all keys: can_trade, can_withdraw, restricts_ip, revoked."""
        self.exchange.keys = {name: replace(key, **changes) for name, key in self.exchange.keys.items()}

    def summary(self) -> dict[str, Any]:
        """Wallet, equity, positions, counts, faults injected."""
        state = self.exchange.state
        return {
            "now": state.now_ms,
            "wall": state.wall_ms,
            "wallet": plain(state.account.wallet),
            "equity": plain(self.exchange.equity()),
            "positions": [
                {"symbol": p.symbol, "side": p.side, "qty": plain(p.qty), "entry": plain(p.entry_price)}
                for p in state.account.open_positions()
            ],
            "open_orders": len(state.open_orders),
            "open_algos": len(state.open_algos),
            "trades": len(state.trades),
            "requests": self.exchange.faults.requests,
            "injected": {name: count for name, count in sorted(self.exchange.faults.injected.items()) if count},
            "connections": len(self.exchange.streams.connections),
        }

    def obey(self, command: Mapping[str, Any]) -> Any:
        """One command of the control path: `{"do": "trade", "symbol": "BTCUSDT", "qty": "-0.01"}`.

        Raises
        ------
        UsageError
            There is no such command, its parameters are wrong, or the exchange refuses it.
        """
        name = str(command.get("do", ""))
        allowed = (
            *("trade", "cancel_orders", "cancel_algos", "fill_resting", "deposit", "expire_listen_key", "disconnect"),
            *("silence", "ban", "set_down", "restart", "add_fault", "stick_next_trigger", "set_query_lag", "set_key"),
            "summary",
        )
        if name not in allowed:
            raise UsageError(f"control command {name!r}: there are {', '.join(allowed)}")
        values = {key: value for key, value in command.items() if key != "do"}
        try:
            if name == "add_fault":
                self.add_fault(Scripted(**values))
                return None
            result = getattr(self, name)(**values)
        except (TypeError, ValueError, ApiError) as error:
            raise UsageError(f"control command {name}: {error}") from None
        return result if isinstance(result, int | dict) else None
