"""Request weights, order counts, 429 and bans. All on the clock of the wall: a program's pace is its own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from qtsim.emulator.errors import ApiError

MINUTE_MS = 60_000
FIRST_BAN_MS = 2 * MINUTE_MS
LONGEST_BAN_MS = 3 * 24 * 60 * MINUTE_MS
PATIENCE = 5
"""Requests answered 429 within one minute before the address is banned."""

WEIGHTS: dict[tuple[str, str], int] = {
    ("GET", "allOrders"): 5,
    ("GET", "allAlgoOrders"): 5,
    ("GET", "userTrades"): 5,
    ("GET", "account"): 5,
    ("GET", "balance"): 5,
    ("GET", "positionRisk"): 5,
    ("GET", "symbolConfig"): 5,
    ("GET", "accountConfig"): 5,
    ("GET", "positionSide/dual"): 30,
    ("GET", "multiAssetsMargin"): 30,
    ("GET", "income"): 30,
    ("GET", "commissionRate"): 20,
    ("POST", "countdownCancelAll"): 10,
    ("GET", "aggTrades"): 20,
    ("GET", "depth"): 5,
    ("GET", "fundingRate"): 0,
    ("GET", "fundingInfo"): 0,
    ("POST", "order"): 0,
    ("POST", "batchOrders"): 5,
    ("POST", "algoOrder"): 0,
}
WEIGHTS_WITHOUT_SYMBOL: dict[str, int] = {
    **{"openOrders": 40, "openAlgoOrders": 40, "premiumIndex": 10},
    **{"ticker/24hr": 40, "ticker/price": 2, "ticker/bookTicker": 5},
}
ORDER_ENDPOINTS = {("POST", "order"), ("POST", "batchOrders"), ("POST", "algoOrder"), ("PUT", "order")}


def weight_of(method: str, endpoint: str, params: dict[str, str]) -> int:
    """IP weight of one request; endpoint without version, `positionRisk`."""
    if endpoint in ("klines", "markPriceKlines", "indexPriceKlines", "continuousKlines"):
        limit = int(params["limit"]) if params.get("limit", "").isdigit() else 500
        return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    if method == "GET" and "symbol" not in params and endpoint in WEIGHTS_WITHOUT_SYMBOL:
        return WEIGHTS_WITHOUT_SYMBOL[endpoint]
    return WEIGHTS.get((method, endpoint), 1)


@dataclass
class Limiter:
    """Counts one client's requests. Limits of 0 are none."""

    weight_limit: int = 2400
    orders_10s: int = 300
    orders_1m: int = 1200
    banned_until_ms: int = 0
    _minute: int = -1
    _weight: int = 0
    _refused: int = 0
    _bans: int = 0
    _orders: deque[int] = field(default_factory=deque)

    def ban(self, until_ms: int) -> None:
        """Ban the address."""
        self.banned_until_ms = until_ms

    def is_banned(self, wall_ms: int) -> bool:
        """Is the address banned at this time?"""
        return wall_ms < self.banned_until_ms

    def admit(self, weight: int, wall_ms: int) -> None:
        """Count a request. Raises ApiError: 418 in a ban, 429 above the weight."""
        if self.is_banned(wall_ms):
            raise self._banned()
        if wall_ms // MINUTE_MS != self._minute:
            self._minute, self._weight, self._refused = wall_ms // MINUTE_MS, 0, 0
        self._weight += weight
        if not self.weight_limit or self._weight <= self.weight_limit:
            return
        self._refused += 1
        if self._refused <= PATIENCE:
            raise ApiError(-1003, status=429)
        self.ban(wall_ms + min(FIRST_BAN_MS * 2**self._bans, LONGEST_BAN_MS))
        self._bans += 1
        raise self._banned()

    def _banned(self) -> ApiError:
        text = (
            f"Way too many requests; IP(127.0.0.1) banned until {self.banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
        return ApiError(-1003, msg=text, status=418)

    def admit_orders(self, count: int, wall_ms: int) -> None:
        """Count new orders. Raises ApiError -1015 above either limit."""
        while self._orders and self._orders[0] <= wall_ms - MINUTE_MS:
            self._orders.popleft()
        last_10s, last_1m = self._recent_orders(wall_ms)
        if (self.orders_10s and last_10s + count > self.orders_10s) or (
            self.orders_1m and last_1m + count > self.orders_1m
        ):
            limit = (
                f"{self.orders_10s} orders per 10 SECOND"
                if last_10s + count > self.orders_10s
                else (f"{self.orders_1m} orders per MINUTE")
            )
            raise ApiError(-1015, msg=f"Too many new orders; current limit is {limit}.")
        self._orders.extend([wall_ms] * count)

    def _recent_orders(self, wall_ms: int) -> tuple[int, int]:
        return sum(ms > wall_ms - 10_000 for ms in self._orders), len(self._orders)

    def headers(self, wall_ms: int, *, orders: bool) -> dict[str, str]:
        """What an answer tells about use."""
        found = {"x-mbx-used-weight-1m": str(self._weight if wall_ms // MINUTE_MS == self._minute else 0)}
        if orders:
            last_10s, last_1m = self._recent_orders(wall_ms)
            found |= {"x-mbx-order-count-10s": str(last_10s), "x-mbx-order-count-1m": str(last_1m)}
        return found

    def retry_after_s(self, wall_ms: int) -> int:
        """Seconds until the ban or the minute ends."""
        end = self.banned_until_ms if self.is_banned(wall_ms) else (wall_ms // MINUTE_MS + 1) * MINUTE_MS
        return max(1, -(-(end - wall_ms) // 1000))
