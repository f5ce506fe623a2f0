"""What a run on a GPU found, as one Markdown page: ``summary.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.state import read_state

# Nothing but Python is imported here: the command that writes the page needs nothing else.


def write_summary(out: Path) -> None:
    """Write ``summary.md`` from whatever the parts have left so far."""
    scratch = out / ".summary.md"
    scratch.write_text(summary(out), encoding="utf-8")
    scratch.replace(out / "summary.md")


def summary(out: Path) -> str:
    """Return the page."""
    sections = {
        "Machine": _environment(read_state(out, "environment")),
        "Tests": _tests(read_state(out, "tests")),
        "Steps": _steps(read_state(out, "steps")),
        "Sampling": _sampling(read_state(out, "sampling")),
        "Profile": _profile(read_state(out, "profile")),
        "Training": _training(read_state(out, "train"), read_state(out, "scores")),
    }
    parts = ["`python -m benchmarks.gpu`"]
    for title, lines in sections.items():
        text = "\n".join(lines).strip()
        if text:  # the documentation includes a section by the name in its marks
            start, end = (f"<!-- --8<-- [{mark}:{title.lower()}] -->" for mark in ("start", "end"))
            parts.append(f"## {title}\n\n{start}\n\n{text}\n\n{end}")
    return "\n\n".join(parts) + "\n"


def _environment(state: Mapping[str, Any]) -> Iterator[str]:
    if "provenance" not in state:
        return
    known = state["provenance"]
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    if state["small"]:
        yield "**A rehearsal: tiny sizes; no use as figures.**\n"
    yield f"{known['machine']['device']}; {known['machine']['cores']} cores. {versions}."
    changed = " with changes" if known["git"]["dirty"] else ""
    yield f"Code {known['git']['revision'] or 'of unknown revision'}{changed}."
    if "measured" in state:
        measured = state["measured"]
        yield (
            f"Measured: {measured['fp32'] / 1e12:.0f} TFLOP/s fp32 and "
            f"{measured['bf16'] / 1e12:.0f} TFLOP/s bf16 in products of 2048 × 2048, "
            f"{measured['bandwidth'] / 1e12:.2f} TB/s copied."
        )


def _tests(state: Mapping[str, Any]) -> Iterator[str]:
    if "summary" in state:
        yield f"`pytest -m gpu`: {state['summary']}."
        yield from (f"* {line}" for line in state["failed"])


def _steps(state: Mapping[str, Any]) -> Iterator[str]:
    timed = _timed(state)
    if timed:
        size = state["size"]
        yield f"Images of {size} × {size}; medians of blocks of steps, none of which is waited for."
    for batch in dict.fromkeys(key[0] for key in timed):
        yield f"\nB = {batch}\n"
        yield from _table({name: row for (b, name), row in timed.items() if b == batch})


def _sampling(state: Mapping[str, Any]) -> Iterator[str]:
    timed = _timed(state)
    for case in dict.fromkeys(key[0] for key in timed):
        count, _, images = case.partition("×")
        several = "image" if images == "1" else "images"
        yield f"\n{count} samples of {images} {several}, from the images on\n"
        yield from _table({name: row for (c, name), row in timed.items() if c == case})


def _timed(state: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {
        (key.partition("/")[0], key.partition("/")[2]): row
        for key, row in state.items()
        if "/" in key
    }


def _table(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    reference = rows.get("textbook", {}).get("seconds")
    yield "| | ms | lowest to highest | textbook / this | peak MB |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, row in rows.items():
        if "error" in row:
            yield f"| {name} | – | {row['error']} | | |"
            continue
        ratio = f"{reference / row['seconds']:.2f}" if reference else "–"
        peak = "–" if row["peak_mb"] is None else f"{row['peak_mb']:,.0f}"
        span = f"{row['lowest'] * 1e3:.2f} to {row['highest'] * 1e3:.2f}"
        yield f"| {name} | {row['seconds'] * 1e3:.2f} | {span} | {ratio} | {peak} |"


def _profile(state: Mapping[str, Any]) -> Iterator[str]:
    for model, found in state.items():
        if not isinstance(found, dict):
            continue
        yield (
            f"\n{model}, B = {found['batch']}: {found['seconds'] * 1e3:.2f} ms a step, in "
            f"{found['busy_seconds'] * 1e3:.2f} ms of which the device computes; "
            f"{found['calls']} kernels.\n"
        )
        yield "| operation | calls | µs a step |"
        yield "| --- | ---: | ---: |"
        for row in found["rows"][:10]:
            yield f"| `{row['name'][:80].replace('|', ' ')}` | {row['calls']} | {row['us']:.0f} |"


def _training(state: Mapping[str, Any], scores: Mapping[str, Any]) -> Iterator[str]:
    models = {name: row for name, row in scores.items() if name != "provenance" and _is_row(row)}
    if not models:
        return
    first = next(iter(models.values()))
    command = state.get("commands", {}).get("paper", "")
    yield f"`python -m benchmarks.run {command}`, ended by the time that there was; seed 0."
    yield f"{first.get('images', 0)} of {first.get('of', 0)} test images, split by patient.\n"
    columns = ("ged", "hungarian-iou", "diversity")
    yield (
        "| | steps | seconds | validation loss | Gini σ | GED16 | HM-IoU16 | diversity16 "
        "| GED100 | HM-IoU100 |"
    )
    yield "| --- |" + " ---: |" * 9
    for name, row in models.items():
        few, many = (_means(row, count) for count in ("16", "100"))
        values = [few.get("gini"), *(few.get(c) for c in columns), *map(many.get, columns[:2])]
        shown = " | ".join("–" if value is None else f"{value:.3f}" for value in values)
        yield (
            f"| {name} | {row['steps']:,.0f} | {row['training_seconds']:.0f} | "
            f"{row['best_validation_loss']:.1f} | {shown} |"
        )


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and "steps" in row


def _means(row: Mapping[str, Any], count: str) -> Mapping[str, float]:
    found: Mapping[str, float] = row.get("means", {}).get(count, {}).get("base", {})
    return found
