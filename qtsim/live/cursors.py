"""From which trade on the account's trades are a session's: kept beside the journal, which may be lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from qtsim.data.atomic import write_atomically

CURSORS_FILE = "cursors.json"


def read_cursors(folder: Path) -> dict[str, int]:
    """Symbol → id of its last trade before the session's first start; empty where none is kept, or none legible."""
    try:
        content = json.loads((folder / CURSORS_FILE).read_text(encoding="utf-8"))
        return {str(symbol): int(trade_id) for symbol, trade_id in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_cursors(folder: Path, cursors: Mapping[str, int]) -> None:
    """Keep them."""
    text = json.dumps(dict(sorted(cursors.items())))
    write_atomically(folder / CURSORS_FILE, lambda path: path.write_text(text, encoding="utf-8"))
