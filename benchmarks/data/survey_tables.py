"""A survey as tables: what was found beside what is expected, the annotators, the findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.data.catalogue import Entry
from benchmarks.data.opening import annotators_of, name_of
from benchmarks.data.survey import Survey
from probseg.datasets.formats.files import shorten

TOLD = 3  # samples that a finding names


def facts(found: Survey) -> dict[str, Any]:
    """Return what Table 3 has numbers of."""
    dataset = found.dataset
    return {
        "samples": len(dataset),
        "groups": len(set(dataset.groups)),
        "size": list(found.size),
        "annotators": dataset.annotators,
        "channels": dataset.channels,
    }


def comparison(found: Survey, expected: Entry) -> Table:
    """Return the table of what was found, beside the paper's numbers where it has any."""
    table = Table(title=found.dataset.name, title_justify="left", title_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    if expected.table3:
        table.add_column("paper, Table 3", justify="right")
        table.add_column("")
    for what, value in facts(found).items():
        table.add_row(what, _show(value), *_beside(what, value, expected.table3))
    for what, value in _details(found):
        table.add_row(what, value)
    table.caption = expected.note or None
    return table


def _beside(what: str, value: Any, table3: Mapping[str, Any]) -> tuple[str, ...]:
    if what not in table3:
        return ()
    return _show(table3[what]), "" if value == table3[what] else "[yellow]differs[/]"


def _show(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, list) else f"{value:,}"


def _details(found: Survey) -> Iterator[tuple[str, str]]:
    measures, groups = found.measures, Counter(found.dataset.groups).values()
    yield "samples a group", _span(min(groups), max(groups))
    yield "annotators a sample", _counts(measures.present.sum(1).tolist())
    yield "classes", str(found.dataset.classes)
    yield "intensities", _span(f"{measures.lowest.min():.3g}", f"{measures.highest.max():.3g}")
    if (spacing := _spacing(found)) is not None:
        yield "spacing", spacing
    masks, empty = int(measures.present.sum()), int(measures.empty.sum())
    yield "empty masks", f"{empty:,} of {masks:,} ({empty / max(masks, 1):.1%})"
    drawn = measures.area[measures.present & ~measures.empty]
    yield "area of the others", f"{drawn.mean():.2%} of the image" if len(drawn) else "–"
    yield "mean pairwise IoU", f"{measures.iou.nanmean():.3f} (two empty masks score 1)"
    yield "", f"{measures.iou_drawn.nanmean():.3f} (pairs of two empty masks left out)"


def _span(low: object, high: object) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _counts(values: list[int]) -> str:
    counts = sorted(Counter(values).items(), reverse=True)
    return ", ".join(f"{value} in {count:,}" for value, count in counts)


def _spacing(found: Survey) -> str | None:
    spacing = np.asarray(getattr(found.dataset, "spacing", np.empty((0, 2))))
    known = spacing[np.isfinite(spacing).all(axis=1)]
    if not len(known):
        return None
    return f"{_span(f'{known.min():.3g}', f'{known.max():.3g}')} mm in {len(known):,} samples"


def annotators(found: Survey) -> Table:
    """Return the table of who annotated how much, and how far from the others."""
    table = Table(title="annotators", title_justify="left")
    for heading in ("annotator", "annotated", "empty", "mean IoU with the others"):
        table.add_column(heading, justify="right")
    measures = found.measures
    for index, name in enumerate(annotators_of(found.dataset)):
        present, empty = measures.present[:, index].sum(), measures.empty[:, index].sum()
        iou = measures.iou_others[:, index].nanmean()
        table.add_row(name, f"{present:,}", f"{empty:,}", f"{iou:.3f}")
    return table


def findings(found: Survey) -> Table | None:
    """Return the table of damaged and suspicious samples, or nothing if there are none."""
    if not (found.damaged or found.suspicious):
        return None
    table = Table(title="worth a look", title_justify="left")
    table.add_column("what", overflow="fold")
    table.add_column("samples", justify="right")
    table.add_column("such as", overflow="fold")
    for style, kind in (("red", found.damaged), ("", found.suspicious)):
        for what, indices in kind.items():
            names = (name_of(found.dataset, index) for index in indices[:TOLD])
            table.add_row(what, f"{len(indices):,}", "\n".join(names), style=style)
    return table


def left_out(found: Survey) -> str:
    """Return what was left out and why, or an empty string."""
    if not found.skipped:
        return ""
    return f"left out, {len(found.skipped):,} in all:\n  {shorten(found.skipped)}"
