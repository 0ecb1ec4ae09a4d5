"""What has been merged from archives, and what is known not to exist: so that nothing is fetched twice.

One JSON file beside the store's series, replaced whole. It says only what the store confirms: an archive counts as
merged as long as the store has at least its rows in its period. Deleting the file costs time and loses no data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qtsim.data.atomic import write_atomically
from qtsim.data.download.archive import Archive
from qtsim.data.download.plan import Span, union
from qtsim.data.frames import Times
from qtsim.errors import DataError

FOLDER = "download"
"""Below the venue's folder: verified archives that wait to be merged, and the ledger."""
FILE = "ledger.json"
_FORMAT = 1


class Ledger:
    """The file and its entries.

    Parameters
    ----------
    path : Path
        The file; it need not exist.

    Raises
    ------
    DataError
        The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, if it is there."""
        self.path = path
        self._archives: dict[str, dict[str, Any]] = {}
        self._holes: dict[str, list[Span]] = {}
        self._chosen: dict[str, list[Span]] = {}
        if not path.is_file():
            return
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']} is of another version")
            self._archives = {str(name): dict(entry) for name, entry in content["archives"].items()}
            self._holes = _read_spans(content["holes"])
            self._chosen = _read_spans(content.get("chosen", {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} cannot be read ({error}); delete it: stored data stay, and what is missing is looked for again"
            ) from error

    def save(self) -> None:
        """Write the file whole."""
        content = {
            "format": _FORMAT,
            "archives": dict(sorted(self._archives.items())),
            "holes": {key: [list(span) for span in spans] for key, spans in sorted(self._holes.items())},
            "chosen": {key: [list(span) for span in spans] for key, spans in sorted(self._chosen.items())},
        }
        text = json.dumps(content, indent=1)
        write_atomically(self.path, lambda path: path.write_text(text, encoding="utf-8"))

    def is_done(self, archive: Archive, times: Times) -> bool:
        """Tell whether an archive need not be fetched: it does not exist, or the store (`times`) has its rows."""
        entry = self._archives.get(archive.path)
        if entry is None:
            return False
        if entry.get("absent"):
            return True
        first, last = np.searchsorted(times, [archive.start, archive.end])
        return bool(last - first >= int(entry["rows"]))

    def sha256(self, archive: Archive) -> str:
        """Return the checksum that a merged archive had; empty for others."""
        return str(self._archives.get(archive.path, {}).get("sha256", ""))

    def rows(self, archive: Archive) -> int:
        """Return how many rows a merged archive had; 0 for others."""
        return int(self._archives.get(archive.path, {}).get("rows", 0))

    def merged(self, archive: Archive, sha256: str, rows: int) -> None:
        """Note that an archive's rows are in the store."""
        self._archives[archive.path] = {"sha256": sha256, "rows": rows}

    def absent(self, archive: Archive) -> None:
        """Note that the exchange has no such archive."""
        self._archives[archive.path] = {"absent": True}

    def holes(self, series: str) -> Sequence[Span]:
        """Return the spans of a series for which the exchange was asked and has nothing."""
        return self._holes.get(series, [])

    def note_holes(self, series: str, spans: Sequence[Span]) -> None:
        """Note further spans of a series for which the exchange has nothing."""
        self._holes[series] = sorted({*self._holes.get(series, []), *spans})

    def chosen(self, series: str) -> Sequence[Span]:
        """Return the spans for which single bars of a series were asked for; empty: the series was asked for whole."""
        return self._chosen.get(series, [])

    def note_chosen(self, series: str, spans: Sequence[Span]) -> None:
        """Note further spans for which single bars of a series were asked for."""
        self._chosen[series] = union([*self._chosen.get(series, []), *spans])

    def forget(self, *, absent_only: bool = False) -> None:
        """Forget what is known not to exist; unless `absent_only`, everything."""
        self._holes = {}
        self._archives = {p: e for p, e in self._archives.items() if absent_only and not e.get("absent")}


def _read_spans(content: dict[str, Any]) -> dict[str, list[Span]]:
    return {str(key): [(int(start), int(end)) for start, end in spans] for key, spans in content.items()}
