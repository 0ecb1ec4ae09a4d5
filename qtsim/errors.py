"""Errors that a user can cause. Each message names the place, the value, and what would be right."""

from __future__ import annotations


class QtsimError(Exception):
    """Something failed: damaged data, a strategy that raises, an unwritable folder (exit code 1)."""

    exit_code = 1


class UsageError(QtsimError):
    """The request itself is wrong: an unknown name, a value out of range (exit code 2)."""

    exit_code = 2


class SettingError(UsageError):
    """A setting is unknown, out of range, contradictory, or not available in this version."""


class DataError(QtsimError):
    """Market data is missing, damaged or inconsistent."""


class StrategyError(QtsimError):
    """A strategy cannot be loaded, raises, returns the wrong shape, or looks ahead."""
