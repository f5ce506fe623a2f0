"""How the cost scales with image size, batch, latent dimensions, samples and annotators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from benchmarks.jobs.scoring import OF_SAMPLES
from benchmarks.speed.comparison import OURS, Candidate, Comparison, Settings, compare
from benchmarks.speed.sample import Decoding, TextbookDecoding
from benchmarks.speed.train import Step, TextbookStep
from benchmarks.speed.workers import Workload
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import evaluate
from probseg.utils.atomic_files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE = "scaling.png"
Makers = dict[str, Callable[..., Workload]]


class Axis(NamedTuple):
    """A quantity that the cost grows with."""

    title: str  # of the table and the panel
    symbol: str
    option: str  # of the workloads
    values: Sequence[int]
    makers: Makers  # who is measured


def comparisons(settings: Settings) -> list[Comparison]:
    """Return one table an axis, and draw them all as ``scaling.png``."""
    axes = make_axes(small=settings.small)
    tables = [_measure(axis, settings) for axis in axes]
    if settings.out is not None:
        with atomic_file(settings.out / FIGURE) as path:
            draw(axes, tables).savefig(path, dpi=150, facecolor="white", format="png")
    return tables


def make_axes(*, small: bool) -> list[Axis]:
    """Return what is measured, with two small values an axis if ``small``."""
    steps: Makers = {OURS: Step, "textbook": TextbookStep}
    decoding: Makers = {OURS: Decoding, "textbook": TextbookDecoding}
    metrics: Makers = {OURS: Metrics}
    sizes = (16, 32) if small else (32, 64, 128, 256)
    axes = [
        Axis("Training step against image size", "H = W", "size", sizes, steps),
        Axis("Training step against batch", "B", "batch", (1, 2, 4, 8, 16), steps),
        Axis("Training step against latent dimensions", "L", "latent_dim", (2, 6, 16, 64), steps),
        Axis("Decoding against samples", "N", "count", (1, 4, 16, 64), decoding),
        Axis("All metrics against samples", "N", "count", (4, 16, 64), metrics),
        Axis("All metrics against annotators", "A", "annotators", (1, 4, 16), metrics),
    ]
    return [axis._replace(values=axis.values[:2]) for axis in axes] if small else axes


def options_of(axis: Axis, value: int, settings: Settings) -> dict[str, Any]:
    """Return the options of a workload, which are the usual ones but for the axis."""
    usual = {"batch": settings.size(4, 2), "size": settings.size(128, 16)}
    return usual | {"device": settings.device, axis.option: value}


def _measure(axis: Axis, settings: Settings) -> Comparison:
    candidates = [
        Candidate(
            name=f"{who}, {axis.symbol} = {value}",
            make=make,
            options=options_of(axis, value, settings),
        )
        for who, make in axis.makers.items()
        for value in axis.values
    ]
    return compare(axis.title, candidates, settings)


def draw(axes: Sequence[Axis], tables: Sequence[Comparison]) -> Figure:
    """Return one panel an axis: medians, with bands from lowest to highest."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for axis, table, panel in zip(axes, tables, figure.subplots(2, 3).flat, strict=True):
        for who in axis.makers:
            rows = [table.row(f"{who}, {axis.symbol} = {value}") for value in axis.values]
            low, high = ([f(row.seconds) for row in rows] for f in (min, max))
            panel.plot(axis.values, [row.median for row in rows], marker="o", label=who)
            panel.fill_between(axis.values, low, high, alpha=0.2)
        panel.set(xlabel=axis.symbol, ylabel="seconds", xscale="log", yscale="log")
        panel.set_title(axis.title, fontsize="medium")
        panel.set(xticks=axis.values, xticklabels=map(str, axis.values))
        panel.set_ylim(*_at_least_a_decade(panel.get_ylim()))
        panel.minorticks_off()
        panel.legend(frameon=False)
    return figure


def _at_least_a_decade(limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits a factor of ten or more apart about the same middle, so that slopes compare."""
    low, high = limits
    middle, reach = math.sqrt(low * high), max(math.sqrt(high / low), math.sqrt(10))
    return middle / reach, middle * reach


class Metrics(Workload):
    """All of the benchmark's metrics of a batch of discs.

    Args:
        batch: B.
        size: H and W.
        device: "cpu" or "cuda".
        count: N.
        annotators: A.
    """

    def __init__(
        self, *, batch: int, size: int, device: str, count: int = 16, annotators: int = 4
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        labels = _discs(batch, count + annotators, size, generator).to(device)
        foreground = 0.9 * labels[:, :count].float() + 0.05
        probabilities = torch.stack([1 - foreground, foreground], dim=2)
        self.evaluation = Evaluation(probabilities, labels[:, count:])

    def run(self) -> None:
        """Score the batch."""
        evaluate(self.evaluation, OF_SAMPLES)


def _discs(batch: int, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return discs of different centres and radii, (B, N, H, W)."""
    axis = torch.arange(size)
    middle = size * (0.35 + 0.3 * torch.rand(2, batch, count, 1, 1, generator=generator))
    radius = size * (0.05 + 0.15 * torch.rand(batch, count, 1, 1, generator=generator))
    squared = (axis[:, None] - middle[0]) ** 2 + (axis - middle[1]) ** 2
    return (squared < radius**2).long()
