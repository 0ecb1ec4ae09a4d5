"""The emulated account: settings, margins, funding, liquidation."""

from __future__ import annotations

from decimal import Decimal

import pytest

from qtsim.emulator.decimals import exact
from tests.emulator_desk import Desk


def test_modes_and_settings_are_refused_while_something_is_open() -> None:
    desk = Desk()
    assert desk.send("POST", "positionSide/dual", dualSidePosition="false").code == -4059
    assert desk.send("POST", "marginType", symbol="BTCUSDT", marginType="CROSSED").code == -4046
    assert desk.send("POST", "multiAssetsMargin", multiAssetsMargin="false").code == -4171
    desk.limit("BUY", "0.01", 49_000)
    assert desk.send("POST", "positionSide/dual", dualSidePosition="true").code == -4067
    assert desk.send("POST", "marginType", symbol="BTCUSDT", marginType="ISOLATED").code == -4047
    desk.send("DELETE", "allOpenOrders", symbol="BTCUSDT")
    desk.order("BUY", "0.01")
    assert desk.send("POST", "positionSide/dual", dualSidePosition="true").code == -4068
    assert desk.send("POST", "marginType", symbol="BTCUSDT", marginType="ISOLATED").code == -4048
    assert desk.send("POST", "marginType", symbol="ETHUSDT", marginType="ISOLATED").body["code"] == 200
    desk.order("SELL", "0.01")
    assert desk.send("POST", "positionSide/dual", dualSidePosition="true").body["code"] == 200
    assert desk.send("GET", "positionSide/dual").body == {"dualSidePosition": True}
    assert desk.send("GET", "accountConfig").body["dualSidePosition"] is True


def test_leverage_has_bounds_and_cannot_fall_under_an_isolated_position() -> None:
    desk = Desk(isolated=True)
    assert desk.send("POST", "leverage", symbol="BTCUSDT", leverage=126).code == -4028
    assert desk.send("POST", "leverage", symbol="BTCUSDT", leverage=0).code == -4028
    assert desk.send("POST", "leverage", symbol="BTCUSDT", leverage=10).body["leverage"] == 10
    assert desk.told() == ["ACCOUNT_CONFIG_UPDATE"]
    desk.order("BUY", "0.01")
    assert desk.send("POST", "leverage", symbol="BTCUSDT", leverage=5).code == -4161
    assert desk.send("POST", "leverage", symbol="BTCUSDT", leverage=25).status == 200
    config = desk.send("GET", "symbolConfig", symbol="BTCUSDT").body[0]
    assert (config["leverage"], config["marginType"]) == (25, "ISOLATED")


def test_a_position_may_not_exceed_the_bracket_of_its_leverage() -> None:
    desk = Desk(balance=1_000_000.0)
    desk.send("POST", "leverage", symbol="BTCUSDT", leverage=125)
    assert desk.order("BUY", "1.001").code == -2027  # 125x up to 50,000
    assert desk.order("BUY", "1").status == 200
    assert desk.order("BUY", "0.001").code == -2027


def test_isolated_margin_moves_with_fills_funding_and_the_user() -> None:
    desk = Desk(isolated=True)
    desk.send("POST", "leverage", symbol="BTCUSDT", leverage=10)
    desk.order("BUY", "0.02")
    position = desk.exchange.state.account.position("BTCUSDT", "BOTH")
    assert position.isolated_wallet == 100
    desk.fund("0.0001")
    assert position.isolated_wallet == Decimal("99.9")
    desk.order("SELL", "0.01")
    assert position.isolated_wallet == Decimal("49.95")
    move = {"symbol": "BTCUSDT", "amount": 10}
    assert desk.send("POST", "positionMargin", **move, type=1).body["code"] == 200
    assert position.isolated_wallet == Decimal("59.95")
    assert desk.send("POST", "positionMargin", **move, type=2).code == -4051  # it would fall below the initial margin
    assert desk.send("POST", "positionMargin", symbol="ETHUSDT", amount=10, type=1).code == -4054
    account = desk.exchange.state.account
    assert account.cross_wallet + account.isolated_wallets == account.wallet


def test_cross_margin_lends_the_pnl_of_one_position_to_another() -> None:
    desk = Desk(balance=1_000.0)
    desk.order("BUY", "0.1")
    before = Decimal(desk.send("GET", "/fapi/v3/account").body["availableBalance"])
    desk.move(55_000)
    after = Decimal(desk.send("GET", "/fapi/v3/account").body["availableBalance"])
    assert after - before == 500 - 25  # PnL, less the margin that the higher mark binds at 20x


@pytest.mark.parametrize(("side", "sign"), [("BUY", 1), ("SELL", -1)])
def test_funding_is_paid_by_longs_at_a_positive_rate_on_the_recorded_mark(side: str, sign: int) -> None:
    desk = Desk()
    desk.order(side, "0.02")
    wallet = desk.wallet
    desk.fund("0.0005", "50100")
    assert desk.wallet - wallet == -sign * exact(0.0005 * 50_100.0 * 0.02)
    row = desk.send("GET", "income", incomeType="FUNDING_FEE").body[0]
    assert Decimal(row["income"]) == desk.wallet - wallet
    event = desk.events()[-1]
    assert (event["a"]["m"], event["a"]["S"], event["a"]["P"]) == ("FUNDING_FEE", "BTCUSDT", [])
    history = desk.send("GET", "fundingRate", symbol="BTCUSDT").body[-1]
    assert (history["fundingRate"], history["markPrice"]) == ("0.00050000", "50100.00000000")


def test_an_isolated_position_is_liquidated_at_its_published_price() -> None:
    desk = Desk(isolated=True, price="60000")
    desk.send("POST", "leverage", symbol="BTCUSDT", leverage=10)
    desk.order("BUY", "0.01")
    risk = desk.send("GET", "/fapi/v3/positionRisk").body[0]
    assert round(float(risk["liquidationPrice"]), 2) == 54_216.87  # the reference's own figure
    desk.move(54_300, 54_217)
    assert desk.qty() == Decimal("0.01")
    desk.events()
    desk.move(54_300, "54216.8")
    assert desk.qty() == 0
    forced = desk.events()[0]["o"]
    assert forced["c"].startswith("autoclose-")
    assert (forced["x"], forced["X"], forced["L"]) == ("CALCULATED", "FILLED", "54216.8")
    income = {row["incomeType"]: Decimal(row["income"]) for row in desk.send("GET", "income").body}
    assert income["REALIZED_PNL"] == Decimal("-57.832")
    # clearance fee: 1.25 % of the notional, and never more than the margin still holds
    assert income["INSURANCE_CLEAR"] == -(60 - Decimal("57.832"))


def test_an_isolated_position_never_loses_more_than_its_margin() -> None:
    desk = Desk(isolated=True)
    desk.send("POST", "leverage", symbol="BTCUSDT", leverage=10)
    desk.order("BUY", "0.02")
    wallet = desk.wallet
    desk.move(30_000)
    assert wallet - desk.wallet == 100
    assert desk.exchange.state.account.isolated_wallets == 0


def test_a_cross_account_is_liquidated_whole_and_keeps_no_debt() -> None:
    desk = Desk(balance=300.0)
    desk.order("BUY", "0.05")
    desk.order("SELL", "0.5", symbol="ETHUSDT")
    desk.move(30_000)
    assert list(desk.exchange.state.account.open_positions()) == []
    assert desk.wallet >= 0
    assert desk.order("BUY", "0.002").code == -2019 or desk.wallet > 0


def test_the_user_is_warned_once_before_liquidation() -> None:
    desk = Desk(isolated=True)
    desk.send("POST", "leverage", symbol="BTCUSDT", leverage=50)
    desk.order("BUY", "0.02")
    desk.events()
    for price in (49_300, 49_250, 49_240):
        desk.move(price)
    assert desk.told() == ["MARGIN_CALL"]


def test_orders_of_a_liquidated_symbol_are_cancelled_first() -> None:
    desk = Desk(isolated=True)
    desk.send("POST", "leverage", symbol="BTCUSDT", leverage=50)
    desk.order("BUY", "0.02")
    desk.limit("SELL", "0.02", 51_000, reduceOnly="true")
    desk.algo("SELL", triggerPrice=48_000, closePosition="true", workingType="CONTRACT_PRICE")
    desk.events()
    desk.move(50_000, 48_000)
    told = desk.told()
    assert told.index("ORDER CANCELED") < told.index("ORDER CALCULATED FILLED")
    assert told[-1] == "ALGO EXPIRED" or "ALGO EXPIRED" in told
    assert desk.exchange.state.open_orders == {}
    assert desk.exchange.state.open_algos == {}


def test_deposits_and_withdrawals_are_income() -> None:
    desk = Desk()
    desk.control.deposit("250.5")
    desk.control.deposit("-50")
    assert desk.wallet == Decimal("10200.5")
    assert [row["income"] for row in desk.send("GET", "income", incomeType="TRANSFER").body] == [
        "250.50000000",
        "-50.00000000",
    ]
    assert desk.told() == ["ACCOUNT DEPOSIT", "ACCOUNT WITHDRAW"]


def test_versions_of_position_risk_differ_in_what_they_list() -> None:
    desk = Desk()
    assert desk.send("GET", "/fapi/v3/positionRisk").body == []
    assert [row["symbol"] for row in desk.send("GET", "/fapi/v2/positionRisk").body] == ["BTCUSDT", "ETHUSDT"]
    desk.limit("BUY", "0.01", 49_000)
    assert [row["positionAmt"] for row in desk.send("GET", "/fapi/v3/positionRisk").body] == ["0.000"]
