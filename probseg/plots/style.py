"""Colours of figures, and images with the outlines of segmentations on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.integer]

ANNOTATOR = ("#FFB000", "#DC267F", "#5CE1E6", "#B0F05A", "#648FFF", "#FE6100", "#FFFFFF")
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


def show_image(panel: Axes, grey: Array, limits: tuple[float, float] | None = None) -> None:
    """Show an image (H, W) in grey, black and white at ``limits`` or near its extremes."""
    low, high = np.percentile(grey, (0.5, 99.5)) if limits is None else limits
    panel.imshow(grey, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear")


def draw_outline(
    panel: Axes, labels: Labels, *, colour: str, width: float, fill: float = 0.0
) -> None:
    """Draw the outline of what is not background in labels (H, W), and fill it faintly."""
    foreground = (np.asarray(labels) > 0).astype(float)
    if not foreground.any():
        return
    # A frame of background closes the outline of what touches the border.
    framed = np.pad(foreground, 1)
    y, x = (np.arange(size) - 1.0 for size in framed.shape)
    if fill:
        panel.contourf(x, y, framed, levels=[0.5, 1.5], colors=[colour], alpha=fill)
    panel.contour(x, y, framed, levels=[0.5], colors=[colour], linewidths=width)
    panel.set_xlim(-0.5, foreground.shape[1] - 0.5)
    panel.set_ylim(foreground.shape[0] - 0.5, -0.5)
