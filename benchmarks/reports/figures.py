"""The figures of a report: the Gini index over training, sample sheets, the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.jobs import pictures
from benchmarks.jobs.cells import Cell
from benchmarks.jobs.results import Result
from benchmarks.reports.analysis import words
from benchmarks.reports.analysis.curves import gini_panels
from benchmarks.reports.overview import Case, overview
from probseg.plots import Block, Curve, gini_curves, sample_sheet
from probseg.utils.atomic_files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
Finished = Sequence[tuple[Cell, Result]]
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


class Album(NamedTuple):
    """The pictures of one cell."""

    cell: Cell
    pages: Mapping[int, pictures.Picture]  # place in the test set to what is shown of it


def write(finished: Finished, out: Path, *, source: Path) -> None:
    """Write every figure of finished cells, whose pictures lie under ``source``."""
    panels = gini_panels(result for _, result in finished)
    if panels:
        write_figure(out / "gini.png", gini_curves(panels))
    for number, names in GINI_FIGURES.items():
        papers = {name: _papers(panels[name]) for name in names if name in panels}
        if any(papers.values()):
            titled = {words.dataset(name): curves for name, curves in papers.items() if curves}
            write_figure(out / f"figure{number}.png", gini_curves(titled))
    for dataset in dict.fromkeys(cell.dataset for cell, _ in finished):
        _write_samples([(c, r) for c, r in finished if c.dataset == dataset], out, source)


def _papers(rows: Mapping[str, Sequence[Curve]]) -> dict[str, Sequence[Curve]]:
    return {row: rows[row] for row in reversed(words.PAPER_ROWS) if row in rows}


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format="png")


def _write_samples(finished: Finished, out: Path, source: Path) -> None:
    """Write one sheet an image, and the paper's figure of this data set if it has one."""
    albums = {album.cell.row: album.pages for album in shared_albums(finished, source)}
    if not albums:
        return
    dataset, caption = finished[0][0].dataset, _sheet_caption(finished)
    places = list(next(iter(albums.values())))
    for number, place in enumerate(places, start=1):
        shown = {row: album[place] for row, album in albums.items()}
        title = f"{caption}, test image {place}"
        write_figure(out / f"samples-{dataset}-{number}.png", _sheet(shown, title))
    papers = {row: albums[row] for row in reversed(words.PAPER_ROWS) if row in albums}
    if dataset in SAMPLE_FIGURES and papers:
        cases = [{row: album[place] for row, album in papers.items()} for place in places]
        figure = overview([case_of(case) for case in cases], title=caption)
        write_figure(out / f"figure{SAMPLE_FIGURES[dataset]}.png", figure)


def shared_albums(finished: Finished, source: Path) -> list[Album]:
    """Return the pictures of each trained row's first fold and seed, of images that all have."""
    albums: dict[str, Album] = {}
    for cell, _ in finished:
        path = cell.folder(source) / pictures.FILE
        if cell.trained and cell.row not in albums and path.exists():
            albums[cell.row] = Album(cell, pictures.load(path))
    shared = set.intersection(*(set(a.pages) for a in albums.values())) if albums else set()
    return [Album(a.cell, {p: a.pages[p] for p in sorted(shared)}) for a in albums.values()]


def _sheet_caption(finished: Finished) -> str:
    config = next(cell.config for cell, _ in finished if cell.trained)
    return (
        f"{config['dataset']['name']}, profile {config['profile']}, "
        f"fold {config['fold']}, seed {config['seed']}"
    )


def _sheet(answers: Mapping[str, pictures.Picture], title: str) -> Figure:
    image, masks, blocks = case_of(answers)
    return sample_sheet(image, masks, blocks, title=title)


def case_of(answers: Mapping[str, pictures.Picture]) -> Case:
    """Return an image, its annotations, and what each row says of it."""
    first = next(iter(answers.values()))
    blocks = {
        row: Block(page["labels"], page["mean"].astype(float), page["sd"].astype(float))
        for row, page in answers.items()
    }
    return Case(first["image"].astype(float), first["masks"], blocks)
