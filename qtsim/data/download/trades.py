"""Single trades: an archive, verified, into the store of ticks."""

from __future__ import annotations

from pathlib import Path

from qtsim.data.download.archive import Archive
from qtsim.data.ticks.arrays import TRADES
from qtsim.data.ticks.importing import TickImport, import_ticks
from qtsim.data.ticks.layouts import AGGREGATE
from qtsim.data.ticks.reading import look
from qtsim.data.ticks.store import TickStore
from qtsim.errors import DataError


def store_trades(
    ticks: TickStore, archive: Archive, path: Path, *, source: str, on_bad_rows: str = "error"
) -> TickImport:
    """Merge an archive's trades into their UTC days, all of them or none. The file is read in parts.

    Trades that are there already, imported by hand perhaps, are left as they are.

    Parameters
    ----------
    ticks : TickStore
    archive : Archive
        Of a day or of a month.
    path : Path
        Its file.
    source : str
        Recorded as where the trades came from.
    on_bad_rows : str
        `error` or `drop`, as in `sift_rows`.

    Raises
    ------
    DataError
        Not a zip with one CSV of aggregate trades, a bad row, trades of another day, or trades that contradict those
        that are stored.
    """
    file = look(path, TRADES)
    if file is None or file.layout is None or file.layout.numbering != AGGREGATE:
        raise DataError(f"{path} holds no aggregate trades, which are what archives of trades have")
    (done,) = import_ticks(
        ticks,
        file,
        symbol=archive.symbol,
        source=source,
        on_bad_rows=on_bad_rows,
        period=(archive.start, archive.end),
    )
    return done
