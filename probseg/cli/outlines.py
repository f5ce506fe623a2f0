"""A picture of a prediction: all outlines over the image, beside mean and deviation."""

from __future__ import annotations

from matplotlib.figure import Figure

from probseg.plots import ANNOTATOR, INK, MUTED, Array, Labels, draw_outline, show_image


def outline_sheet(image: Array, labels: Labels, mean: Array, sd: Array, *, title: str) -> Figure:
    """Draw the outlines of all samples over their image, and beside it mean and deviation.

    Args:
        image: (H, W).
        labels: Samples (n, H, W), integer classes, 0 is background.
        mean: Mean probability of the foreground (H, W).
        sd: Its standard deviation over the samples (H, W).
        title: Over everything.
    """
    height, width = image.shape
    figure = Figure(figsize=(10, 10 / 3 * height / width + 0.8), layout="constrained")
    panels = figure.subplots(1, 3)
    headings = (f"{len(labels)} samples", "mean, 0 to 1", "s. d., 0 to ½")
    for panel, heading in zip(panels, headings, strict=True):
        panel.set_axis_off()
        panel.set_title(heading, fontsize=8, color=MUTED, loc="left")
    show_image(panels[0], image)
    for index, one in enumerate(labels):
        draw_outline(panels[0], one, colour=ANNOTATOR[index % len(ANNOTATOR)], width=0.9)
    panels[1].imshow(mean, cmap="magma", vmin=0, vmax=1, interpolation="nearest")
    panels[2].imshow(sd, cmap="magma", vmin=0, vmax=0.5, interpolation="nearest")
    figure.suptitle(title, fontsize=10, color=INK)
    return figure
