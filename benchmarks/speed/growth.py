"""How the cost grows with image size, batch, latent dimensions, samples and annotators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from benchmarks.jobs.scoring import OF_SAMPLES
from benchmarks.speed import sample, train
from benchmarks.speed.contest import Contest, Entry, hold
from benchmarks.speed.options import Options
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS, THEIRS = "probseg", "textbook"


class Axis(NamedTuple):
    """Something that the cost grows with."""

    title: str  # of the table and the panel
    symbol: str
    values: Sequence[int]
    makers: dict[str, Callable[..., Any]]  # who is measured
    options: Callable[[int], dict[str, Any]]  # of a value


def contests(options: Options) -> list[Contest]:
    """Return one table an axis, and draw them all as ``growth.png``."""
    axes = _axes(options)
    found = [_measure(axis, options) for axis in axes]
    if options.out is not None:
        from benchmarks.reports.figures import write_figure

        write_figure(options.out / "growth.png", draw(axes, found))
    return found


def _axes(options: Options) -> list[Axis]:
    small, device = options.small, options.device
    usual = {"batch": 2 if small else 4, "size": 16 if small else 128, "device": device}
    steps = {OURS: train.Ours, THEIRS: train.Textbook}
    decoding = {OURS: sample.Ours, THEIRS: sample.Textbook}

    def axis(
        title: str, symbol: str, values: Sequence[int], makers: dict[str, Any], name: str
    ) -> Axis:
        chosen = values[:2] if small else values
        return Axis(title, symbol, chosen, makers, lambda value: usual | {name: value})

    sizes = (16, 32) if small else (32, 64, 128, 256)
    return [
        axis("Training step against image size", "H = W", sizes, steps, "size"),
        axis("Training step against batch", "B", (1, 2, 4, 8, 16), steps, "batch"),
        axis("Training step against latent dimensions", "L", (2, 6, 16, 64), steps, "latent_dim"),
        axis("Decoding against samples", "N", (1, 4, 16, 64), decoding, "count"),
        axis("All metrics against samples", "N", (4, 16, 64), {OURS: Metrics}, "count"),
        axis("All metrics against annotators", "A", (1, 4, 16), {OURS: Metrics}, "annotators"),
    ]


def _measure(axis: Axis, options: Options) -> Contest:
    entries = [
        Entry(name=f"{who}, {axis.symbol} = {value}", make=make, options=axis.options(value))
        for who, make in axis.makers.items()
        for value in axis.values
    ]
    return hold(axis.title, entries, rounds=options.rounds, watch=options.watch)


def draw(axes: Sequence[Axis], found: Sequence[Contest]) -> Figure:
    """Return one panel an axis: medians, and lowest to highest as bands."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    for axis, contest, panel in zip(axes, found, figure.subplots(2, 3).flat, strict=True):
        for who in axis.makers:
            rows = [contest.row(f"{who}, {axis.symbol} = {value}") for value in axis.values]
            low, high = ([f(row.seconds) for row in rows] for f in (min, max))
            panel.plot(axis.values, [row.median for row in rows], marker="o", label=who)
            panel.fill_between(axis.values, low, high, alpha=0.2)
        panel.set(xlabel=axis.symbol, ylabel="seconds", xscale="log", yscale="log")
        panel.set_title(axis.title, fontsize="medium")
        panel.set(xticks=axis.values, xticklabels=map(str, axis.values))
        panel.set_ylim(*_decades(panel.get_ylim()))
        panel.minorticks_off()
        panel.legend(frameon=False)
    return figure


def _decades(limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits of at least a factor of ten about the same middle, so that slopes compare."""
    low, high = limits
    middle, reach = math.sqrt(low * high), max(math.sqrt(high / low), math.sqrt(10))
    return middle / reach, middle * reach


class Metrics:
    """All of the benchmark's metrics of a batch of blobs.

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

    def answer(self) -> None:
        """Return nothing: there is nobody to compare with."""


def _discs(batch: int, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Return discs of different centres and radii, (B, N, H, W)."""
    axis = torch.arange(size)
    middle = size * (0.35 + 0.3 * torch.rand(2, batch, count, 1, 1, generator=generator))
    radius = size * (0.05 + 0.15 * torch.rand(batch, count, 1, 1, generator=generator))
    squared = (axis[:, None] - middle[0]) ** 2 + (axis - middle[1]) ** 2
    return (squared < radius**2).long()
