"""Draw the pictures of docs/metrics.md into docs/assets: ``python docs/_pictures/metrics.py``."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import probseg
from probseg.metrics.ged import generalised_energy_distance
from probseg.metrics.latent import effective_rank, gini
from probseg.metrics.matching import hungarian_iou
from probseg.plots import INK, MUTED

ASSETS = Path(__file__).parents[1] / "assets"
SPECTRA = {
    "all alike": [1.0] * 6,
    "somewhat uneven": [0.45, 0.6, 0.75, 0.95, 1.1, 1.25],
    "two carry it": [0.05, 0.05, 0.05, 0.05, 1.0, 1.0],
    "one carries all": [0.001, 0.001, 0.001, 0.001, 0.001, 1.0],
}
COUNTS = (1, 2, 4, 8, 16, 32, 64)
IMAGES, ANNOTATORS = 400, 4
BLUE, ORANGE = "#0072B2", "#E69F00"  # Okabe and Ito's


def spectra() -> Figure:
    """Draw four vectors of scales with their Gini index and effective rank."""
    figure = Figure(figsize=(8, 1.9), layout="constrained")
    for panel, (name, values) in zip(
        figure.subplots(1, 4, sharey=True), SPECTRA.items(), strict=False
    ):
        scales = torch.tensor(values)
        panel.bar(range(1, 7), values, color=BLUE)
        panel.set_title(name, fontsize=9, color=INK)
        told = f"Gini {gini(scales):.2f}, effective rank {effective_rank(scales):.1f}"
        panel.set_xlabel(told, fontsize=8, color=MUTED)
        _tidy(panel)
    return figure


def few_samples() -> Figure:
    """Draw what a perfect model scores, whose samples are one more set of annotations."""
    ged, matched, diversity = [], [], 0.0
    for count in COUNTS:
        samples, annotations = perfect(count)
        distance = generalised_energy_distance(samples, annotations)
        ged.append(distance.squared.mean())
        matched.append(hungarian_iou(samples, annotations).mean())
        diversity = distance.annotators.mean() * ANNOTATORS / (ANNOTATORS - 1)  # of two draws
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    expected = [diversity * (1 / count + 1 / ANNOTATORS) for count in COUNTS]
    left.plot(COUNTS, expected, color=MUTED, linestyle="--", label="D (1/N + 1/A)")
    left.plot(COUNTS, ged, "o", color=BLUE, label="GED of a perfect model")
    right.plot(COUNTS, matched, "o-", color=ORANGE, label="HM-IoU of a perfect model")
    for panel in (left, right):
        panel.set_xscale("log", base=2)
        panel.set_xticks(COUNTS, [str(count) for count in COUNTS])
        panel.set_xlabel("samples N of each image, against four annotations", fontsize=8)
        panel.set_ylim(0, 1)
        panel.legend(frameon=False, fontsize=8)
        _tidy(panel)
    return figure


def perfect(count: int) -> tuple[Tensor, Tensor]:
    """Return samples (B, N, H, W) and annotations (B, 4, H, W) of one and the same distribution."""
    options = {"samples": IMAGES, "annotators": count + ANNOTATORS}
    masks = probseg.datasets.create("ambiguous-shapes", **options).batch(range(IMAGES)).masks
    return masks[:, :count], masks[:, count:]


def _tidy(panel) -> None:  # noqa: ANN001  # matplotlib's Axes
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8, colors=MUTED)


if __name__ == "__main__":
    for name, draw in {"metrics_spectra": spectra, "metrics_samples": few_samples}.items():
        draw().savefig(ASSETS / f"{name}.png", dpi=110, metadata={"Software": None})
