"""Reports of finished runs: tables, figures, statistics and HTML pages."""

from probseg.utils.imports import require

for _package in ("jinja2", "matplotlib"):  # before the modules that import them
    require(_package, extra="bench", for_="the benchmark's report")
