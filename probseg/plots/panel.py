"""One image in a panel, and the outlines over it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from probseg.plots.style import MUTED, Array, Labels, Pen


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
