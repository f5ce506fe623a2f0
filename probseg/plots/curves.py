"""Quantities over training time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probseg.plots.style import GRID, INK, MUTED, Array, Curve, palette

_TIMES = np.linspace(0, 1, 101)


def gini_curves(
    panels: Mapping[str, Mapping[str, Sequence[Curve]]],
    *,
    columns: int = 4,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the Gini index over normalised training time, see :func:`training_curves`.

    References:
        Figures 3 and 4 of the cSAE paper.
    """
    figure = training_curves(
        panels, what="Gini index of the prior's σ", columns=columns, colours=colours, shared=True
    )
    for panel in figure.axes[: len(panels)]:
        panel.set_ylim(bottom=0)
    return figure


def training_curves(
    panels: Mapping[str, Mapping[str, Sequence[Curve]]],
    *,
    what: str,
    columns: int = 4,
    colours: Mapping[str, str] | None = None,
    shared: bool = False,
) -> Figure:
    """Draw a quantity over normalised training time, one panel a data set.

    Each fold's curve is interpolated onto the same times; the line is the mean over folds and
    the band one standard deviation on either side.

    Args:
        panels: Data set to model to one curve a fold: times (any unit, ascending) and values.
        what: The name of the quantity.
        columns: Panels a row.
        colours: Of some models; the others' are chosen.
        shared: Whether all panels have one scale.
    """
    wide = min(max(len(panels), 1), columns)
    high = -(-max(len(panels), 1) // wide)
    figure = Figure(figsize=(4.6 * wide, 3.2 * high), layout="constrained")
    grid = figure.subplots(high, wide, sharey=shared, squeeze=False)
    for unused in grid.ravel()[len(panels) :]:
        unused.set_axis_off()
    names = dict.fromkeys(name for models in panels.values() for name in models)
    used = palette(names, colours)
    for panel, (title, models) in zip(grid.ravel(), panels.items(), strict=False):
        _tidy(panel, title)
        for name, curves in models.items():
            _draw_band(panel, curves, colour=used[name], label=name)
        panel.set_xlabel("training time (share of the whole)", color=MUTED)
        panel.legend(frameon=False, labelcolor=INK, fontsize=9)
    for panel in grid[:, 0]:
        panel.set_ylabel(what, color=MUTED)
    return figure


def _tidy(panel: Axes, title: str) -> None:
    panel.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    panel.grid(axis="y", color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(GRID)
    panel.tick_params(length=0, labelcolor=MUTED, labelsize=9)
    panel.set_xlim(0, 1)


def _draw_band(panel: Axes, curves: Sequence[Curve], *, colour: str, label: str) -> None:
    values = np.stack([resample(*curve) for curve in curves])
    mean, spread = values.mean(axis=0), values.std(axis=0)
    if len(values) > 1:
        panel.fill_between(
            _TIMES, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0
        )
    panel.plot(_TIMES, mean, color=colour, linewidth=2, label=label, solid_capstyle="round")


def resample(times: Sequence[float], values: Sequence[float]) -> Array:
    """Interpolate a curve onto 101 times from 0 to 1, its last time; NaN before its first.

    >>> float(resample([0, 2], [1.0, 3.0])[50])
    2.0
    """
    t = np.asarray(times, dtype=float)
    share = t / t[-1] if t[-1] > 0 else t
    resampled: Array = np.interp(_TIMES, share, np.asarray(values, dtype=float), left=np.nan)
    return resampled
