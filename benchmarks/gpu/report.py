"""The results of a run on a GPU as one Markdown page, ``summary.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import read_results
from benchmarks.tables import MISSING, Column, Table, TableCell, number, to_markdown

# Nothing but Python is imported here: the command that writes the page needs nothing else.

Results = Mapping[str, Any]
Named = tuple[str, Results]  # a row of a table
SCORES = {  # number of samples to the heading and name of each metric
    "16": {"GED": "ged", "HM-IoU": "hungarian-iou", "diversity": "diversity"},
    "100": {"GED": "ged", "HM-IoU": "hungarian-iou"},
}


def write_summary(out: Path) -> None:
    """Write ``summary.md`` from whatever the parts have written so far."""
    scratch = out / ".summary.md"
    scratch.write_text(summary(out), encoding="utf-8")
    scratch.replace(out / "summary.md")


def summary(out: Path) -> str:
    """Return the page."""
    sections = {
        "Machine": _environment(read_results(out, "environment")),
        "Tests": _tests(read_results(out, "tests")),
        "Steps": _steps(read_results(out, "steps")),
        "Sampling": _sampling(read_results(out, "sampling")),
        "Profile": _profile(read_results(out, "profile")),
        "Training": _training(read_results(out, "train"), read_results(out, "scores")),
    }
    parts = ["`python -m benchmarks.gpu`"]
    for title, lines in sections.items():
        text = "\n".join(lines).strip()
        if text:  # the documentation includes a section by the name in its marks
            start, end = (f"<!-- --8<-- [{mark}:{title.lower()}] -->" for mark in ("start", "end"))
            parts.append(f"## {title}\n\n{start}\n\n{text}\n\n{end}")
    return "\n\n".join(parts) + "\n"


def _environment(results: Results) -> Iterator[str]:
    if "provenance" not in results:
        return
    origin = results["provenance"]
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    if results["small"]:
        yield "**A rehearsal: tiny sizes; no use as figures.**\n"
    yield f"{origin['machine']['device']}; {origin['machine']['cores']} cores. {versions}."
    changed = " with changes" if origin["git"]["dirty"] else ""
    yield f"Code {origin['git']['revision'] or 'of unknown revision'}{changed}."
    if "measured" in results:
        measured = results["measured"]
        yield (
            f"Measured: {measured['fp32'] / 1e12:.0f} TFLOP/s fp32 and "
            f"{measured['bf16'] / 1e12:.0f} TFLOP/s bf16 in products of 2048 × 2048, "
            f"{measured['bandwidth'] / 1e12:.2f} TB/s copied."
        )


def _tests(results: Results) -> Iterator[str]:
    if "summary" in results:
        yield f"`pytest -m gpu`: {results['summary']}."
        yield from (f"* {line}" for line in results["failed"])


def _steps(results: Results) -> Iterator[str]:
    if timings := _timings(results):
        size = results["size"]
        yield f"Images of {size} × {size}; medians of blocks of steps, none of which is waited for."
    for batch, rows in timings.items():
        yield f"\nB = {batch}\n"
        yield _timing_table(rows)


def _sampling(results: Results) -> Iterator[str]:
    for case, rows in _timings(results).items():
        count, _, images = case.partition("×")
        several = "image" if images == "1" else "images"
        yield f"\n{count} samples of {images} {several}, from the images on\n"
        yield _timing_table(rows)


def _timings(results: Results) -> dict[str, dict[str, Results]]:
    """Return the timings by case and name, from keys such as ``32/textbook``."""
    keys = [key.partition("/") for key in results if "/" in key]
    cases = dict.fromkeys(case for case, _, _ in keys)
    return {
        case: {name: results[f"{case}/{name}"] for other, _, name in keys if other == case}
        for case in cases
    }


def _timing_table(rows: Mapping[str, Results]) -> str:
    reference = rows.get("textbook", {}).get("seconds")
    headings = ("", "ms", "lowest to highest", "textbook / this", "peak MB")
    columns: list[Column[Sequence[str]]] = [
        Column(heading, itemgetter(index), number=bool(heading))
        for index, heading in enumerate(headings)
    ]
    records = [_timing(name, values, reference) for name, values in rows.items()]
    return to_markdown(Table.of(columns, records))


def _timing(name: str, values: Results, reference: float | None) -> Sequence[str]:
    if "error" in values:
        return name, MISSING, str(values["error"]), "", ""
    peak = values["peak_mb"]
    return (
        name,
        f"{values['seconds'] * 1e3:.2f}",
        f"{values['lowest'] * 1e3:.2f} to {values['highest'] * 1e3:.2f}",
        f"{reference / values['seconds']:.2f}" if reference else MISSING,
        MISSING if peak is None else f"{peak:,.0f}",
    )


def _profile(results: Results) -> Iterator[str]:
    columns = [
        Column[Results](
            "operation", lambda row: f"`{row['name'][:80].replace('|', ' ')}`", number=False
        ),
        Column("calls", lambda row: row["calls"]),
        Column("µs a step", lambda row: f"{row['us']:.0f}"),
    ]
    for model, profile in results.items():
        if isinstance(profile, dict):
            yield (
                f"\n{model}, B = {profile['batch']}: {profile['seconds'] * 1e3:.2f} ms a step, in "
                f"{profile['busy_seconds'] * 1e3:.2f} ms of which the device computes; "
                f"{profile['calls']} kernels.\n"
            )
            yield to_markdown(Table.of(columns, profile["rows"][:10]))


def _training(results: Results, scores: Results) -> Iterator[str]:
    models = [(n, row) for n, row in scores.items() if isinstance(row, dict) and "steps" in row]
    if not models:
        return
    _, first = models[0]
    command = results.get("commands", {}).get("paper", "")
    yield f"`python -m benchmarks.run {command}`, ended by the time that there was; seed 0."
    yield f"{first.get('images', 0)} of {first.get('of', 0)} test images, split by patient.\n"
    columns = [
        Column[Named]("", lambda row: row[0], number=False),
        Column("steps", lambda row: f"{row[1]['steps']:,.0f}"),
        Column("seconds", lambda row: f"{row[1]['training_seconds']:.0f}"),
        Column("validation loss", lambda row: f"{row[1]['best_validation_loss']:.1f}"),
        Column("Gini σ", partial(_mean, count="16", metric="gini")),
        *(
            Column(f"{title}{count}", partial(_mean, count=count, metric=metric))
            for count, metrics in SCORES.items()
            for title, metric in metrics.items()
        ),
    ]
    yield to_markdown(Table.of(columns, models))


def _mean(row: Named, *, count: str, metric: str) -> TableCell:
    return number(row[1].get("means", {}).get(count, {}).get("base", {}).get(metric))
