"""Handing a result over to vectorbt."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from qtsim.errors import QtsimError
from qtsim.results.result import orders_for_vectorbt
from tests.unit.results.made_run import made_result


def test_orders_are_signed_fills_one_per_row() -> None:
    result = made_result(symbols=("BTCUSDT", "ETHUSDT"), n_bars=400)
    table = orders_for_vectorbt(result)
    size, price, fee = table["size"], table["price"], table["fee"]
    assert size.index.is_unique
    assert int(size.notna().to_numpy().sum()) == len(result.fills)
    assert np.allclose(size.sum(), 0.0)  # everything is closed
    assert fee.to_numpy().sum() == pytest.approx(result.fills["fee"].sum())
    earned = -float((size * price).to_numpy()[size.notna().to_numpy()].sum())
    assert earned == pytest.approx(result.totals.price_pnl)
    assert not table["close"].isna().to_numpy().any()


def test_without_vectorbt_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vectorbt", None)
    with pytest.raises(QtsimError, match=r'pip install "qtsim\[vectorbt\]"'):
        made_result(n_bars=100).to_vectorbt()


@pytest.mark.vectorbt
@pytest.mark.parametrize("symbols", [("BTCUSDT",), ("BTCUSDT", "ETHUSDT", "SOLUSDT")])
@pytest.mark.filterwarnings("ignore")
def test_the_portfolio_has_the_same_fills_and_ends_with_the_same_gain(symbols: tuple[str, ...]) -> None:
    pytest.importorskip("vectorbt")
    importlib.import_module("vectorbt")
    result = made_result(symbols=symbols, n_bars=1500)
    portfolio = result.to_vectorbt()
    assert int(np.sum(portfolio.orders.count())) == len(result.fills)
    gain = float(portfolio.final_value() - portfolio.init_cash)
    assert gain == pytest.approx(result.totals.net - result.totals.funding, rel=1e-9)
