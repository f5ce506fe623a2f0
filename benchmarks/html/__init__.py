"""The report as one HTML file: verdicts, tables, curves, a sample browser and provenance."""

from benchmarks.html.report import write_report

__all__ = ["write_report"]
