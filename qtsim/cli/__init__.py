"""The command line: parse, call app, print."""

from __future__ import annotations

from qtsim.cli.root import app, main

__all__ = ["app", "main"]
