"""What a key may do beside trading: a key that could move money out is not used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORBIDDEN = ("enableWithdrawals", "enableInternalTransfer", "permitsUniversalTransfer")


def danger_of(permissions: Mapping[str, Any]) -> str:
    """Why a key must not be used, from its permissions as the exchange tells them; empty where it may."""
    for name in FORBIDDEN:
        if permissions.get(name) is True:
            return f"the key may move money out ({name}); make one that may not, for this program alone"
    return ""
