"""Every command does its job, says it in words and in JSON, and says where."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import typer.main

import qtsim as qt
from qtsim.cli import app
from qtsim.cli.runs import short_names
from qtsim.core import _jit
from qtsim.data.store import Store
from qtsim.results.summary import LEGS, verdict_text
from tests.unit.cli.made_workspace import HEADER, Answer, Run, assert_refused, made_bars, made_rows

Names = Callable[[], list[str]]
ROOT = Path(__file__).resolve().parents[3]
FAST = ("backtest", "--fast", "-s", "sma_cross", "--set", "strategy.fast=3", "--set", "strategy.slow=8")


def done(answer: Answer) -> Answer:
    """The answer, of a command that must succeed."""
    assert answer.code == 0, answer.said
    return answer


def as_json(answer: Answer) -> dict[str, Any]:
    """Its JSON, which is strict and numbered."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    values: dict[str, Any] = json.loads(done(answer).out, parse_constant=refuse)
    assert values["schema"] == 1
    return values


# --- backtest --------------------------------------------------------------------------------------------------------


def before_the_list(shown: str) -> str:
    """What `runs show` prints before it names the ambiguous bars, which a backtest only counts."""
    first, title, listed = shown.partition("ambiguous bars:\n")
    assert title
    assert listed.startswith("  BTCUSDT 1h: 2024-01-")
    return first


def test_the_main_job(qtsim: Run, tmp_path: Path, runs: Names) -> None:
    answer = done(qtsim("backtest", *FAST[2:], "--verify"))
    (name,) = runs()
    folder = tmp_path / "runs" / name
    assert f"workspace {tmp_path}" in answer.err
    assert "byte for byte" in answer.out
    lines = answer.out.splitlines()
    assert lines[0].startswith("qtsim ")
    assert f"report: runs/{name}/report.html" in lines[-1]
    assert answer.out.count("report.html") == 1
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    shown = done(qtsim("runs", "show", "last"))
    assert before_the_list(shown.out).splitlines() == lines, "a saved run tells the same"


def test_an_empty_store_gets_the_sample_market(empty: Run, tmp_path: Path) -> None:
    answer = done(empty("backtest", "--fast", "--no-save", "--timerange", "20251001-"))
    assert "SYNTHETIC" in answer.out.splitlines()[0]
    assert "ema_cross" in answer.out.splitlines()[0]
    assert (tmp_path / "data" / "sample").is_dir()
    refused = empty("backtest", "-p", "BTCUSDT")
    assert_refused(refused, 2, "no BTCUSDT 1h bars", "qtsim data import", "qtsim data sample", "--sample")
    assert "SYNTHETIC" in done(empty("backtest", "-p", "BTC-USDT", "--sample", "--fast", "--no-save")).out
    assert "SYNTHETIC" in done(empty("data", "sample")).out
    assert len(as_json(empty("data", "list", "--sample", "--json"))["series"]) == 15
    listed = as_json(empty("data", "check", "--sample", "-p", "ETHUSDT", "-i", "1h", "--json"))
    assert [p["kind"] for p in listed["passports"]] == ["bars", "mark", "funding"]


def test_json_of_a_backtest_is_python_s_result(qtsim: Run, tmp_path: Path) -> None:
    values = as_json(qtsim(*FAST, "--no-save", "--json"))
    result = qt.backtest(
        "sma_cross", symbols="BTCUSDT", timeframe="1h", settings={"strategy.fast": 3, "strategy.slow": 8}, fast=True
    )
    assert values["digest"] == result.digest
    assert values["run"] is None
    for name, value in result.metrics.items():
        assert values["metrics"][name] == (value if math.isfinite(value) else None)
    assert values["flow"][-1]["count"] == int((result.fills["kind"] == "entry").sum())
    assert values["period"]["start"] == "2024-01-01T00:00:00Z"
    assert values["period"]["end"] == "2024-01-13T12:00:00Z"
    assert values["exits"] == result.trades["exit_reason"].value_counts().to_dict()
    assert values["legs"] == {leg: int((result.fills["reason"] == leg).sum()) for leg in LEGS}
    assert values["verdict"] == verdict_text(result)
    money = values["money"]
    assert money.pop("unit") == "USDT"
    assert money["net"] == pytest.approx(result.metrics["Net Profit"], abs=0.06)
    assert sum(amount for name, amount in money.items() if name != "net") == pytest.approx(money["net"])


def test_json_names_gains_and_units(qtsim: Run) -> None:
    values = as_json(qtsim("backtest", *FAST[2:], "--no-save", "--json"))
    total = values["metrics"]["Total Return"]
    assert values["optimism"]
    for name, lifted in values["optimism"].items():
        assert values["optimism_gains_pp"][name] == pytest.approx(100.0 * (lifted - total))
    assert values["units"]["quote"] == "USDT"
    assert {"metrics", "optimism", "optimism_gains_pp", "period"} <= set(values["units"])


def test_an_ablation_follows_the_first_screen_and_is_shown_again(qtsim: Run) -> None:
    answer = done(qtsim(*FAST, "--ablate"))
    lines = answer.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("without "))
    assert lines[at].split("  ")[0] == "without"
    assert lines[at - 2].startswith("Run ")
    assert lines[at + 1].startswith("(the run itself)")
    for label in ("No change", "Left out", "Ablation"):
        assert any(line.startswith(f" {label} ") for line in lines[at:]), label
    assert "the changes do not add up" in lines[-1]
    assert before_the_list(done(qtsim("runs", "show", "last")).out).splitlines() == lines
    assert "without " not in done(qtsim(*FAST, "--no-save")).out


def test_json_of_an_ablation(qtsim: Run) -> None:
    ran = as_json(qtsim(*FAST, "--ablate", "--json"))
    ablation = ran["ablation"]
    row = next(row for row in ablation["parts"] if row["part"] == "all gates and the governor")
    off = as_json(qtsim(*FAST, "--no-save", "--set", "gates.enabled=false", "--json"))
    assert row["total_return"] == off["metrics"]["Total Return"]
    assert row["max_drawdown"] == off["metrics"]["Max Drawdown"]
    assert row["trades"] == off["metrics"]["Trades"]
    assert row["denials"] == sum(one["count"] for one in off["denials"])
    assert row["return_change_pp"] == pytest.approx(100.0 * (row["total_return"] - ran["metrics"]["Total Return"]))
    assert ablation["left_out"]["stop of bracket"] == 'exit.policy is "exit_brain"'
    assert "do not add up" in ablation["note"]
    assert "ablation" in ran["units"]
    assert off["ablation"] is None
    assert as_json(qtsim("runs", "show", "last", "--json"))["ablation"] == ablation


def test_ctrl_c_during_the_ablation_keeps_the_run(qtsim: Run, runs: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtsim.app import ablation

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation, "_row", interrupt)
    answer = qtsim(*FAST, "--ablate")
    (name,) = runs()
    assert_refused(answer, 1, "the ablation was interrupted; the run is complete and kept in", name)
    assert "Warning      the ablation was interrupted after 0 of" in answer.out
    assert "(interrupted)" in answer.out
    assert before_the_list(done(qtsim("runs", "show", "last")).out) == answer.out


def test_json_of_a_saved_run_is_that_of_its_backtest(qtsim: Run) -> None:
    ran = as_json(qtsim(*FAST, "--json"))
    shown = as_json(qtsim("runs", "show", "last", "--json"))
    assert {name: shown[name] for name in ran} == ran


def test_json_carries_the_governor_s_events_and_denials_by_gate(qtsim: Run) -> None:
    tight = ("--set", "governor.shutdown.drawdown=0.02%", "--set", "governor.shutdown.operator_hours=48")
    ran = as_json(qtsim(*FAST, *tight, "--json"))
    governor, denials = ran["governor"], ran["denials"]
    assert governor["on"]
    shutdowns = governor["shutdowns"]
    assert shutdowns
    assert 0.0 < governor["share_without_entries"] < 1.0
    fired = [event for event in governor["events"] if event["event"] == "fires"]
    shut = [event for event in fired if event["decision"] == "EMERGENCY_SHUTDOWN"]
    assert [event["time"] for event in shut] == [one["time"] for one in shutdowns]
    assert all(event["value"] >= event["limit"] == 0.0002 for event in shut)
    assert all(event["value"] is None for event in governor["events"] if event["event"] == "ends")
    assert sum(state["fired"] or 0 for state in governor["states"]) == len(fired)
    assert sum(state["share"] for state in governor["states"]) >= 1.0
    assert {"gate", "rule", "count"} == set(denials[0])
    denied = sum(step["count"] for step in ran["flow"] if step["step"] == "denied")
    assert sum(one["count"] for one in denials) == denied > 0
    shown = as_json(qtsim("runs", "show", "last", "--json"))
    assert (shown["governor"], shown["denials"]) == (governor, denials)
    assert done(qtsim("runs", "show", "last")).out.startswith("EMERGENCY SHUTDOWN 2024-01-")


def test_json_says_that_gates_are_off(qtsim: Run) -> None:
    governor = as_json(qtsim(*FAST, "--set", "gates.enabled=false", "--no-save", "--json"))["governor"]
    assert (governor["on"], governor["events"], governor["shutdowns"]) == (False, [], [])
    assert governor["text"] == "gates and governor off (gates.enabled = false)"


def test_symbols_as_people_write_them(qtsim: Run, tmp_path: Path) -> None:
    Store(tmp_path / "data").write_bars("ETHUSDT", "1h", made_bars(), source="made for the test")
    words = ("backtest", "--fast", "--no-save", "--json")
    for named in (["-p", "BTC/USDT:USDT,eth-usdt"], ["--pairs", "BTCUSDT", "-p", "ETHUSDT"], ["-p", "all"]):
        assert as_json(qtsim(*words, *named))["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert as_json(qtsim("backtesting", *words[1:]))["symbols"] == ["BTCUSDT"]


def test_settings_from_everywhere(qtsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.toml").write_text("exit.base_tp = 0.03\nexit.base_sl = 0.01\n", encoding="utf-8")
    (tmp_path / "two.toml").write_text("exit.base_tp = '4%'\n", encoding="utf-8")
    monkeypatch.setenv("TP_MIN", "0.005")
    answer = as_json(
        qtsim("config", "show", "exit", "-c", "one.toml", "-c", "two.toml", "--set", "exit.base_sl=0.9%", "--json")
    )
    settings = answer["settings"]
    assert (settings["exit.base_tp"]["value"], settings["exit.base_tp"]["source"]) == (0.04, "file two.toml")
    assert (settings["exit.base_sl"]["value"], settings["exit.base_sl"]["source"]) == (0.009, "command line")
    assert settings["exit.levels.tp.min"]["source"] == "environment TP_MIN"
    assert settings["exit.bracket.tp"]["value"] == 0.03
    assert settings["exit.stops.breakeven.activate"]["value"] == "inf"
    shown = done(qtsim("config", "show", "entry", "--profile", "tight"))
    assert "environment TP_MIN" in shown.err
    assert "environment TP_MIN" in done(qtsim(*FAST, "--no-save")).out, "headlines are on the first screen"


def test_repeating_a_run(qtsim: Run, tmp_path: Path, runs: Names) -> None:
    rules = ("--instrument", "BTCUSDT:tick=0.5,lot=0.01")
    done(qtsim(*FAST, "--profile", "tight", "--timerange", "20240103-", *rules))
    (first,) = runs()
    again = done(qtsim("backtest", "--fast", "--from", "last"))
    assert f"repeats {first}: the same decisions, fills and equity" in again.out
    assert "profile tight" in again.out
    changed = as_json(qtsim("backtest", "--fast", "--from", first, "--set", "exit.base_tp=5%", "--no-save", "--json"))
    assert changed["repeats"]["differs"] == ["setting exit.base_tp"]
    other = done(qtsim("backtest", "--fast", "--from", first, "-s", "ema_cross", "--no-save")).out
    assert f"differs from {first}: strategy sma_cross → ema_cross" in other
    plain = done(qtsim("backtest", "--fast", "--from", first, "--profile", "plain", "--no-save")).out
    assert "profile exitbrain-v35" not in plain
    assert "profile tight → plain" in plain.splitlines()[-1]


def test_repeating_a_run_with_its_transfers_and_outages(qtsim: Run, tmp_path: Path, runs: Names) -> None:
    happened = ("--transfer", "2024-01-05=500", "--outage", "2024-01-06,2024-01-07,critical")
    done(qtsim(*FAST, *happened))
    (first,) = runs()
    again = as_json(qtsim("backtest", "--fast", "--from", first, "--no-save", "--json"))
    assert again["repeats"] == {"run": first, "same": True, "differs": []}
    assert [(one["time"], one["moved"]) for one in again["transfers"]] == [("2024-01-05T00:00:00Z", 500.0)]
    less = ("--transfer", "2024-01-05=400")
    changed = as_json(qtsim("backtest", "--fast", "--from", first, *less, "--no-save", "--json"))
    assert changed["repeats"]["differs"] == ["transfers"]


def test_data_that_changed_since(qtsim: Run, tmp_path: Path) -> None:
    done(qtsim(*FAST))
    assert "STALE" not in done(qtsim("runs", "show", "last")).out
    store = Store(tmp_path / "data")
    longer = made_bars(350)
    store.write_bars("BTCUSDT", "1h", longer, source="made for the test")
    assert "STALE" not in done(qtsim("runs", "list")).said
    assert "STALE" not in done(qtsim("runs", "show", "last")).out, "rows after the run's end do not count"
    longer.iloc[10, longer.columns.get_loc("high")] += 0.5
    store.write_bars("BTCUSDT", "1h", longer, source="made for the test")
    assert "STALE: the data have changed since this run: bars BTCUSDT 1h" in done(qtsim("runs", "show", "last")).out
    assert as_json(qtsim("runs", "show", "last", "--json"))["stale"] == ["bars BTCUSDT 1h"]
    listed = done(qtsim("runs", "list"))
    assert listed.out.splitlines()[1].endswith("STALE")
    assert "its data have changed since" in listed.err
    assert [run["stale"] for run in as_json(qtsim("runs", "list", "--json"))["runs"]] == [True]
    assert "data bars BTCUSDT 1h" in done(qtsim("backtest", "--fast", "--from", "last", "--no-save")).out


def test_runs_and_reports(qtsim: Run, tmp_path: Path, runs: Names) -> None:
    assert "no runs yet" in done(qtsim("runs", "list")).out
    done(qtsim(*FAST))
    done(qtsim("backtest", "--fast"))
    listed = as_json(qtsim("runs", "list", "--json"))["runs"]
    assert sorted(run["run"] for run in listed) == runs()
    header, line, *_ = done(qtsim("runs", "list")).out.splitlines()
    assert header.split() == ["run", "strategy", "symbols", "bars", "period", "profile", "return", "drawdown", "trades"]
    assert "2024-01-01 to 2024-01-13" in line
    first = next(run["run"] for run in listed if run["strategy"] == "sma_cross")
    assert "1 more: --limit 2" in done(qtsim("runs", "list", "-n", "1")).out
    folder = tmp_path / "runs" / first
    by_id = done(qtsim("runs", "show", first)).out
    assert by_id == done(qtsim("runs", "show", str(folder))).out
    assert by_id == done(qtsim("runs", "show", first[: first.index("sma") + 3])).out
    done(qtsim("report", first, "-o", "out.html"))
    assert (tmp_path / "out.html").read_bytes() == (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    done(qtsim("report", first))
    assert (tmp_path / "out.html").read_bytes() == (folder / "report.html").read_bytes()
    assert f"removed {first}" in done(qtsim("runs", "rm", first)).out
    assert len(runs()) == 1


def test_opening_a_report(qtsim: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done(qtsim(*FAST))
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", lambda place: opened.append(place) or 0)
    done(qtsim("report", "last", "--open"))
    assert opened[0].endswith("report.html")
    monkeypatch.setattr("typer.launch", lambda place: 1)
    assert "open the file in a browser" in done(qtsim("report", "--open")).err


# --- the others ------------------------------------------------------------------------------------------------------


def test_a_new_workspace(empty: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "next: cd my-trading" in done(empty("init", "my-trading")).out
    assert_refused(empty("init", "my-trading"), 2, "exists already; nothing was changed")
    monkeypatch.chdir(tmp_path / "my-trading")
    assert f"workspace {tmp_path / 'my-trading'}" in done(empty("config", "show")).err
    assert as_json(empty("config", "show", "--json"))["settings"]["exit.base_tp"]["source"] == "default"
    new = done(empty("strategies", "new", "My-Idea.py"))
    assert "qtsim check -s my_idea" in new.out
    assert (tmp_path / "my-trading" / "strategies" / "my_idea.py").is_file()
    named = {entry["name"]: entry["origin"] for entry in as_json(empty("strategies", "list", "--json"))["strategies"]}
    assert named["my_idea"] == "workspace"
    assert named["ema_cross"] == "shipped"
    assert_refused(empty("strategies", "new", "my_idea"), 2, "exists already")


def test_a_strategy_beside_no_workspace(empty: Run, tmp_path: Path) -> None:
    (tmp_path / "qtsim.toml").unlink()
    assert "-s my_idea.py" in done(empty("strategies", "new", "my_idea")).out
    assert (tmp_path / "my_idea.py").is_file()
    shown = as_json(empty("strategies", "show", "my_idea.py", "--json"))
    assert [p["name"] for p in shown["parameters"]] == ["period"]
    assert "period" in done(empty("strategies", "show", "my_idea.py")).out
    assert f"workspace {tmp_path / 'home'}" in done(empty("doctor")).err


def test_check(qtsim: Run) -> None:
    words = ("check", "-s", "sma_cross", "--set", "strategy.fast=3", "--set", "strategy.slow=8")
    answer = done(qtsim(*words))
    assert "look-ahead: none" in answer.out
    assert "warm-up:" in answer.out
    assert "workspace" in answer.err
    assert as_json(qtsim(*words, "--json"))["points"] == 200


def test_levels_are_python_s(empty: Run) -> None:
    words = (
        "levels",
        "-l",
        "20",
        "--base-tp",
        "1%",
        "--base-sl",
        "0.005",
        "--avg-pnl-20",
        "-0.2",
        "--divergence",
        "0.3",
    )
    values = as_json(empty(*words, "--json"))
    found = qt.levels(20, base_tp=0.01, base_sl=0.005, avg_pnl_20=-0.2, divergence=0.3)
    assert values == json.loads(json.dumps({"schema": 1, **asdict(found)}))
    assert f"{100 * found.tp1:.6f} %" in done(empty(*words)).out


def test_levels_say_what_they_do_not_read(empty: Run, tmp_path: Path) -> None:
    assert "not read here" not in done(empty("levels")).err
    (tmp_path / "qtsim.toml").write_text("exit.base_tp = 0.03\n", encoding="utf-8")
    assert "not read here: exit.base_tp" in done(empty("levels")).err


def test_configuration(empty: Run) -> None:
    assert "exit.guard.loss.max" in done(empty("config", "check")).out
    kinds = {finding["kind"] for finding in as_json(empty("config", "check", "--json"))["findings"]}
    assert "unreachable" in kinds
    explained = done(empty("config", "explain", "exit.levels.sl.max"))
    assert "SL_CLAMP_MAX" in explained.out
    assert as_json(empty("config", "explain", "exit.bracket", "--json"))["settings"][0]["key"] == "exit.bracket.tp"
    schema = json.loads(done(empty("config", "schema")).out)
    assert schema["title"] == "qtsim.toml"


def test_import_says_what_it_did(empty: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "BTC_USDT_USDT-1h-futures.csv").write_text(HEADER + "".join(made_rows()), encoding="utf-8")
    first = done(empty("data", "import", "in/BTC_USDT_USDT-1h-futures.csv"))
    assert "BTCUSDT 1h bars: 300 rows added" in first.out
    again = as_json(empty("data", "import", "in", "--json"))["files"]
    assert [(file["status"], file["unchanged"]) for file in again] == [("unchanged", 300)]
    (tmp_path / "mood.csv").write_text("time,value\n2024-01-01,1\n2024-01-02,3\n", encoding="utf-8")
    assert "mood" in done(empty("data", "import", "mood.csv", "--column", "mood")).out
    listed = as_json(empty("data", "list", "--json"))["series"]
    assert [(entry["kind"], entry["name"]) for entry in listed] == [("bars", ""), ("column", "mood")]


def test_instruments(empty: Run) -> None:
    assert re.search(r"1000PEPEUSDT +0\.0000001 ", done(empty("data", "instruments")).out)
    (one,) = as_json(empty("data", "instruments", "BTC-USDT", "--json"))["instruments"]
    assert one["symbol"] == "BTCUSDT"
    assert len(one["brackets"]) > 5


def test_doctor(qtsim: Run, tmp_path: Path) -> None:
    checks = {check["what"]: check for check in as_json(qtsim("doctor", "--json"))["checks"]}
    assert {"python", "numba", "compiled code", "workspace", "settings", "data", "extra vectorbt"} <= set(checks)
    assert "1 series of 1 symbols" in checks["data"]["text"]
    (tmp_path / "qtsim.toml").write_text("exit.base_tp = 2\n", encoding="utf-8")
    broken = qtsim("doctor")
    assert broken.code == 1
    assert "FAIL" in broken.out
    assert "qtsim.toml, line 1" in broken.out


def test_compiled_code_of_another_checkout_is_not_ours(
    qtsim: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numba looks its files up by the source's path, so another checkout's do not help."""
    monkeypatch.setattr(_jit, "CACHE_FOLDER", tmp_path / "kernels")
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    for folder, is_warm in (("sim_of_another_checkout", False), (_own_folder(), True)):
        (tmp_path / "kernels" / folder).mkdir(parents=True)
        (tmp_path / "kernels" / folder / f"loop.run_nb-351.{version}.1.nbc").write_bytes(b"")
        assert _jit.is_warm() == is_warm
        checks = {check["what"]: check for check in as_json(qtsim("doctor", "--json"))["checks"]}
        assert (checks["compiled code"]["state"] == "ok") == is_warm


def _own_folder() -> str:
    """Where numba itself keeps the compiled loop of these sources."""
    from qtsim.sim.loop import run_nb

    return Path(run_nb.stats.cache_path).name


def test_symbols_of_a_run_are_shortened() -> None:
    assert [short_names(names) for names in ([], ["A"], ["A", "B", "C"])] == ["", "A", "A +2"]


def test_warmup(qtsim: Run, runs: Names) -> None:
    assert re.search(r"ready in \d+\.\d s; compiled code is in ", done(qtsim("warmup")).out)
    assert runs() == []


def test_a_broken_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m qtsim.cli config show | head -1"
    environ = {**os.environ, "QTSIM_HOME": str(tmp_path)}
    answer = subprocess.run(
        command, shell=True, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.startswith("setting")
    assert answer.stderr.splitlines() == [f"workspace {tmp_path}"]


def test_from_a_checkout(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "cli.py"), "--version"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert re.fullmatch(r"qtsim \d+\.\d+\.\d+\n", answer.stdout)


def test_output_that_cannot_show_a_sign(qtsim: Run, spawn: Callable[..., subprocess.Popen[str]]) -> None:
    process = spawn("runs", "list", PYTHONIOENCODING="ascii")
    process.communicate(timeout=60)
    assert process.returncode == 0
    process = spawn("strategies", "new", "ü", PYTHONIOENCODING="ascii")
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err


# --- help ------------------------------------------------------------------------------------------------------------


def commands(command: Any, name: str = "qtsim") -> list[tuple[str, Any]]:
    """Every command with its words, but the groups."""
    if not hasattr(command, "commands"):
        return [(name, command)]
    return [found for word, child in command.commands.items() for found in commands(child, f"{name} {word}")]


COMMANDS = commands(typer.main.get_command(app))


ALIASES = {
    "backtesting": "backtest",
    "download-data": "data download",
    "hyperopt": "sweep",
    **dict.fromkeys(("positions", "inspect", "monitor"), "status"),
}


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_has_an_example(name: str, command: Any) -> None:
    assert re.search(r"Examples?:\s+qtsim ", command.help), f"{name} --help has no example"
    wanted = " ".join(ALIASES.get(word, word) for word in name.split(" "))
    examples = re.findall(r"(qtsim [a-z].*)", command.help.split("Example", 1)[1])
    assert any(example.startswith(wanted) for example in examples)


def test_without_a_command_the_help_is_shown(empty: Run) -> None:
    answer = empty()
    assert answer.code == 2
    assert "Usage" in answer.said
    assert "error" not in answer.said
