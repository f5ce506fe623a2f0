"""Curves over training, of the loss and the Gini index, as inline SVG in the page's colours."""

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
from benchmarks.reports.dataset_results import GECO, GINI, LOSS, training_curves
from benchmarks.reports.figures import COLOURS
from probseg import plots

NAMES = {
    LOSS: "Loss on the validation images",
    GINI: "Gini index of the prior's σ",
    GECO: "Weight of the cross-entropy, chosen by GECO",
}
# Colours of the figure that are not a model's, as the page's own, which follow its theme.
_THEMED = {"#222222": "var(--ink)", "#666666": "var(--muted)", "#e4e4e4": "var(--line)"}
# text stays text; the same bytes every time
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "probseg"}


@dataclass(frozen=True)
class Chart:
    """The curves of one record on one data set, drawn and in words."""

    title: str
    svg: Markup
    summary: str


def training_charts(results: Iterable[Result]) -> list[Chart]:
    """Return the charts of each data set: of the loss, and of what else the rows' history has."""
    of_dataset: dict[str, list[Result]] = {}
    for result in results:
        of_dataset.setdefault(result.experiment.dataset, []).append(result)
    return [
        chart(panel, name, models)
        for shown in of_dataset.values()
        for name in NAMES
        for panel, models in training_curves(shown, name).items()
    ]


def chart(panel: str, name: str, models: Mapping[str, Sequence[plots.Curve]]) -> Chart:
    """Draw the curves of a panel, one a model: mean and deviation over the experiments."""
    title = f"{NAMES[name]}, {panel}"
    figure = plots.training_curves({panel: models}, what="", colours=COLOURS)
    axes = figure.axes[0]
    axes.set_title("", loc="left")  # the page has a heading
    if name == GINI:
        axes.set_ylim(bottom=0)
    text = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    ends = "; ".join(f"{model} {_ends(curves)}" for model, curves in models.items())
    return Chart(title, _inline(text.getvalue(), title), f"{title}, over training: {ends}")


def _ends(curves: Sequence[plots.Curve]) -> str:
    """Return in words where the mean of curves begins and ends."""
    mean = np.mean([plots.resample(*curve) for curve in curves], axis=0)
    known = mean[np.isfinite(mean)]
    return f"from {float(known[0]):.4g} to {float(known[-1]):.4g}"


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
