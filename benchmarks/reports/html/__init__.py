"""Results as pages: the report of a run, and two runs side by side, each one HTML file."""

from benchmarks.reports.html.report import write_report

__all__ = ["write_report"]
