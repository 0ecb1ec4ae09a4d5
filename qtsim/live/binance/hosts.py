"""The hosts that requests may go to: the exchange's own, its demo trading's, or one that was named."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from qtsim.errors import UsageError


@dataclass(frozen=True)
class Hosts:
    """Where REST, streams and the account's permissions are. `wallet` empty: there is no such service."""

    rest: str
    streams: str
    wallet: str

    @property
    def is_loopback(self) -> bool:
        """Is it on this machine?"""
        return urlsplit(self.rest).hostname in ("127.0.0.1", "localhost", "::1")


REAL = Hosts("https://fapi.binance.com", "wss://fstream.binance.com", "https://api.binance.com")
DEMO = Hosts("https://demo-fapi.binance.com", "wss://demo-fstream.binance.com", "")


def hosts_of(endpoint: str, *, demo: bool) -> Hosts:
    """The hosts of a mode, or those of an endpoint.

    Raises
    ------
    UsageError
        The endpoint is no address, or an unencrypted one that is not on this machine.
    """
    if not endpoint:
        return DEMO if demo else REAL
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"live.endpoint = {endpoint!r} is no address; write it as http://127.0.0.1:8080")
    found = Hosts(
        f"{parts.scheme}://{parts.netloc}",
        f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}",
        f"{parts.scheme}://{parts.netloc}",
    )
    if parts.scheme == "http" and not found.is_loopback:
        raise UsageError(f"live.endpoint = {endpoint}: without encryption only this machine is allowed; use https")
    return found
