"""The report of a run: tables, the figure of the Gini index, and sample sheets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import pictures, tables
from benchmarks.cells import Cell
from benchmarks.html import write_report
from benchmarks.results import Result
from probseg.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150
Finished = Sequence[tuple[Cell, Result]]


def write(
    finished: Finished, out: Path, *, competing: Iterable[str], notes: Mapping[str, str]
) -> list[tables.Table]:
    """Write every table and figure of finished cells into ``out``, and return the tables.

    Args:
        finished: Cells and their results, in the order of the table.
        out: Folder of the run.
        competing: The rows among which the best value is marked.
        notes: What each row is.

    Raises:
        WriteError: The disk is full or read-only.
    """
    results = [result for _, result in finished]
    made = tables.tabulate(results, competing=competing, notes=notes)
    _write_text(out / "table.md", tables.to_markdown(made))
    _write_text(out / "table.csv", tables.to_csv(made))
    _write_gini(finished, out / "gini.png")
    for dataset in dict.fromkeys(cell.dataset for cell, _ in finished):
        _write_sheets([(c, r) for c, r in finished if c.dataset == dataset], out)
    write_report(finished, out, out, competing=competing, notes=notes)
    return made


def _write_text(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, facecolor="white", format="png")


def _write_gini(finished: Finished, path: Path) -> None:
    panels = gini_panels(result for _, result in finished)
    if panels:
        from probseg.plots import gini_curves

        write_figure(path, gini_curves(panels))


def gini_panels(
    results: Iterable[Result],
) -> Mapping[str, Mapping[str, list[tuple[list[float], list[float]]]]]:
    """Return data set to row to one curve a cell: steps, and the Gini index of the prior."""
    panels: dict[str, dict[str, list[tuple[list[float], list[float]]]]] = {}
    for result in results:
        records = [r for r in result["history"] if r.get("prior/gini") is not None]
        if records:
            curve = [r["step"] for r in records], [r["prior/gini"] for r in records]
            panel = panels.setdefault(result["config"]["dataset"]["name"], {})
            panel.setdefault(result["config"]["row"], []).append(curve)
    return panels


def _write_sheets(finished: Finished, out: Path) -> None:
    """Write one sheet an image; each trained row shows its first fold and seed."""
    albums: dict[str, dict[int, pictures.Page]] = {}
    for cell, _ in finished:
        path = cell.folder(out) / pictures.FILE
        if cell.trained and cell.row not in albums and path.exists():
            albums[cell.row] = pictures.load(path)
    if not albums:
        return
    shared = set.intersection(*(set(album) for album in albums.values()))
    caption = _sheet_caption(finished)
    for number, place in enumerate(sorted(shared), start=1):
        pages = {row: album[place] for row, album in albums.items()}
        name = f"samples-{finished[0][0].dataset}-{number}.png"
        write_figure(out / name, _sheet(pages, f"{caption}, test image {place}"))


def _sheet_caption(finished: Finished) -> str:
    config = next(cell.config for cell, _ in finished if cell.trained)
    return (
        f"{config['dataset']['name']}, profile {config['profile']}, "
        f"fold {config['fold']}, seed {config['seed']}"
    )


def _sheet(pages: Mapping[str, pictures.Page], title: str) -> Figure:
    from probseg.plots import Block, sample_sheet

    first = next(iter(pages.values()))
    blocks = {
        row: Block(page["labels"], page["mean"].astype(float), page["sd"].astype(float))
        for row, page in pages.items()
    }
    return sample_sheet(first["image"].astype(float), first["masks"], blocks, title=title)
