"""API keys, signatures and the time window of signed requests."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from qtsim.emulator.errors import ApiError, invalid, missing

DEFAULT_WINDOW_MS = 5000
LONGEST_WINDOW_MS = 60_000
AHEAD_MS = 1000
"""How far a timestamp may lie in the future."""


@dataclass(frozen=True)
class ApiKey:
    """A key with its secret and permissions. The secret stays out of its text form."""

    key: str
    secret: str
    can_trade: bool = True
    can_withdraw: bool = False
    restricts_ip: bool = True
    revoked: bool = False

    def __repr__(self) -> str:
        """The key's name alone."""
        return f"ApiKey({self.key!r})"


def sign(secret: str, payload: str) -> str:
    """Hex HMAC-SHA256 of what is sent."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def key_of(keys: Mapping[str, ApiKey], headers: Mapping[str, str]) -> ApiKey:
    """The key that a request names. Raises ApiError -2014 without one, -2015 where it is unknown or revoked."""
    name = next((value for header, value in headers.items() if header.lower() == "x-mbx-apikey"), "")
    if not name:
        raise ApiError(-2014)
    if name not in keys or keys[name].revoked:
        raise ApiError(-2015)
    return keys[name]


def check_signed(key: ApiKey, payload: str, params: Mapping[str, str], wall_ms: int) -> None:
    """Time window and signature of a request; payload: the parameters as they were sent, joined by `&`.

    ts < server + 1 s and server - ts <= recvWindow. Raises ApiError.
    """
    stamp = params.get("timestamp", "")
    if not stamp:
        raise missing("timestamp")
    window = params.get("recvWindow", str(DEFAULT_WINDOW_MS))
    if not stamp.isdigit():
        raise invalid("timestamp")
    if not window.isdigit() or not 0 < int(window) <= LONGEST_WINDOW_MS:
        raise invalid("recvWindow")
    if int(stamp) >= wall_ms + AHEAD_MS:
        raise ApiError(-1021, msg="Timestamp for this request was 1000ms ahead of the server's time.")
    if wall_ms - int(stamp) > int(window):
        raise ApiError(-1021)
    signature = params.get("signature", "")
    if not signature:
        raise missing("signature")
    signed = "&".join(part for part in payload.split("&") if not part.startswith("signature="))
    if not hmac.compare_digest(sign(key.secret, signed), signature):
        raise ApiError(-1022)
