"""Has the data that a run read changed since?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from qtsim.app.api import open_store
from qtsim.app.inputs import closed_by, until
from qtsim.app.workspace import Workspace, settings_of
from qtsim.data.fingerprint import fingerprint
from qtsim.data.quality import check_bars
from qtsim.data.sectors import sectors_fingerprint
from qtsim.data.store import Store
from qtsim.data.ticks.store import KINDS as TICK_KINDS
from qtsim.data.ticks.store import TickStore
from qtsim.data.timeframes import parse_timerange, timeframe_ns
from qtsim.errors import QtsimError
from qtsim.results.result import RunInfo


def changed_since(info: RunInfo, workspace: Workspace) -> Sequence[str]:
    """Names of the data that the store no longer has as the run read them; rows after its end do not count.

    Runs on frames of a notebook have no store to compare with. Never raises for data that are gone or damaged.
    """
    if not info.from_store:
        return []
    try:
        resolved = settings_of(workspace)
        if info.is_synthetic and not (workspace.data(resolved.settings.data.dir) / "sample").is_dir():
            return []  # it would be generated, which takes seconds and gives the same rows
        store = open_store(workspace, resolved, sample=info.is_synthetic)
    except QtsimError:
        return []
    return [name for name, then in info.fingerprints.items() if _now(store, name, info) != then]


class StaleRuns:
    """Which of many runs read data that have changed since. Runs that read the same data are asked about once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[tuple[object, ...], bool] = {}

    def is_stale(self, info: RunInfo) -> bool:
        """Whether any of the run's data have changed."""
        read = (info.is_synthetic, info.from_store, info.end_ns, *sorted(info.fingerprints.items()))
        if read not in self._known:
            self._known[read] = bool(changed_since(info, self._workspace))
        return self._known[read]


def _now(store: Store, name: str, info: RunInfo) -> str:
    """The fingerprint of the same rows today; empty where they cannot be read."""
    end = info.end_ns + info.timeframe_ns
    kind, *words = name.split()
    try:
        if kind == "sectors":
            return sectors_fingerprint(store.folder)
        if kind in TICK_KINDS:
            return TickStore.beside(store).fingerprint(words[0], info.start_ns, end, kind)
        if kind == "funding":
            return fingerprint(until(store.read_funding(words[0]), end + 1))
        if kind == "column":
            return fingerprint(until(store.read_column(words[0], None if words[1] == "all" else words[1]), end))
        frame = _bars_now(store, kind, words[0], words[1], info)
        length = timeframe_ns(words[1])
        drop = str(info.settings.get("data.on_bad_rows", "error"))
        frame, _ = check_bars(frame, length, symbol=words[0], on_bad_rows=drop)
        return fingerprint(closed_by(frame, length, end))
    except QtsimError:
        return ""


def _bars_now(store: Store, kind: str, symbol: str, timeframe: str, info: RunInfo) -> pd.DataFrame:
    """The bars as a run like that would read them: finer ones from its start on, those that trades make where none
    are stored."""
    if info.settings.get("sim.mode") == "ticks" and store.find(symbol, timeframe, kind) is None:
        period = parse_timerange(str(info.settings.get("run.timerange", "")))
        return TickStore.beside(store).bars(symbol, timeframe, *period)
    is_detail = timeframe == info.settings.get("data.detail_timeframe")
    return store.read_bars(symbol, timeframe, info.start_ns if is_detail else None, kind=kind)
