"""Curves of the Gini index as inline SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup

from benchmarks.jobs.results import Result
from benchmarks.reports.dataset_results import gini_panels
from benchmarks.reports.figures import COLOURS
from probseg import plots

# Colours of the figure that are not a model's, as the page's own, which follow its theme.
_THEMED = {"#222222": "var(--ink)", "#666666": "var(--muted)", "#e4e4e4": "var(--line)"}
# text stays text; the same bytes every time
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "probseg"}


@dataclass(frozen=True)
class Chart:
    """One data set's curves, drawn and in words."""

    name: str
    svg: Markup
    summary: str


def gini_charts(results: Iterable[Result]) -> list[Chart]:
    """Return one chart a data set, of the rows whose prior has a Gini index."""
    return [gini_chart(name, models) for name, models in gini_panels(results).items()]


def gini_chart(name: str, models: Mapping[str, Sequence[plots.Curve]]) -> Chart:
    """Draw the curves of a data set, one a model: mean and standard deviation over the cells."""
    figure = plots.gini_curves({name: models}, colours=COLOURS)
    figure.axes[0].set_title("", loc="left")  # the page has a heading
    text = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    ends = "; ".join(f"{model} {_ends(curves)}" for model, curves in models.items())
    summary = f"Gini index of the prior over training on {name}: {ends}"
    return Chart(name, _inline(text.getvalue(), name), summary)


def _ends(curves: Sequence[plots.Curve]) -> str:
    """Return in words where the mean of curves begins and ends."""
    mean = np.mean([plots.resample(*curve) for curve in curves], axis=0)
    known = mean[np.isfinite(mean)]
    return f"from {round(float(known[0]), 4)} to {round(float(known[-1]), 4)}"


def _inline(svg: str, name: str) -> Markup:
    """Return the drawing alone, with themed colours and ids that no other drawing has."""
    drawing = svg[svg.index("<svg") :]
    for fixed, themed in _THEMED.items():
        drawing = drawing.replace(fixed, themed)
    prefix = re.sub(r"\W", "-", name)
    drawing = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", drawing)
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, flags=re.S)
    drawing = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'aria-hidden="true"', drawing, count=1)
    return Markup(drawing)
