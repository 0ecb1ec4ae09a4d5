"""Injected outages: read as the program's health over time, or refused in words."""

from __future__ import annotations

import pytest

import qtsim as qt
from qtsim.app.injections import outage_rows
from qtsim.core.enums import Health
from qtsim.data.timeframes import format_ts, parse_time
from qtsim.errors import UsageError
from qtsim.results.reach import moment, reach_of


def test_an_outage_begins_and_ends() -> None:
    rows = outage_rows([("2024-02-01", "2024-02-02", "critical"), ("2024-01-01", "2024-01-03", "degraded")])
    assert [format_ts(int(ts))[:10] for ts in rows["ts"]] == ["2024-01-01", "2024-01-03", "2024-02-01", "2024-02-02"]
    assert list(rows["health"]) == [Health.DEGRADED, Health.HEALTHY, Health.CRITICAL, Health.HEALTHY]
    assert len(outage_rows([])) == 0


@pytest.mark.parametrize(
    ("outages", "text"),
    [
        ([("2024-01-02", "2024-01-01", "critical")], "outage 2024-01-02 to 2024-01-01: its end is not after its start"),
        ([("2024-01-02", "", "critical")], "to .no end.: it must have a start and an end; only blind may have no end"),
        ([("", "", "blind")], "outage .no start. to .no end.: it must have a start"),
        ([("soon", "2024-01-02", "blind")], "outage soon to 2024-01-02: time 'soon' is not understood"),
        ([("2024-01-01", "2024-01-02", "sleepy")], "'sleepy' must be degraded, critical or blind"),
        (
            [("2024-01-01", "2024-01-05", "critical"), ("2024-01-04", "2024-01-06", "degraded")],
            "2024-01-04 to 2024-01-06 overlaps the one before it",
        ),
    ],
)
def test_a_wrong_outage_is_refused(outages: list[tuple[str, str, str]], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        outage_rows(outages)


@pytest.mark.parametrize("outage", [("2023-01-01", "2024-01-01", "blind"), ("2024-03-01", "", "blind")])
def test_an_outage_outside_the_run_is_refused(outage: tuple[str, str, str]) -> None:
    first, last = parse_time("2024-01-01"), parse_time("2024-02-01")
    with pytest.raises(UsageError, match="lies outside the run, 2024-01-01 00:00 UTC to 2024-02-01 00:00 UTC"):
        outage_rows([outage], first, last)
    assert len(outage_rows([("2023-01-01", "2024-01-02", "blind")], first, last)) == 2, "it lasts into the run"


def test_no_entry_is_made_during_an_outage() -> None:
    bars = qt.load_bars("BTCUSDT", "1h", sample=True)
    outage = ("2024-03-01", "2024-09-01", "critical")
    run = qt.backtest("ema_cross", {"BTCUSDT": bars}, outages=[outage], fast=True, check=False)
    times = run.trades["entry_time"]
    assert len(times) > 10
    assert not ((times >= "2024-03-01") & (times < "2024-09-01")).any()
    assert "program critical 2024-03-01 to 2024-09-01" in str(run.summary())
    assert "NO_NEW_TRADES" in set(run.denials["rule"])
    spans = [span for span in reach_of(run).spans if span.decision == "NO_NEW_TRADES"]
    assert ("2024-03-01 00:00", "2024-09-01 00:00") in [(moment(one.begin_ns), moment(one.end_ns)) for one in spans]
    assert "NO_NEW_TRADES" in next(line.text for line in run.summary() if line.label == "Governor")
