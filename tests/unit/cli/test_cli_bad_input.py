"""What goes wrong for users: each a clear error with its exit code, no traceback, nothing half-written."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qtsim.data.store import Store
from tests.unit.cli.made_workspace import HEADER, Answer, Run, assert_refused, made_bars, made_rows

Names = Callable[[], list[str]]
Spawn = Callable[..., "subprocess.Popen[str]"]

BAD_REQUESTS: list[tuple[str, str, list[str]]] = [
    ("unknown_strategy", "backtest -s ema_cros", ["ema_cros", "did you mean ema_cross"]),
    ("strategy_file_missing", "backtest -s mine.py", ["mine.py", "does not exist"]),
    ("unknown_symbol", "backtest -p NOPEUSDT", ["NOPEUSDT", "there are BTCUSDT", "qtsim data import", "--sample"]),
    ("symbol_near", "backtest -p BTCUSTD", ["did you mean BTCUSDT"]),
    ("symbol_hopeless", "backtest -p BTC//USDT", ["BTC//USDT", "BTC-USDT"]),
    ("no_symbol", "backtest -p ,", ["names no symbol"]),
    ("unknown_timeframe", "backtest -i 1x", ["1x"]),
    ("timeframe_not_there", "backtest -i 5m", ["5m", "1h"]),
    ("unknown_profile", "backtest --profile tigth", ["tigth", "did you mean tight"]),
    ("unknown_setting", "backtest --set exit.base_tpp=0.02", ["exit.base_tpp", "exit.base_tp", "command line"]),
    ("unknown_parameter", "backtest --set strategy.fsat=3", ["fsat", "fast"]),
    ("parameter_out_of_bounds", "backtest --set strategy.fast=1000", ["fast = 1000", "2 to 100"]),
    ("parameters_that_do_not_fit", "backtest --set strategy.fast=50 --set strategy.slow=20", ["50", "20"]),
    ("ratio_as_per_cent", "backtest --set exit.base_tp=2", ["200 %", "0.02", "2%"]),
    ("timerange_outside", "backtest --timerange 20200101-20200201", ["20200101", "2024-01-01", "2024-01-13"]),
    ("timerange_after", "backtest --timerange 20300101-", ["20300101", "2024-01-13"]),
    ("timerange_unreadable", "backtest --timerange yesterday", ["yesterday"]),
    ("timerange_backwards", "backtest --timerange 20240110-20240105", ["20240110"]),
    ("fractions", "backtest --set exit.harvest.scheme.static=[0.5,0.5,0.5]", ["1.5", "exit.harvest.scheme.static"]),
    ("not_built", "backtest --set bus.url=redis://x", ["bus.url", "not available"]),
    ("detail_that_does_not_fit", "backtest --detail 7m", ["data.detail_timeframe = 7m", "do not consist of", "1m"]),
    ("settings_file_missing", "backtest -c mine.toml", ["mine.toml", "does not exist"]),
    ("unknown_instrument", "backtest -p XYZUSDT", ["XYZUSDT", "BTCUSDT"]),
    ("bad_instrument", "backtest --instrument BTCUSDT:tik=1", ["tik", "tick"]),
    ("instrument_without_fields", "backtest --instrument BTCUSDT", ["BTCUSDT:tick="]),
    ("instrument_of_no_symbol", "backtest --instrument ETHUSDT:tick=1,lot=1", ["ETHUSDT", "BTCUSDT"]),
    ("set_without_value", "backtest --set exit.base_tp", ["KEY=VALUE"]),
    ("unknown_key_explained", "config explain exit.base_pt", ["exit.base_pt", "exit.base_tp"]),
    ("unknown_table_shown", "config show exitt", ["exitt"]),
    ("unknown_strategy_shown", "strategies show ema", ["ema_cross"]),
    ("strategy_name_that_is_none", "strategies new 1+1", ["1+1"]),
    ("check_without_a_strategy_file", "check -s nothing.py", ["nothing.py"]),
    ("leverage_below_one", "levels --leverage 0.5", ["0.5", "1 or more"]),
    ("side_unknown", "levels --side up", ["up", "long or short"]),
    ("no_run_yet", "runs show last", ["no runs", "qtsim backtest"]),
    ("repeat_of_no_run", "backtest --from last", ["no runs"]),
    ("report_of_a_folder", "report ./strategies", ["not a run folder"]),
    ("import_of_nothing", "data import nothing.csv", ["nothing.csv", "does not exist"]),
    ("import_of_an_unknown_kind", "data import qtsim.toml --kind candles", ["candles", "funding"]),
    ("check_of_an_unknown_symbol", "data check -p NOPEUSDT", ["NOPEUSDT"]),
    ("unknown_instrument_shown", "data instruments BTCUSTD", ["BTCUSTD", "did you mean BTCUSDT"]),
    ("instrument_like_no_other", "data instruments FOOUSDT", ["FOOUSDT is not in the", "the nearest are ", "USDT, "]),
    ("unknown_command", "backtset", ["backtset", "backtest", "qtsim --help"]),
    ("unknown_subcommand", "data imprt", ["imprt", "qtsim data --help"]),
    ("later_command", "models", ["not in this version", "models"]),
    ("later_with_option", "levels monitor 50 --watch", ["qtsim levels monitor", "not in this version", "part 5"]),
    ("unknown_flag_of_levels", "levels --watch", ["--watch", "qtsim levels --help"]),
    ("unknown_flag", "backtest --stratgy x", ["--stratgy", "qtsim backtest --help"]),
    ("value_missing", "backtest -p", ["-p"]),
    ("number_expected", "levels --leverage much", ["--leverage"]),
    ("argument_missing", "config explain", ["KEY"]),
    ("too_many_arguments", "backtest now", ["now"]),
    ("new_parameter_under_old_name", "backtest -s sma_cross --set strategy.adx_min=3", ["adx_min", "fast"]),
]


@pytest.mark.parametrize(("words", "expected"), [c[1:] for c in BAD_REQUESTS], ids=[c[0] for c in BAD_REQUESTS])
def test_wrong_usage_is_exit_code_two(qtsim: Run, runs: Names, words: str, expected: list[str]) -> None:
    assert_refused(qtsim(*words.split(" ")), 2, *expected)
    assert runs() == []


def test_a_path_that_is_not_stored_is_named(qtsim: Run) -> None:
    assert_refused(qtsim("backtest", "--detail", "1m"), 1, "no 1m bars of BTCUSDT", "qtsim data import", "--detail")
    assert_refused(qtsim("backtest", "--set", "sim.mode=ticks"), 1, "no trades", "qtsim data download --trades")
    both = qtsim("backtest", "--set", "sim.mode=ticks", "--detail", "1m")
    assert_refused(both, 2, "--detail 1m and sim.mode = ticks contradict each other")


def test_a_settings_file_names_line_and_key(qtsim: Run, tmp_path: Path) -> None:
    (tmp_path / "qtsim.toml").write_text("[exit]\n\nbase_tp = 2\nbase_lsl = 0.1\n", encoding="utf-8")
    assert_refused(qtsim("backtest"), 2, "qtsim.toml, line 3", "200 %", "line 4", "base_sl")
    (tmp_path / "qtsim.toml").write_text("[exit\n", encoding="utf-8")
    assert_refused(qtsim("config", "show"), 2, "qtsim.toml, line 1", "not TOML")


def test_the_environment_is_named(qtsim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QTSIM_EXIT__BASE_TP", "2")
    assert_refused(qtsim("backtest"), 2, "environment QTSIM_EXIT__BASE_TP", "200 %")


# --- data ------------------------------------------------------------------------------------------------------------


def spoiled(kind: str) -> list[str]:
    """CSV lines of which row 5 or 6 (times 05:00 and 06:00) is bad."""
    rows = made_rows()
    if kind == "unsorted":
        rows[5], rows[6] = rows[6], rows[5]
    elif kind == "duplicate":
        rows.insert(6, rows[5])
    else:
        ts, _, _, _, close, volume = rows[5].strip().split(",")
        values = {"nan": ("nan", "108", "99"), "negative": ("-100", "108", "99"), "inconsistent": ("101", "97", "99")}
        opening, high, low = values[kind]
        rows[5] = f"{ts},{opening},{high},{low},{close},{volume}\n"
    return rows


BAD_ROWS = {
    "unsorted": ["2024-01-01 05:00"],
    "duplicate": ["2024-01-01 05:00"],
    "nan": ["2024-01-01 05:00", "open", "nan"],
    "negative": ["2024-01-01 05:00", "open", "-100"],
    "inconsistent": ["2024-01-01 05:00", "high", "97"],
}


@pytest.mark.parametrize(("kind", "expected"), BAD_ROWS.items(), ids=list(BAD_ROWS))
def test_bad_rows_are_named(empty: Run, tmp_path: Path, kind: str, expected: list[str]) -> None:
    (tmp_path / "btc.csv").write_text(HEADER + "".join(spoiled(kind)), encoding="utf-8")
    words = ("data", "import", "btc.csv", "-p", "BTCUSDT", "-i", "1h")
    assert_refused(empty(*words), 1, "btc.csv", "row", *expected)
    assert "nothing is stored" in empty("data", "list").out
    dropped = empty(*words, "--set", "data.on_bad_rows=drop")
    assert dropped.code == 0, dropped.err
    assert "BTCUSDT 1h bars" in dropped.out


def test_a_folder_keeps_its_good_files(empty: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "BTCUSDT-1h.csv").write_text(HEADER + "".join(made_rows()), encoding="utf-8")
    (tmp_path / "in" / "ETHUSDT-1h.csv").write_text(HEADER + "".join(spoiled("negative")), encoding="utf-8")
    answer = empty("data", "import", "in")
    assert_refused(answer, 1, "1 of 2 files failed", "ETHUSDT-1h.csv", "-100")
    assert "BTCUSDT-1h.csv: BTCUSDT 1h bars: 300 rows added" in answer.out
    listed = empty("data", "list").out
    assert "BTCUSDT" in listed
    assert "ETHUSDT" not in listed


def test_bad_rows_already_in_the_store_are_named_on_load(empty: Run, tmp_path: Path, runs: Names) -> None:
    frame = made_bars()
    store = Store(tmp_path / "data")
    store.write_bars("BTCUSDT", "1h", frame, source="made for the test")
    frame.iloc[7, frame.columns.get_loc("high")] = 1.0
    with pytest.MonkeyPatch.context() as patch:  # as an older version, or another program, may have written it
        patch.setattr("qtsim.data.store.check_bars", lambda table, *_, **__: (table, None))
        store.write_bars("BTCUSDT", "1h", frame, source="made for the test")
    assert_refused(empty("backtest"), 1, "BTCUSDT", "row 8 (2024-01-01 07:00 UTC)", "high")
    assert_refused(empty("data", "check"), 1, "row 8")
    assert runs() == []


def test_gaps_are_reported_and_simulated(empty: Run, tmp_path: Path) -> None:
    rows = made_rows()
    (tmp_path / "btc.csv").write_text(HEADER + "".join(rows[:100] + rows[120:]), encoding="utf-8")
    assert "1 gap, 20 bars missing" in empty("data", "import", "btc.csv", "-p", "BTCUSDT", "-i", "1h").out
    assert "20 missing from 2024-01-05 04:00 UTC" in empty("data", "check").out
    answer = empty("backtest", "--no-save", "--fast")
    assert answer.code == 0, answer.err
    assert "280 bars, 20 missing" in answer.out


def test_no_trades_says_why(qtsim: Run, tmp_path: Path, runs: Names) -> None:
    answer = qtsim("backtest", "--set", "strategy.adx_min=60")
    (name,) = runs()
    assert_refused(
        answer, 1, "error: no trades: the strategy gave no entry signal", f"kept in {tmp_path / 'runs' / name}"
    )
    assert "Flow         0 signals" in answer.out, "the first screen is there"
    assert qtsim("report", "last").code == 0, "the run is complete"
    unsaved = qtsim("backtest", "--set", "strategy.adx_min=60", "--no-save", "--json")
    assert_refused(unsaved, 1, "error: no trades")
    assert "kept in" not in unsaved.err
    values = json.loads(unsaved.out)
    assert values["verdict"].startswith("no trades")
    assert values["exits"] == {}


def test_denied_signals_are_no_trades_either(qtsim: Run) -> None:
    answer = qtsim("backtest", "--fast", "--no-save", "--set", "limits.per_trade.notional=1")
    assert_refused(answer, 1, "no trades: none of", "became an entry")
    assert "denied" in answer.out


def test_a_damaged_store_file(qtsim: Run, tmp_path: Path, runs: Names) -> None:
    (file,) = (tmp_path / "data").rglob("1h.parquet")
    file.write_bytes(file.read_bytes()[:200])
    for words in (["backtest"], ["check"], ["data", "check"], ["data", "list"]):
        assert_refused(qtsim(*words), 1, str(file), "import its data again")
    assert runs() == []


def test_changed_values_in_the_store_are_found(qtsim: Run, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (file,) = (tmp_path / "data").rglob("1h.parquet")
    table = pq.read_table(file)
    closes = table.column("close").to_pylist()
    closes[3] += 0.01
    place = table.schema.get_field_index("close")
    pq.write_table(table.set_column(place, "close", pa.array(closes)), file)
    assert_refused(qtsim("data", "check"), 1, str(file), "not those that were written")


# --- strategies ------------------------------------------------------------------------------------------------------

STRATEGY = """
import numpy as np
import qtsim as qt

class Mine(qt.Strategy):
    def signals(self, bars):
        {body}
"""
BAD_STRATEGIES: dict[str, tuple[str, list[str]]] = {
    "raises": ("raise ValueError('boom')", ["mine.py, line 7", "ValueError: boom", "BTCUSDT"]),
    "wrong_shape": ("return qt.Signals(long=np.ones(3, bool))", ["3", "300"]),
    "returns_nothing": ("pass", ["mine", "Signals"]),
    "looks_ahead": (
        "up = np.append(bars.close[1:], np.nan) > bars.close; return qt.Signals(long=up, short=~up)",
        ["mine", "looks ahead", "2024-01-"],
    ),
    "uses_unnamed": ("return qt.Signals(long=bars.column('funding_rate') > 0)", ["funding_rate", "uses"]),
    "unnamed_symbol": ("return qt.Signals(long=bars.of('ETHUSDT', lambda b: b.close) > 0)", ["ETHUSDT", "uses"]),
}


@pytest.mark.parametrize(("body", "expected"), BAD_STRATEGIES.values(), ids=list(BAD_STRATEGIES))
def test_a_strategy_that_cannot_be_trusted(
    qtsim: Run, tmp_path: Path, runs: Names, body: str, expected: list[str]
) -> None:
    (tmp_path / "mine.py").write_text(STRATEGY.format(body=body), encoding="utf-8")
    assert_refused(qtsim("backtest", "-s", "mine.py"), 1, *expected)
    assert_refused(qtsim("check", "-s", "mine.py"), 1, *expected)
    assert runs() == []


BAD_FILES: dict[str, tuple[str, list[str]]] = {
    "no_python": ("def (:\n", ["mine.py, line 1", "SyntaxError"]),
    "raises_on_import": ("import qtsim\n1 / 0\n", ["mine.py, line 2", "ZeroDivisionError"]),
    "missing_library": ("import surely_not_there\n", ["mine.py, line 1", "surely_not_there", "install it"]),
    "no_class": ("x = 1\n", ["mine.py", "no class"]),
    "stops_the_program": ("raise SystemExit(7)\n", ["mine.py, line 1", "SystemExit"]),
}


@pytest.mark.parametrize(("text", "expected"), BAD_FILES.values(), ids=list(BAD_FILES))
def test_a_strategy_file_that_cannot_be_loaded(qtsim: Run, tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    assert_refused(qtsim("backtest", "-s", "mine.py"), 1, *expected)


def test_a_column_that_was_never_imported(qtsim: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        STRATEGY.format(body="return qt.Signals(long=bars.column('greed') > 0)").replace(
            "    def", "    uses = qt.uses(columns=['greed'])\n    def"
        ),
        encoding="utf-8",
    )
    answer = qtsim("backtest", "-s", "mine.py")
    assert answer.code in (1, 2)
    assert_refused(answer, answer.code, "greed", "--column greed")


# --- folders, interruptions, two at once -----------------------------------------------------------------------------


def test_unwritable_runs_folder_is_found_before_the_run(qtsim: Run, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file stands where the folder would be", encoding="utf-8")
    assert_refused(qtsim("backtest"), 1, str(tmp_path / "runs"), "cannot write")


@pytest.mark.parametrize("words", ["backtest", "data sample", "data import btc.csv -p BTCUSDT -i 1h"])
def test_unwritable_data_folder(empty: Run, tmp_path: Path, words: str) -> None:
    (tmp_path / "btc.csv").write_text(HEADER + "".join(made_rows()), encoding="utf-8")
    (tmp_path / "data").write_text("a file stands where the folder would be", encoding="utf-8")
    assert_refused(empty(*words.split()), 1, str(tmp_path / "data"), "cannot write")


def test_unwritable_places_for_new_files(qtsim: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    assert_refused(qtsim("init", "taken"), 1, "taken")
    (tmp_path / "strategies").write_text("", encoding="utf-8")
    assert_refused(qtsim("strategies", "new", "my_idea"), 1, "strategies")
    assert qtsim("backtest", "--fast").code == 0
    assert_refused(qtsim("report", "last", "-o", "taken/out.html"), 1, "taken/out.html")


def test_a_damaged_run_folder(qtsim: Run, tmp_path: Path, runs: Names) -> None:
    assert qtsim("backtest", "--fast").code == 0
    (name,) = runs()
    folder = tmp_path / "runs" / name
    (folder / "trades.parquet").write_bytes(b"nothing")
    assert_refused(qtsim("runs", "show", "last"), 1, "trades.parquet")
    assert_refused(qtsim("report", "last", "-o", "out.html"), 1, "trades.parquet")
    assert_refused(qtsim("report", "last"), 1, "trades.parquet")
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    assert_refused(qtsim("backtest", "--from", name), 1, "manifest.json")
    listed = qtsim("runs", "list")
    assert listed.code == 0
    assert "damaged" in listed.out
    assert_refused(qtsim("runs", "show", "last"), 2, "damaged")
    assert qtsim("runs", "rm", name).code == 0
    assert runs() == []


def test_rm_leaves_folders_alone_that_are_no_runs(qtsim: Run, tmp_path: Path) -> None:
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"name": "somebody\'s work"}', encoding="utf-8")
    assert_refused(qtsim("runs", "rm", "./extension"), 1, "extension")
    assert (tmp_path / "extension" / "manifest.json").exists()


def test_an_interrupted_report_leaves_no_run(qtsim: Run, runs: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qtsim.report.write_report", interrupt)
    assert_refused(qtsim("backtest", "--fast"), 1, "interrupted")
    assert runs() == []


def test_control_c_in_the_middle(qtsim: Run, spawn: Spawn, tmp_path: Path, runs: Names) -> None:
    body = "import time; print('started', flush=True); time.sleep(60)"
    (tmp_path / "slow.py").write_text(STRATEGY.format(body=body), encoding="utf-8")
    process = spawn("backtest", "-s", "slow.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert_refused(Answer(process.returncode, out, err), 1, "interrupted")
    assert runs() == []


def test_two_runs_at_once_get_folders_of_their_own(qtsim: Run, spawn: Spawn, runs: Names) -> None:
    both = [spawn("backtest", "--fast") for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    names = runs()
    assert len(names) == 2
    assert not [name for name in names if name.startswith(".")]
    assert {re.search(r"^Run (\S+)", out, re.MULTILINE)[1] for out, _ in said} == set(names)  # type: ignore[index]


# --- what nobody thought of ------------------------------------------------------------------------------------------


def test_an_unexpected_failure_is_one_line(qtsim: Run, runs: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a\nsurprise")

    monkeypatch.setattr("qtsim.app.command.finish_backtest", fail)
    answer = qtsim("backtest")
    assert_refused(answer, 1, "unexpected ZeroDivisionError: a surprise", "QTSIM_DEBUG=1")
    assert runs() == []
    monkeypatch.setenv("QTSIM_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        qtsim("backtest")
