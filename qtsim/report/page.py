"""The report: one HTML file that works offline, the same bytes for the same result."""

from __future__ import annotations

import html
import importlib
import json
import re
from importlib.resources import files
from pathlib import Path

from qtsim.data.atomic import write_atomically
from qtsim.report.content import report_content
from qtsim.results.result import Result

ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Inside a script element no text of the run may end it; in JSON these escapes mean the same characters."""


def write_report(result: Result, path: Path) -> Path:
    """Write the report of a result and return its path. Errors: DataError where it cannot be written."""
    page = report_html(result)
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def report_html(result: Result) -> str:
    """The whole page: markup, style, script, plotly.js and the run's values."""
    content = report_content(result)
    parts = {
        "title": html.escape(f"{content['head']['title']} · qtsim"),
        "css": _asset("report.css"),
        "js": _asset("report.js"),
        "plotly": _plotly_js(),
        "content": json_in_script(content),
    }
    # split once: what is filled in is never searched for placeholders
    pieces = re.split(r"\{\{(\w+)\}\}", _asset("report.html"))
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def json_in_script(value: object) -> str:
    """JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _asset(name: str) -> str:
    return (files("qtsim.report") / name).read_text(encoding="utf-8")


def _plotly_js() -> str:
    # plotly takes a second to import: only when a report is written
    source: str = importlib.import_module("plotly.offline").get_plotlyjs()
    return source
