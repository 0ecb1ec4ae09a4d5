from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qtsim.data.frames import times_of
from qtsim.data.instruments import load_instruments
from qtsim.data.quality import check_bars
from qtsim.data.resample import resample_bars
from qtsim.data.sample import SAMPLE_END, SAMPLE_START, SAMPLE_SYMBOLS, sample_store, write_sample
from qtsim.data.store import Store
from qtsim.data.timeframes import HOUR, MINUTE
from qtsim.errors import DataError
from tests.unit.data.made_bars import made_bars


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample-root")
    sample_store(folder)
    return folder


@pytest.fixture(scope="module")
def sample(root: Path) -> Store:
    return sample_store(root)


def test_it_has_two_years_of_hours_and_two_months_of_minutes(sample: Store) -> None:
    assert sample.is_synthetic
    assert sample.symbols() == list(SAMPLE_SYMBOLS)
    for symbol in SAMPLE_SYMBOLS:
        for kind in ("bars", "mark"):
            hours = sample.read_bars(symbol, "1h", kind=kind)
            assert (len(hours), times_of(hours)[0]) == (2 * 8760 + 24, SAMPLE_START)
            assert times_of(hours)[-1] == SAMPLE_END - HOUR
            minutes = sample.read_bars(symbol, "1m", kind=kind)
            assert len(minutes) == 61 * 1440
            assert check_bars(hours, HOUR, symbol=symbol)[1].gaps == ()
            assert check_bars(minutes, MINUTE, symbol=symbol)[1].gaps == ()
            made = resample_bars(minutes, MINUTE, HOUR)
            pd.testing.assert_frame_equal(made, hours.loc[made.index])
        funding = sample.read_funding(symbol)
        assert len(funding) == 3 * 731
        assert funding["mark_price"].notna().all()
    for entry in sample.list():
        assert entry.source.startswith("SYNTHETIC")
        sample.verify(entry)


def test_the_same_on_every_run(sample: Store, tmp_path: Path) -> None:
    again = Store(tmp_path, "synthetic")
    write_sample(again)
    assert [entry.fingerprint for entry in again.list()] == [entry.fingerprint for entry in sample.list()]
    other = Store(tmp_path / "other", "synthetic")
    write_sample(other, seed=99)
    assert not {e.fingerprint for e in other.list()} & {e.fingerprint for e in sample.list()}


def test_prices_and_volumes_lie_on_real_ticks_and_lots(sample: Store) -> None:
    for symbol in SAMPLE_SYMBOLS:
        bars = sample.read_bars(symbol, "1m")
        rules = load_instruments()[symbol]
        assert rules.tick is not None
        for name, step in (("open", rules.tick), ("high", rules.tick), ("close", rules.tick), ("volume", rules.lot)):
            per_unit = int(1 / step)
            values = bars[name].to_numpy()
            np.testing.assert_array_equal(np.rint(values * per_unit) / per_unit, values)


def autocorrelation(values: np.ndarray, lag: int) -> float:
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).sum() / (centred * centred).sum())


def test_it_behaves_like_a_market(sample: Store) -> None:
    returns = {}
    for symbol, low, high in (("BTCUSDT", 0.45, 0.70), ("ETHUSDT", 0.55, 0.90), ("SOLUSDT", 0.75, 1.15)):
        bars = sample.read_bars(symbol, "1h")
        moves = np.diff(np.log(bars["close"].to_numpy()))
        returns[symbol] = moves
        assert low < moves.std() * np.sqrt(8760) < high
        kurtosis = ((moves - moves.mean()) ** 4).mean() / moves.var() ** 2
        assert kurtosis > 6.0
        # moves do not foretell one another, their sizes do, even a day later
        assert abs(autocorrelation(moves, 1)) < 0.05
        assert autocorrelation(np.abs(moves), 1) > 0.15
        assert autocorrelation(np.abs(moves), 24) > 0.04
        size = np.abs(moves)
        assert np.corrcoef(np.log(bars["volume"].to_numpy()[1:]), size)[0, 1] > 0.2
        # lively afternoons, quiet nights
        by_hour = pd.Series(size).groupby((np.arange(len(size)) + 1) % 24).mean()
        assert by_hour.loc[13:16].mean() > 1.15 * by_hour.loc[4:8].mean()
        assert check_bars(bars, HOUR, symbol=symbol)[1].outliers <= 20
        rates = sample.read_funding(symbol)["funding_rate"]
        assert rates.abs().max() <= 0.003
        assert (rates == 0.0001).mean() > 0.3
        assert (rates < 0).mean() > 0.02
        mark = sample.read_bars(symbol, "1h", kind="mark")
        assert (mark["close"] / bars["close"] - 1.0).abs().max() < 0.003
    correlation = np.corrcoef(list(returns.values()))
    assert correlation[0, 1] > 0.65
    assert correlation[0, 2] > 0.55
    close = sample.read_bars("BTCUSDT", "1h")["close"]
    drawdown = 1.0 - (close / close.cummax()).min()
    assert 0.25 < drawdown < 0.75
    assert close.max() / close.iloc[0] > 1.5


def test_the_second_use_makes_nothing(root: Path, sample: Store) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    sample_store(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert [path.name for path in root.iterdir()] == ["sample"]


def test_an_unfinished_or_older_sample_is_made_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "sample", "synthetic")
    store.write_bars("OLDUSDT", "1h", made_bars(9), source="SYNTHETIC old")
    (tmp_path / "sample" / "sample.json").write_text('{"version": 0}')
    assert sample_store(tmp_path).symbols() == list(SAMPLE_SYMBOLS)
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_a_damaged_sample_names_the_folder_to_delete(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "sample", tmp_path / "sample")
    store = sample_store(tmp_path)
    store.list()[0].path.write_bytes(b"broken")
    with pytest.raises(DataError, match=rf"delete {tmp_path / 'sample'} and the sample is made again"):
        store.list()


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "write_funding", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sample_store(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write the sample market to .*set data.dir to another"):
        sample_store(tmp_path / "file")


def _first_use(root: str) -> None:
    assert len(sample_store(root).list()) == 15


def test_two_first_uses_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    users = [context.Process(target=_first_use, args=(str(tmp_path),)) for _ in range(2)]
    for user in users:
        user.start()
    for user in users:
        user.join(120)
    assert [user.exitcode for user in users] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
