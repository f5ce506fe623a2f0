"""Curves over training, of the loss and the Gini index, as inline SVG in the page's colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.jobs.results import Result
from benchmarks.reports.dataset_results import GECO, GINI, LOSS, training_curves
from benchmarks.reports.figures import COLOURS
from probseg import plots
from probseg.reports.charts import Chart

NAMES = {
    LOSS: "Loss on the validation images",
    GINI: "Gini index of the prior's σ",
    GECO: "Weight of the cross-entropy, chosen by GECO",
}


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
    ends = "; ".join(f"{model} {_ends(curves)}" for model, curves in models.items())
    return Chart.of(figure, title, f"{title}, over training: {ends}")


def _ends(curves: Sequence[plots.Curve]) -> str:
    """Return in words where the mean of curves begins and ends."""
    mean = np.mean([plots.resample(*curve) for curve in curves], axis=0)
    known = mean[np.isfinite(mean)]
    return f"from {float(known[0]):.4g} to {float(known[-1]):.4g}"
