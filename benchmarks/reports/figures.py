"""The figures of a report: the Gini index over training, sample sheets, the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.jobs.pictures import LABELS, Picture
from benchmarks.jobs.results import Result
from benchmarks.reports.analysis import paper
from benchmarks.reports.dataset_results import GINI, LOSS
from benchmarks.reports.dataset_results import training_curves as curves_of
from benchmarks.reports.runs import RowPictures, shared_pictures
from probseg.plots import (
    ANNOTATOR,
    INK,
    MUTED,
    Array,
    Block,
    Labels,
    Pen,
    count_classes,
    draw_overview,
    gini_curves,
    palette,
    sample_sheet,
    training_curves,
)
from probseg.utils.atomic_files import atomic_file

# The colour of each row, the same in every figure: Okabe and Ito's, which colour-blind readers tell
# apart.
COLOURS = {
    "punet": "#0072B2",
    "2p-planar": "#E69F00",
    "csae": "#009E73",
    "csae-two-flows": "#56B4E9",
    "csae-own": "#CC79A7",
    "csae-posterior": "#D55E00",
    "deterministic": "#777777",
    "annotators": "#333333",
}
DOTS_PER_INCH = 150
# Which data sets the paper's figures show.
GINI_FIGURES = {
    3: ("lidc", "qubiq-pancreas", "qubiq-pancreatic-lesion", "qubiq-brain-growth"),
    4: ("qubiq-brain-tumor-1", "qubiq-brain-tumor-2", "qubiq-brain-tumor-3"),
}
SAMPLE_FIGURES = {
    "lidc": 5,
    "qubiq-pancreas": 6,
    "qubiq-pancreatic-lesion": 7,
    "qubiq-brain-growth": 8,
}
PANEL, HEAD = 1.0, 0.7  # inches
Content = TypeVar("Content")


def write_figures(results: Sequence[Result], out: Path, *, folder: Path) -> None:
    """Write every figure of finished cells, whose pictures lie in ``folder``.

    Raises:
        WriteError: The disk is full or read-only.
    """
    losses, panels = (curves_of(results, name) for name in (LOSS, GINI))
    if losses:
        named = "loss on the validation images"
        write_figure(out / "loss.png", training_curves(losses, what=named, colours=COLOURS))
    if panels:
        write_figure(out / "gini.png", gini_curves(panels, colours=COLOURS))
    for number, names in GINI_FIGURES.items():
        rows = {name: _paper_rows(panels[name]) for name in names if name in panels}
        titled = {paper.dataset_name(name): curves for name, curves in rows.items() if curves}
        if titled:
            write_figure(out / f"figure{number}.png", gini_curves(titled, colours=COLOURS))
    for dataset, pictured in shared_pictures(results, folder).items():
        _write_samples(dataset, pictured, out)


def _paper_rows(rows: Mapping[str, Content]) -> dict[str, Content]:
    return {row: rows[row] for row in reversed(paper.ROWS) if row in rows}


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format="png")


def _write_samples(dataset: str, pictured: Sequence[RowPictures], out: Path) -> None:
    """Write one sheet an image, and the paper's figure of this data set if it has one."""
    cell = pictured[0].result.experiment
    title = f"{dataset}, profile {cell.profile}, fold {cell.fold}, seed {cell.seed}"
    rows = {row.result.experiment.row: row.pictures for row in pictured}
    indices = list(pictured[0].pictures)
    for number, index in enumerate(indices, start=1):
        case = case_of({row: pictures[index] for row, pictures in rows.items()})
        hatched = "; hatched or blank: not labelled" if np.ma.is_masked(case.masks) else ""
        named = f"{title}, test image {index}{hatched}"
        sheet = sample_sheet(*case, title=named, colours=COLOURS, classes=classes_of(pictured))
        write_figure(out / f"samples-{dataset}-{number}.png", sheet)
    of_paper = _paper_rows(rows)
    if dataset in SAMPLE_FIGURES and of_paper and indices:
        cases = [case_of({row: own[index] for row, own in of_paper.items()}) for index in indices]
        figure = overview(cases, title=title)
        write_figure(out / f"figure{SAMPLE_FIGURES[dataset]}.png", figure)


def classes_of(pictured: Sequence[RowPictures]) -> int:
    """Return how many classes the pictures of a data set have."""
    shown = [p[name] for row in pictured for p in row.pictures.values() for name in LABELS]
    return pictured[0].result.tested_on.classes or count_classes(shown)


class Case(NamedTuple):
    """One image, its annotations, and the samples of each model."""

    image: Array  # (C, H, W) or (H, W), as probseg.plots.show_image takes it
    masks: Labels  # (A, H, W), classes
    models: Mapping[str, Block]  # the same models in every case


def case_of(answers: Mapping[str, Picture]) -> Case:
    """Return an image, its annotations, and each row's samples of it."""
    first = next(iter(answers.values()))
    blocks = {
        row: Block(picture["labels"], picture["mean"].astype(float), picture["sd"].astype(float))
        for row, picture in answers.items()
    }
    return Case(first["image"].astype(float), first["masks"], blocks)


def overview(cases: Sequence[Case], *, title: str = "") -> Figure:
    """Draw outlines, mean and standard deviation of annotators and models, a row an image.

    Means are shown from 0 to 1 and standard deviations from 0 to ½.

    References:
        Figures 5 to 8 of the paper.
    """
    names = ("annotators", *cases[0].models)
    size = 3 * PANEL * len(names), PANEL * len(cases) + HEAD
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title, x=0.005, ha="left", fontsize=10, color=INK)
    colours = palette(names, COLOURS)
    for name, part in zip(names, figure.subfigures(1, len(names), squeeze=False)[0], strict=True):
        part.suptitle(name, x=0.01, ha="left", fontsize=9, fontweight="bold", color=colours[name])
        panels = part.subplots(len(cases), 3, squeeze=False)
        pens = ANNOTATOR if name == "annotators" else (colours[name],)
        for row, case in zip(panels, cases, strict=True):
            _draw(row, case, name, pens=pens)
        for panel, heading in zip(panels[0], ("outlines", "mean", "s. d."), strict=True):
            panel.set_title(heading, fontsize=7, color=MUTED, pad=3, loc="left")
    return figure


def _draw(row: Sequence[Axes], case: Case, name: str, *, pens: Sequence[Pen]) -> None:
    block = Block.of_annotations(case.masks) if name == "annotators" else case.models[name]
    draw_overview(row, case.image, block, pens=pens, classes=2)
    for panel in row:
        panel.set_axis_off()
