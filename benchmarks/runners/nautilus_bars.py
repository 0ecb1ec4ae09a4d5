"""nautilus_trader: bracket orders over bars. Arguments: market file, options as JSON (tp, sl)."""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy
from serving import serve

INSTRUMENT = TestInstrumentProvider.btcusdt_perp_binance()
BARS = BarType.from_str(f"{INSTRUMENT.id}-1-MINUTE-LAST-EXTERNAL")


class Bracket(Strategy):
    """Enters with a bracket order where it is flat; an opposite signal is ignored."""

    def __init__(self, market: dict[str, np.ndarray], tp: float, sl: float) -> None:
        super().__init__(StrategyConfig(strategy_id="B-0"))
        self.longs, self.shorts = market["entries"].tolist(), market["shorts"].tolist()
        self.tp, self.sl, self.bar, self.entries = tp, sl, -1, 0

    def on_start(self) -> None:
        """Ask for bars."""
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Bar) -> None:
        """One bar."""
        self.bar += 1
        side = 1 if self.longs[self.bar] else -1 if self.shorts[self.bar] else 0
        if side == 0 or not self.portfolio.is_flat(INSTRUMENT.id):
            return
        price = float(bar.close)
        self.entries += 1
        self.submit_order_list(
            self.order_factory.bracket(
                instrument_id=INSTRUMENT.id,
                order_side=OrderSide.BUY if side > 0 else OrderSide.SELL,
                quantity=INSTRUMENT.make_qty(0.01),
                tp_price=INSTRUMENT.make_price(price * (1 + side * self.tp)),
                sl_trigger_price=INSTRUMENT.make_price(price * (1 - side * self.sl)),
            )
        )


def main() -> None:
    """Load and serve."""
    with np.load(sys.argv[1]) as found:
        market = {name: found[name] for name in found.files}
    given = json.loads(sys.argv[2])
    n = len(market["close"])
    frame = pd.DataFrame(
        {name: market[name] for name in ("open", "high", "low", "close")} | {"volume": np.full(n, 1000.0)},
        index=pd.date_range("2024-01-01 00:01", periods=n, freq="1min", tz="UTC"),
    )
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=Venue("BINANCE"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=None,
        starting_balances=[Money(1_000_000, USDT)],
        default_leverage=Decimal(1),
    )
    engine.add_instrument(INSTRUMENT)
    engine.add_data(BarDataWrangler(BARS, INSTRUMENT).process(frame))
    made = []

    def run() -> dict[str, Any]:
        engine.reset()
        engine.clear_strategies()
        made.append(Bracket(market, given["tp"], given["sl"]))
        engine.add_strategy(made[-1])
        engine.run()
        return {"entries": made[-1].entries}

    serve(run, version=nautilus_trader.__version__)


if __name__ == "__main__":
    main()
