"""Images with the outlines that each annotator drew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from probseg.plots.block import count_classes
from probseg.plots.panel import draw_outline, show_image
from probseg.plots.style import ANNOTATOR, INK, MUTED, Array, Labels, explain_classes, pens

_FILL = 0.45  # of all annotators' masks together
_UNDER: dict[str, Any] = {"fontsize": 6, "color": MUTED, "ha": "center", "va": "top"}


class Annotated(NamedTuple):
    """One panel of a contact sheet."""

    image: Array  # (H, W) or (C, H, W), see show_image
    masks: Labels  # (A, H, W), classes
    present: NDArray[np.bool_]  # (A,), who annotated
    title: str
    limits: tuple[float, float] | None = None  # shown black and white; by default its own extremes


def contact_sheet(
    panels: Sequence[Annotated],
    names: Sequence[str],
    *,
    columns: int = 4,
    title: str = "",
    classes: int | None = None,
) -> Figure:
    """Draw images with each annotator's outline in a colour of its own, which a legend explains.

    What an outline encloses is filled faintly, so that an inverted mask shows. Of more than two
    classes each has a colour, and the annotators differ in width. Whoever did not annotate an image
    is not drawn; under it stands who that was, and who drew an empty mask.

    Args:
        panels: What to show, row by row.
        names: Of the A annotators.
        columns: Panels a row.
        title: Over everything.
        classes: How many there are, background included; None is as many as are drawn.
    """
    classes = classes or count_classes(panel.masks for panel in panels)
    rows = -(-len(panels) // columns)
    size = 2.0 * columns, 2.35 * rows + 0.9
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, panel in zip(axes, panels, strict=False):
        _draw_annotated(ax, panel, names, classes)
    if classes > 2:
        explain_classes(figure, classes, loc="outside lower center")
    else:
        _explain_colours(figure, names)
    figure.suptitle(title, fontsize=10, color=INK)
    return figure


def _explain_colours(figure: Figure, names: Sequence[str]) -> None:
    handles = [Line2D([], [], **_pen(index, len(names))) for index in range(len(names))]
    figure.legend(
        handles,
        [f"annotator {name}" for name in names],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        labelcolor="white",
        facecolor=INK,
        framealpha=1,
    )


def _draw_annotated(ax: Axes, panel: Annotated, names: Sequence[str], classes: int) -> None:
    show_image(ax, panel.image, panel.limits)
    for index in np.flatnonzero(panel.present):
        pen = _pen(int(index), len(panel.masks))
        pale = _FILL / panel.present.sum()
        (colour,) = pens([pen["color"]], classes)
        draw_outline(ax, panel.masks[index], colour=colour, width=pen["linewidth"], fill=pale)
    empty = panel.present & ~(np.ma.filled(panel.masks, 0) > 0).any(axis=(1, 2))
    notes = {"empty": empty, "absent": ~panel.present}
    remarks = [f"{what}: {_listed(who, names)}" for what, who in notes.items() if who.any()]
    ax.set_title(panel.title, fontsize=6, color=INK, pad=3)
    ax.text(0.5, -0.02, " · ".join(remarks), transform=ax.transAxes, **_UNDER)


def _listed(who: NDArray[np.bool_], names: Sequence[str]) -> str:
    return "all" if who.all() else ", ".join(np.array(names)[who])


def _pen(index: int, annotators: int) -> dict[str, Any]:
    """Return an annotator's colour and width: later ones are thinner, so equal outlines nest."""
    thinner = 1.6 * index / max(annotators - 1, 1)
    return {"color": ANNOTATOR[index % len(ANNOTATOR)], "linewidth": 2.4 - thinner}
