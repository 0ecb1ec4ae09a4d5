"""The run folder: complete or not there, found by any of its names, and honest about damage."""

from __future__ import annotations

import json
import os
import threading
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from qtsim.core.enums import GovernorDecision
from qtsim.errors import DataError, QtsimError, UsageError
from qtsim.results import run_folder
from qtsim.results.ablation import EMPTY_ABLATION
from qtsim.results.result import Result, stale_data
from qtsim.results.run_folder import (
    FRAMES,
    check_writable,
    find_run,
    list_runs,
    load_run,
    remove_run,
    save_run,
    stored_bars,
)
from tests.unit.results.made_run import empty_result, made_ablation, made_result


def small(**info: object) -> Result:
    return made_result(n_bars=200, **info)  # type: ignore[arg-type]


def governed() -> Result:
    return made_result(("BTCUSDT", "ETHUSDT"), 400, governor=[(GovernorDecision.PAUSE_1H, 5.0, None, 0.006)])


@pytest.mark.parametrize("made", [governed, empty_result])
def test_a_saved_run_reads_back_the_same(tmp_path: Path, made: object) -> None:
    result = made()  # type: ignore[operator]
    path = result.save(tmp_path)
    assert result.path == path == tmp_path / result.run_id
    read = load_run(path)
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(result, name), getattr(read, name))
    for symbol, frame in result.bars.items():
        pd.testing.assert_frame_equal(frame, read.bars[symbol], check_freq=False)
    assert str(read.summary()) == str(result.summary())
    assert read.info == result.info
    assert read.totals == result.totals
    assert (read.digest, read.ranges.keys(), read.optimism) == (result.digest, result.ranges.keys(), result.optimism)
    assert json.dumps(read.metrics) == json.dumps(result.metrics)  # NaN compares as text
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_folder_of_a_version_without_a_governor_still_loads(tmp_path: Path) -> None:
    result = small()
    path = result.save(tmp_path)
    (path / "governor.parquet").unlink()
    trades = pd.read_parquet(path / "trades.parquet").drop(columns=["regime", "leader_regime", "mode"])
    trades.to_parquet(path / "trades.parquet")
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["governor.parquet"]
    del manifest["info"]["leader_known"]
    manifest["files"]["trades.parquet"] = sha256((path / "trades.parquet").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    read = load_run(path)
    pd.testing.assert_frame_equal(read.governor, result.governor)
    assert dict(read.trades.dtypes) == dict(result.trades.dtypes)
    assert set(read.trades["regime"]) == {""}
    assert "a version without them" in str(read.summary())


def test_an_ablation_is_kept_with_why_parts_are_missing(tmp_path: Path) -> None:
    result = small()
    result.ablation = made_ablation(("trail", 0.4, 0.1), ("ratchet", -0.3, -0.2), same=["loss guard"])
    result.ablation_left_out = {"stop of bracket": 'exit.policy is "exit_brain"'}
    read = load_run(result.save(tmp_path))
    pd.testing.assert_frame_equal(read.ablation, result.ablation)
    assert read.ablation_left_out == result.ablation_left_out
    assert list(read.ablation["part"]) == ["ratchet", "loss guard", "trail"]


def test_a_folder_of_a_version_without_ablation_still_loads(tmp_path: Path) -> None:
    result = small()
    path = result.save(tmp_path)
    (path / "ablation.parquet").unlink()
    metrics = json.loads((path / "metrics.json").read_text())
    del metrics["ablation_left_out"]
    (path / "metrics.json").write_text(json.dumps(metrics))
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["ablation.parquet"]
    manifest["files"]["metrics.json"] = sha256((path / "metrics.json").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    read = load_run(path)
    pd.testing.assert_frame_equal(read.ablation, EMPTY_ABLATION)
    assert not read.has_ablation


def test_the_id_names_start_strategy_and_digest(tmp_path: Path) -> None:
    result = small(strategy="my strategies/über cross.py:Cross")
    result.save(tmp_path)
    assert result.run_id == f"20261121-1430-ber_cross-{result.digest[:4]}"


def test_runs_at_the_same_time_get_names_of_their_own(tmp_path: Path) -> None:
    results = [small() for _ in range(6)]
    threads = [threading.Thread(target=result.save, args=(tmp_path,)) for result in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.run_id for result in results}) == len(list_runs(tmp_path)) == 6
    assert all(load_run(tmp_path / result.run_id).digest == result.digest for result in results)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
def test_an_interrupted_save_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(folder: Path) -> None:
        assert (folder / "manifest.json").exists()
        raise error("stopped")

    result = small()
    with pytest.raises(QtsimError if error is OSError else error):
        save_run(result, tmp_path, finish=fail)
    assert list(tmp_path.iterdir()) == []
    assert (result.run_id, result.path) == ("", None)


def test_a_file_added_at_the_end_is_in_the_folder(tmp_path: Path) -> None:
    path = save_run(small(), tmp_path, finish=lambda folder: (folder / "report.html").write_text("page") and None)
    assert (path / "report.html").read_text() == "page"
    (path / "report.html").write_text("another page")  # a report may be written again
    load_run(path)


def test_runs_are_found_by_id_prefix_path_and_last(tmp_path: Path) -> None:
    first = small(started_at="2026-11-21T14:30:05+00:00").save(tmp_path)
    second = small(started_at="2026-11-22T09:00:00+00:00").save(tmp_path)
    assert find_run(tmp_path, first.name) == first
    assert find_run(tmp_path, "20261122") == second
    assert find_run(tmp_path, str(first)) == first
    assert find_run(tmp_path, "last") == second
    with pytest.raises(UsageError, match=rf"'2026' is the beginning of 2 runs \({second.name}, {first.name}\)"):
        find_run(tmp_path, "2026")
    with pytest.raises(UsageError, match=r"no run 'nonsense' in .*the latest are"):
        find_run(tmp_path, "nonsense")
    with pytest.raises(UsageError, match="is not a run folder"):
        find_run(tmp_path, str(tmp_path / "nothing"))


def test_an_exact_id_wins_over_longer_ones(tmp_path: Path) -> None:
    first, second = small().save(tmp_path), small().save(tmp_path)
    assert second.name == f"{first.name}-2"
    assert find_run(tmp_path, first.name) == first


def test_of_two_runs_that_began_in_one_second_the_one_written_later_is_the_last(tmp_path: Path) -> None:
    small(strategy="zigzag").save(tmp_path)
    later = small(strategy="average").save(tmp_path)
    assert find_run(tmp_path, "last") == later


def test_no_runs_yet_says_how_to_make_one(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "runs") == []
    with pytest.raises(UsageError, match=r"no runs in .* yet; `qtsim backtest` makes one"):
        find_run(tmp_path, "last")


@pytest.mark.parametrize("name", ["trades.parquet", "governor.parquet", "metrics.json", "bars.parquet"])
@pytest.mark.parametrize("harm", ["truncate", "remove"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, harm: str) -> None:
    path = small().save(tmp_path)
    if harm == "remove":
        (path / name).unlink()
    else:
        (path / name).write_bytes((path / name).read_bytes()[:-3])
    with pytest.raises(DataError, match=f"damaged: {name}"):
        load_run(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read"), ("{}", "has no digest, files, info, schema, totals"), ("[]", "has no digest")],
)
def test_a_damaged_manifest_is_an_error_and_listed_as_damaged(tmp_path: Path, text: str, message: str) -> None:
    good, bad = small().save(tmp_path), small().save(tmp_path)
    (bad / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_run(bad)
    damage = {entry.run_id: entry.damage for entry in list_runs(tmp_path)}
    assert damage[good.name] == ""
    assert message in damage[bad.name]
    assert find_run(tmp_path, "last") == good


def test_a_folder_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = small().save(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(DataError, match=r"newer version .*schema 99.*upgrade qtsim"):
        load_run(path)


def test_an_unwritable_folder_is_found_before_the_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(QtsimError, match=r"cannot write to the folder .*file/runs: .*choose another workspace"):
        check_writable(file / "runs")
    check_writable(tmp_path / "new" / "runs")
    assert list((tmp_path / "new" / "runs").iterdir()) == []


def test_a_removed_run_is_gone_and_other_folders_are_not_touched(tmp_path: Path) -> None:
    path = small().save(tmp_path)
    with pytest.raises(DataError, match="not a run folder"):
        remove_run(tmp_path)
    remove_run(path)
    assert list(tmp_path.iterdir()) == []


def test_long_runs_keep_the_bars_around_their_trades(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = made_result(n_bars=2000, every=300)
    monkeypatch.setattr(run_folder, "MAX_STORED_BARS", 1000)
    kept = stored_bars(result).set_index("time")
    assert 0 < len(kept) < 2000
    for trade in result.trades.itertuples():
        around = result.bars["BTCUSDT"].loc[str(trade.entry_time) : str(trade.exit_time)]
        assert around.index.isin(kept.index).all()
    assert load_run(result.save(tmp_path)).metrics["Buy and Hold"] == result.metrics["Buy and Hold"]


def test_data_that_changed_since_is_named() -> None:
    result = small()
    name = "bars BTCUSDT 1h"
    assert stale_data(result, {name: result.info.fingerprints[name]}) == []
    assert stale_data(result, {name: "other", "bars ETHUSDT 1h": "x"}) == [name]
