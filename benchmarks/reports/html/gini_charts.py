"""Curves of the Gini index as inline SVG that follows the page's colours, and their numbers."""

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
from benchmarks.reports.analysis.training_curves import gini_panels
from benchmarks.reports.colours import COLOURS
from probseg import plots

# Colours of the figure that are not a model's, as the page's own, which follow its theme.
_THEMED = {"#222222": "var(--ink)", "#666666": "var(--muted)", "#e4e4e4": "var(--line)"}
# text stays text; the same bytes every time
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "probseg"}


@dataclass(frozen=True)
class Chart:
    """One panel.

    Args:
        name: Of the data set.
        svg: The figure.
        left: Where the time axis begins, as a share of the figure's width.
        right: Where it ends.
        curves: One a model.
    """

    name: str
    svg: Markup
    left: float
    right: float
    curves: Sequence[Mapping[str, Any]]

    @property
    def summary(self) -> str:
        """What the figure shows, in words."""
        ends = (f"{c['name']} from {c['mean'][c['start']]} to {c['mean'][-1]}" for c in self.curves)
        return f"Gini index of the prior over training on {self.name}: " + "; ".join(ends)


def gini_charts(results: Iterable[Result]) -> list[Chart]:
    """Return one chart a data set, of the rows whose prior has a Gini index."""
    return [gini_chart(name, models) for name, models in gini_panels(results).items()]


def gini_chart(name: str, models: Mapping[str, Sequence[plots.Curve]]) -> Chart:
    """Draw the curves of a data set, one a model: mean and standard deviation over the cells."""
    figure = plots.gini_curves({name: models}, colours=COLOURS)
    (panel,) = figure.axes
    panel.set_title("", loc="left")  # the page has a heading
    text = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    box, colours = panel.get_position(), plots.palette(models, COLOURS)
    summaries = [_curve(model, colours[model], curves) for model, curves in models.items()]
    return Chart(name, _inline(text.getvalue(), name), box.x0, box.x1, summaries)


def _curve(name: str, colour: str, curves: Sequence[plots.Curve]) -> dict[str, Any]:
    values = np.stack([plots.resample(*curve) for curve in curves])
    mean, sd = values.mean(axis=0), values.std(axis=0)
    return {
        "name": name,
        "colour": colour,
        "start": int(np.isfinite(mean).argmax()),
        "mean": _rounded(mean),
        "sd": _rounded(sd) if len(values) > 1 else None,
    }


def _rounded(values: plots.Array) -> list[float | None]:
    return [round(float(v), 4) if np.isfinite(v) else None for v in values]


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
