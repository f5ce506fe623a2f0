"""Colours, types and legends of all figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.integer]
Curve = tuple[Sequence[float], Sequence[float]]
Pen = str | Sequence[str]  # a colour of the whole foreground, or one of each of its classes
ANNOTATOR = ("#FFB000", "#DC267F", "#5CE1E6", "#B0F05A", "#648FFF", "#FE6100", "#FFFFFF")
CLASSES = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")  # from 1 on
INK, MUTED, GRID = "#222222", "#666666", "#E4E4E4"
_MODELS = ("#8C6BB1", "#A6761D", "#66A61E", "#E7298A", "#1B9E77", "#7570B3")


def palette(names: Iterable[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the colour of each model: the chosen one, or else the next of a fixed list.

    >>> palette(["csae", "mine"], {"csae": "#009E73"})
    {'csae': '#009E73', 'mine': '#8C6BB1'}
    """
    names, chosen = list(names), chosen or {}
    others = [name for name in names if name not in chosen]
    following = {name: _MODELS[i % len(_MODELS)] for i, name in enumerate(others)}
    return {name: chosen.get(name) or following[name] for name in names}


def pens(colours: Sequence[str], classes: int) -> Sequence[Pen]:
    """Return what draws one segmentation after another: of several classes, the same each time."""
    return [CLASSES] if classes > 2 else list(colours)


def explain_classes(figure: Figure, classes: int, **place: Any) -> None:
    """Add a legend of the colours of the classes, at a place that ``Figure.legend`` takes."""
    swatches = [
        Line2D([], [], color=CLASSES[k % len(CLASSES)], linewidth=4) for k in range(classes - 1)
    ]
    names = [f"class {k}" for k in range(1, classes)]
    figure.legend(swatches, names, ncols=8, fontsize=7, frameon=False, labelcolor=INK, **place)
