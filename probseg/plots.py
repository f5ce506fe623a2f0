"""Figures: contact sheets, samples beside annotations, the prior's Gini index over training time.

Every function returns a ``matplotlib.figure.Figure`` that belongs to no window; save it with
``figure.savefig(path)``. Where an annotation is masked, as by ``hide_ignored``, nobody labelled:
no outline is drawn there, and the pixels are hatched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probseg.utils.imports import require

# The imports below (E402) follow this call, whose error names the extra that is missing.
require("matplotlib", extra="plot", for_="probseg.plots")

from matplotlib import patheffects  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

Array = NDArray[np.floating]
Labels = NDArray[np.integer]
Curve = tuple[Sequence[float], Sequence[float]]

ANNOTATOR = ("#FFB000", "#DC267F", "#5CE1E6", "#B0F05A", "#648FFF", "#FE6100", "#FFFFFF")
CLASSES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")  # from 1 on
INK, MUTED, GRID = "#222222", "#666666", "#E4E4E4"
_MODELS = ("#8C6BB1", "#A6761D", "#66A61E", "#E7298A", "#1B9E77", "#7570B3")
_ANNOTATORS = "annotators"  # the first row
_FILL = 0.45  # of all annotators' masks together
_PANEL = 1.05  # inches
_UNDER: dict[str, Any] = {"fontsize": 6, "color": MUTED, "ha": "center", "va": "top"}
_OVERVIEW = 1.3  # points, of the lines of an overview
_LEVELS: dict[float, Any] = {0.1: ":", 0.5: "-", 0.9: "--"}  # lines over the mean
_LINES = "lines at .1 (dotted), .5 and .9 (dashed)"
_TIMES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Block:
    """What one row of a sample sheet shows.

    Args:
        labels: Segmentations (N, H, W), integer classes, 0 is background.
        mean: Mean probability of the foreground (H, W).
        sd: Its standard deviation over the samples (H, W); of more than two classes that of all
            their probabilities, ``√(Σ_k Var p_k / 2)``, so that it shows where one class is taken
            for another.
    """

    labels: Labels
    mean: Array
    sd: Array

    @classmethod
    def of_probabilities(cls, probabilities: Array) -> Block:
        """Make the block of samples (N, K, H, W)."""
        p = np.asarray(probabilities)
        return cls(p.argmax(axis=1), mean=1 - p[:, 0].mean(axis=0), sd=spread(p.std(axis=0)))

    @classmethod
    def of_annotations(cls, masks: Labels) -> Block:
        """Make the block of annotations (A, H, W): mean and spread over the annotators."""
        labels = np.asanyarray(masks)
        classes = np.arange(int(np.ma.filled(labels, 0).max()) + 1)
        of_classes = (labels == classes[:, None, None, None]).std(axis=1)
        mean, sd = (labels > 0).mean(axis=0), spread(of_classes)
        return cls(labels, np.ma.filled(mean, np.nan), np.ma.filled(sd, np.nan))


def hide_ignored(masks: Labels, ignore_index: int | None) -> Labels:
    """Return annotations, masked where they are ``ignore_index``: there nobody labelled."""
    return masks if ignore_index is None else np.ma.masked_equal(masks, ignore_index)


def spread(deviations: Array) -> Array:
    """Return one standard deviation (H, W) of those of the classes (K, H, W), see :class:`Block`.

    >>> spread(np.array([[[0.5]], [[0.5]]])).item()
    0.5
    """
    together: Array = np.sqrt(np.square(deviations).sum(axis=0) / 2)
    return together


def largest_spread(classes: int) -> float:
    """Return the largest :func:`spread` of certain samples: all classes are equally frequent.

    >>> largest_spread(2)
    0.5
    """
    return float(np.sqrt((1 - 1 / classes) / 2))


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


def count_classes(labels: Iterable[Labels]) -> int:
    """Return how many classes there are in label maps, at least two."""
    return max((int(np.ma.filled(one, 0).max(initial=1)) + 1 for one in labels), default=2)


Pen = str | Sequence[str]  # a colour of the whole foreground, or one of each of its classes


def pens(colours: Sequence[str], classes: int) -> Sequence[Pen]:
    """Return what draws one segmentation after another: of several classes, the same each time."""
    return [CLASSES] if classes > 2 else list(colours)


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
        _explain_classes(figure, classes, loc="upper right")
    return figure, panels


def map_headings(classes: int) -> tuple[str, str]:
    """Return what stands over the maps of mean and standard deviation.

    >>> map_headings(2), map_headings(5)[1]
    (('mean, 0 to 1', 's. d., 0 to ½'), 's. d., 0 to .63')
    """
    top = "½" if classes == 2 else f"{largest_spread(classes):.2f}".lstrip("0")
    return "mean, 0 to 1", f"s. d., 0 to {top}"


def _explain_classes(figure: Figure, classes: int, **place: Any) -> None:
    swatches = [
        Line2D([], [], color=CLASSES[k % len(CLASSES)], linewidth=4) for k in range(classes - 1)
    ]
    names = [f"class {k}" for k in range(1, classes)]
    figure.legend(swatches, names, ncols=8, fontsize=7, frameon=False, labelcolor=INK, **place)


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
        _explain_classes(figure, classes, loc="outside lower center")
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
        _explain_classes(figure, classes, loc="outside lower center")
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


def palette(names: Iterable[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the colour of each model: the chosen one, or else the next of a fixed list.

    >>> palette(["csae", "mine"], {"csae": "#009E73"})
    {'csae': '#009E73', 'mine': '#8C6BB1'}
    """
    names, chosen = list(names), chosen or {}
    others = [name for name in names if name not in chosen]
    following = {name: _MODELS[i % len(_MODELS)] for i, name in enumerate(others)}
    return {name: chosen.get(name) or following[name] for name in names}


def show_image(panel: Axes, image: Array, limits: tuple[float, float] | None = None) -> None:
    """Show an image (H, W) or (C, H, W): three channels in colour, else the first one in grey.

    Grey is black and white at ``limits``, or near its extremes.
    """
    image = np.asarray(image, dtype=float)
    if image.ndim == 3 and len(image) == 3:
        panel.imshow(in_colour(image), interpolation="bilinear")
        return
    grey = image[0] if image.ndim == 3 else image
    low, high = np.percentile(grey, (0.5, 99.5)) if limits is None else limits
    panel.imshow(grey, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear")


def in_colour(image: Array) -> Array:
    """Return red, green and blue (3, H, W) as (H, W, 3) from 0 to 1: as they are, or stretched.

    Values beyond 0 to 1 are stretched alike in all three channels, near their extremes.
    """
    if image.min() < 0 or image.max() > 1:
        low, high = np.percentile(image, (0.5, 99.5))
        image = (image - low) / max(high - low, 1e-6)
    return np.moveaxis(image.clip(0, 1), 0, -1)


def draw_outline(
    panel: Axes, labels: Labels, *, colour: Pen, width: float, fill: float = 0.0
) -> None:
    """Draw the outline of what is not background in labels (H, W), and fill it faintly.

    With a colour for each class, the outline of each class is drawn.
    """
    if np.ma.is_masked(labels):
        _hatch(panel, np.ma.getmaskarray(labels), colour if isinstance(colour, str) else MUTED)
    labels = np.ma.filled(labels, 0)
    if isinstance(colour, str):
        regions = [(labels > 0, colour)]
    else:
        present = [int(k) for k in np.unique(labels) if k]
        regions = [(labels == k, colour[(k - 1) % len(colour)]) for k in present]
    for region, own in regions:
        if region.any():
            _draw_region(panel, region, colour=own, width=width, fill=fill)


def _draw_region(
    panel: Axes, region: NDArray[np.bool_], *, colour: str, width: float, fill: float
) -> None:
    # A frame of background closes the outline of what touches the border.
    framed = np.pad(region.astype(float), 1)
    y, x = (np.arange(size) - 1.0 for size in framed.shape)
    if fill:
        panel.contourf(x, y, framed, levels=[0.5, 1.5], colors=[colour], alpha=fill)
    panel.contour(x, y, framed, levels=[0.5], colors=[colour], linewidths=width)
    panel.set_xlim(-0.5, region.shape[1] - 0.5)
    panel.set_ylim(region.shape[0] - 0.5, -0.5)


def _hatch(panel: Axes, where: NDArray[np.bool_], colour: str) -> None:
    framed = np.pad(where.astype(float), 1)
    y, x = (np.arange(size) - 1.0 for size in framed.shape)
    drawn = panel.contourf(x, y, framed, levels=[0.5, 1.5], colors="none", hatches=["////"])
    drawn.set_edgecolor(colour)
    drawn.set_linewidth(0)
    panel.set_xlim(-0.5, where.shape[1] - 0.5)
    panel.set_ylim(where.shape[0] - 0.5, -0.5)
