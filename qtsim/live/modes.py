"""How far orders may go, and the predecessor's variables, which only ever lower it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from qtsim.errors import UsageError


class Mode(StrEnum):
    """What `qtsim live` does, the harmless first."""

    PAPER = "paper"
    SHADOW = "shadow"
    TESTNET = "testnet"
    LIVE = "live"

    @property
    def reads_account(self) -> bool:
        """Does it need a key?"""
        return self is not Mode.PAPER

    @property
    def sends(self) -> bool:
        """Do orders leave?"""
        return self in (Mode.TESTNET, Mode.LIVE)


_ORDER = tuple(Mode)
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class Lowering:
    """A variable that lowers the mode."""

    variable: str
    value: str
    most: Mode

    def __str__(self) -> str:
        return f"{self.variable}={self.value} allows {self.most} at most"


def lowerings(environ: Mapping[str, str]) -> list[Lowering]:
    """The predecessor's variables that say something; unset, they say nothing.

    Raises
    ------
    UsageError
        A value that the predecessor did not know.
    """
    found: list[Lowering] = []
    executor = environ.get("EXIT_EXECUTOR_MODE", "").strip().upper()
    if executor in ("SHADOW", "DISABLED"):
        found.append(Lowering("EXIT_EXECUTOR_MODE", executor, Mode.SHADOW))
    elif executor not in ("", "LIVE", "ENABLED"):
        raise UsageError(f"EXIT_EXECUTOR_MODE={executor}: it is SHADOW, DISABLED or LIVE")
    rollout = environ.get("EXIT_BRAIN_V3_LIVE_ROLLOUT", "").strip().upper()
    if rollout == "DISABLED":
        found.append(Lowering("EXIT_BRAIN_V3_LIVE_ROLLOUT", rollout, Mode.SHADOW))
    for variable, most in (("QT_PAPER_TRADING", Mode.PAPER), ("STAGING_MODE", Mode.TESTNET)):
        value = environ.get(variable, "").strip()
        if value.lower() in _TRUE:
            found.append(Lowering(variable, value, most))
    return found


def lowered(wanted: Mode, environ: Mapping[str, str]) -> tuple[Mode, list[Lowering]]:
    """The mode that is left, and what lowered it.

    Raises
    ------
    UsageError
        `live` was asked for and a variable forbids it: nobody should believe to trade who does not.
    """
    acting = [one for one in lowerings(environ) if _ORDER.index(one.most) < _ORDER.index(wanted)]
    if acting and wanted is Mode.LIVE:
        raise UsageError(f"--mode live is refused: {'; '.join(map(str, acting))}; unset it, or choose another mode")
    least = min([wanted, *(one.most for one in acting)], key=_ORDER.index)
    return least, acting
