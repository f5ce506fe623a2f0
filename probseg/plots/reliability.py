"""Reliability diagrams: how often annotators agree where a system is how sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probseg.plots.style import GRID, INK, MUTED, palette

if TYPE_CHECKING:  # it imports torch, which pictures do not need
    from probseg.metrics.reliability import Reliability


def reliability_diagram(
    curves: Mapping[str, Reliability], *, colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw the share of annotators over the samples' mean probability, and the pixels of each bin.

    On the diagonal a system is as sure as annotators agree; below it is too sure. The lower panel
    shows how many pixels a point stands for, on a logarithmic scale.

    Args:
        curves: Name of a system to its bins.
        colours: Of some systems; the others' are chosen.
    """
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    used = palette(curves, colours)
    lines = {"calibrated": upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")[0]}
    for name, one in curves.items():
        label = f"{name} (error {one.error:.3f})"
        style: dict[str, Any] = {"color": used[name], "linewidth": 2, "markersize": 4}
        (lines[label],) = upper.plot(*one.curve, "o-", **style)
        middles = (np.arange(len(one.pixels)) + 0.5) / len(one.pixels)
        full = one.pixels > 0
        how: dict[str, Any] = {"color": used[name], "linewidth": 1, "markersize": 3}
        lower.plot(middles[full], one.pixels[full], "o-", **how)
    upper.set_ylim(-0.02, 1.02)
    upper.set_ylabel("share of annotators", color=MUTED)
    # given as they are: matplotlib would hide names like "_mine" and read "$" as mathematics
    style = {"frameon": False, "labelcolor": INK, "fontsize": 9, "loc": "upper left"}
    for text in upper.legend(lines.values(), lines.keys(), **style).get_texts():
        text.set_parse_math(False)
    if any(one.pixels.any() for one in curves.values()):
        lower.set_yscale("log")
    lower.set_ylabel("pixels", color=MUTED)
    lower.set_xlabel("mean probability of the samples", color=MUTED)
    for panel in (upper, lower):
        _tidy(panel)
    return figure


def _tidy(panel: Axes) -> None:
    panel.grid(color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["bottom", "left"]].set_color(GRID)
    panel.tick_params(length=0, labelcolor=MUTED, labelsize=9)
    panel.set_xlim(-0.02, 1.02)
