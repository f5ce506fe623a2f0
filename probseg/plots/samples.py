"""Samples of models beside annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from probseg.plots.block import Block, count_classes, largest_spread
from probseg.plots.panel import draw_outline, show_image
from probseg.plots.style import (
    ANNOTATOR,
    INK,
    MUTED,
    Array,
    Labels,
    Pen,
    explain_classes,
    palette,
    pens,
)

_ANNOTATORS = "annotators"  # the first row
_PANEL = 1.05  # inches
_OVERVIEW = 1.3  # points, of the lines of an overview
_LEVELS: dict[float, Any] = {0.1: ":", 0.5: "-", 0.9: "--"}  # lines over the mean
_LINES = "lines at .1 (dotted), .5 and .9 (dashed)"


def sample_sheet(
    image: Array,
    annotations: Labels,
    models: Mapping[str, Block],
    *,
    title: str = "",
    colours: Mapping[str, str] | None = None,
    classes: int | None = None,
) -> Figure:
    """Draw an image, its annotations, and what each model says of it.

    The first row is the annotators', each further one a model's: all outlines over the image,
    one panel a segmentation, then mean and standard deviation of the foreground. Of more than two
    classes each has a colour.

    Args:
        image: (H, W) or (C, H, W), see :func:`show_image`.
        annotations: (A, H, W) integer classes.
        models: Name to what the model said.
        title: Over everything.
        colours: Of some models; the others' are chosen.
        classes: How many there are, background included; None is as many as are drawn.

    References:
        Figures 5 to 8 of the cSAE paper.
    """
    blocks = {_ANNOTATORS: Block.of_annotations(annotations), **models}
    classes = classes or count_classes(block.labels for block in blocks.values())
    width = max(len(block.labels) for block in blocks.values())
    figure, grid = _sheet_grid(rows=len(blocks), width=width, title=title, classes=classes)
    used = palette(blocks, {_ANNOTATORS: "#333333", **(colours or {})})
    for row, (name, block) in zip(grid, blocks.items(), strict=True):
        own = ANNOTATOR if name == _ANNOTATORS else [used[name]]
        _draw_block(row, image, block, pens=pens(own, classes), classes=classes)
        label = name.replace("-", "-\n", 1) if len(name) > 10 else name
        row[0].set_ylabel(label, fontsize=9, fontweight="bold", color=used[name], labelpad=5)
    return figure


def _sheet_grid(
    *, rows: int, width: int, title: str, classes: int
) -> tuple[Figure, NDArray[np.object_]]:
    """Lay out outlines, ``width`` segmentations, and mean and deviation set apart a little."""
    left, right, top, bottom, gap = 0.45, 0.05, 0.62, 0.05, 0.12  # inches
    size = left + right + _PANEL * (width + 3) + gap, top + bottom + _PANEL * rows
    figure = Figure(figsize=size)
    grid = figure.subplots(
        rows,
        width + 4,
        squeeze=False,
        width_ratios=[1] * (width + 1) + [gap / _PANEL, 1, 1],
        gridspec_kw={
            "left": left / size[0],
            "right": 1 - right / size[0],
            "bottom": bottom / size[1],
            "top": 1 - top / size[1],
            "wspace": 0.04,
            "hspace": 0.04,
        },
    )
    for spacer in grid[:, -3]:
        spacer.remove()
    panels = np.delete(grid, -3, axis=1)
    mean, sd = map_headings(classes)
    headings = {0: "outlines", 1: "one by one", -2: mean, -1: sd}
    for column, heading in headings.items():
        panels[0, column].set_title(heading, fontsize=8, color=MUTED, pad=4, loc="left")
    figure.text(left / size[0], 1 - 0.1 / size[1], title, fontsize=10, color=INK, va="top")
    if classes > 2:
        explain_classes(figure, classes, loc="upper right")
    return figure, panels


def map_headings(classes: int) -> tuple[str, str]:
    """Return what stands over the maps of mean and standard deviation.

    >>> map_headings(2), map_headings(5)[1]
    (('mean, 0 to 1', 's. d., 0 to ½'), 's. d., 0 to .63')
    """
    top = "½" if classes == 2 else f"{largest_spread(classes):.2f}".lstrip("0")
    return "mean, 0 to 1", f"s. d., 0 to {top}"


def _draw_block(
    row: NDArray[np.object_], image: Array, block: Block, *, pens: Sequence[Pen], classes: int
) -> None:
    for panel in row:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
    draw_overview(row[[0, -2, -1]], image, block, pens=pens, classes=classes)
    for index, labels in enumerate(block.labels):
        show_image(row[index + 1], image)
        pen = pens[index % len(pens)]
        draw_outline(row[index + 1], labels, colour=pen, width=1.1, fill=0.28)
    for panel in row[len(block.labels) + 1 : -2]:
        panel.set_visible(False)


def draw_overview(
    panels: Sequence[Axes] | NDArray[np.object_],
    image: Array,
    block: Block,
    *,
    pens: Sequence[Pen],
    classes: int,
) -> None:
    """Draw the outlines of all segmentations over an image, then mean and standard deviation."""
    show_image(panels[0], image)
    for index, labels in enumerate(block.labels):
        draw_outline(panels[0], labels, colour=pens[index % len(pens)], width=0.9)
    tops = {1: 1.0, 2: largest_spread(classes)}
    for values, (place, top) in zip((block.mean, block.sd), tops.items(), strict=True):
        panels[place].imshow(values, cmap="magma", vmin=0, vmax=top, interpolation="nearest")


def sample_overview(
    image: Array, block: Block, *, title: str = "", classes: int | None = None
) -> Figure:
    """Draw the outlines of samples over an image (H, W) or (C, H, W), beside mean and deviation.

    Outlines have a dark edge, so that they show on bright images as well. Over the mean are
    lines where it is 0.1, 0.5 and 0.9.
    """
    classes = classes or count_classes([block.labels])
    height, width = image.shape[-2:]
    figure = Figure(figsize=(10, 10 / 3 * height / width + 0.8), layout="constrained")
    panels = figure.subplots(1, 3)
    draw_overview(panels, image, block, pens=pens(ANNOTATOR, classes), classes=classes)
    for outline in panels[0].collections:
        _edge(outline, _OVERVIEW)
    _draw_levels(panels[1], block.mean)
    mean, sd = map_headings(classes)
    titles = f"{len(block.labels)} samples", f"{mean}; {_LINES}", sd
    for panel, heading in zip(panels, titles, strict=True):
        panel.set_axis_off()
        panel.set_title(heading, fontsize=8, color=MUTED, loc="left")
    figure.suptitle(title, fontsize=10, color=INK)
    if classes > 2:
        explain_classes(figure, classes, loc="outside lower center")
    return figure


def _edge(lines: Any, width: float) -> None:
    """Give lines a width and a dark edge."""
    lines.set_linewidth(width)
    lines.set_path_effects([patheffects.withStroke(linewidth=width + 1.2, foreground=INK)])


def _draw_levels(panel: Axes, mean: Array) -> None:
    """Draw lines where a mean (H, W) is one of the levels that it passes."""
    levels = [level for level in _LEVELS if mean.min() < level < mean.max()]
    if levels:
        drawn = panel.contour(mean, levels=levels, colors="white")
        drawn.set_linestyle([_LEVELS[level] for level in levels])
        _edge(drawn, _OVERVIEW)
