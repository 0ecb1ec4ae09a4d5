"""The HTML report and the figure of a result."""

from __future__ import annotations

from qtsim.report.figures import overview_figure
from qtsim.report.page import report_html, write_report

__all__ = ["overview_figure", "report_html", "write_report"]
