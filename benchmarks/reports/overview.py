"""An overview of samples: a row an image, and beside it what annotators and models say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.reports.colours import COLOURS
from probseg.plots import (
    ANNOTATOR,
    INK,
    MUTED,
    Array,
    Block,
    Labels,
    draw_outline,
    palette,
    show_image,
)

PARTS = ("outlines", "mean", "s. d.")
PANEL = 0.95  # inches
SIDE, TOP, GAP = 0.08, 0.72, 0.1


class Case(NamedTuple):
    """One image with everything that is said of it."""

    image: Array  # (C, H, W), of which the first channel is shown, or (H, W)
    masks: Labels  # (A, H, W), classes
    models: Mapping[str, Block]  # the same models in every case


def overview(cases: Sequence[Case], *, title: str = "") -> Figure:
    """Draw outlines, mean and standard deviation of annotators and models, a row an image.

    Means are shown from 0 to 1 and standard deviations from 0 to ½.

    References:
        Figures 5 to 8 of the paper.
    """
    names = ("annotators", *cases[0].models)
    width = 2 * SIDE + len(names) * (len(PARTS) * PANEL + GAP)
    height = TOP + len(cases) * PANEL + SIDE
    figure = Figure(figsize=(width, height))
    figure.text(SIDE / width, 1 - 0.08 / height, title, fontsize=10, color=INK, va="top")
    colours = palette(names, COLOURS)
    for index, name in enumerate(names):
        left = SIDE + index * (len(PARTS) * PANEL + GAP)
        grid = figure.add_gridspec(
            len(cases),
            len(PARTS),
            left=left / width,
            right=(left + len(PARTS) * PANEL) / width,
            bottom=SIDE / height,
            top=1 - TOP / height,
            wspace=0.03,
            hspace=0.03,
        )
        panels = grid.subplots(squeeze=False)
        _head(panels[0], name, colours[name])
        pens = ANNOTATOR if name == "annotators" else (colours[name],)
        for row, case in zip(panels, cases, strict=True):
            _draw(row, case, name, pens=pens)
    return figure


def _head(row: Sequence[Axes], name: str, colour: str) -> None:
    for panel, part in zip(row, PARTS, strict=True):
        panel.set_title(part, fontsize=7, color=MUTED, pad=3, loc="left")
    row[0].annotate(
        name,
        (0, 1),
        xytext=(0, 14),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        color=colour,
    )


def _draw(row: Sequence[Axes], case: Case, name: str, *, pens: Sequence[str]) -> None:
    block = Block.of_annotations(case.masks) if name == "annotators" else case.models[name]
    grey = np.asarray(case.image, dtype=float)
    show_image(row[0], grey[0] if grey.ndim == 3 else grey)
    for index, labels in enumerate(block.labels):
        draw_outline(row[0], labels, colour=pens[index % len(pens)], width=0.8)
    row[1].imshow(block.mean, cmap="magma", vmin=0, vmax=1, interpolation="nearest")
    row[2].imshow(block.sd, cmap="magma", vmin=0, vmax=0.5, interpolation="nearest")
    for panel in row:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
