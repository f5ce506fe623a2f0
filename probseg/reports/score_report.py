"""The page of ``probseg score``: systems side by side, with tests and pictures, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg._version import __version__
from probseg.datasets.image_folder import ImageFolder
from probseg.datasets.mask_folders import MaskFolders
from probseg.metrics.paired import PairedTest
from probseg.metrics.score_comparison import ScoreComparison
from probseg.metrics.scores import Scores
from probseg.plots import Block, hide_ignored, palette, reliability_diagram
from probseg.reports.charts import Chart
from probseg.reports.page import render
from probseg.reports.samples import encode
from probseg.reports.score_tables import means_table, tests_table
from probseg.reports.tables import Table
from probseg.utils.atomic_files import atomic_file

_PICTURED = 12  # images
_SHOWN = 16  # masks of a side
_DISAGREEMENT = "annotator-diversity"
_UNDER = ("ged", "hungarian-iou", "dice-max")  # metrics that stand under a name


@dataclass(frozen=True)
class Masks:
    """The folders that scores are of.

    Args:
        systems: Name to the masks that it predicted.
        annotations: Masks that people drew.
        images: What they were drawn on, if it is there.
    """

    systems: Mapping[str, MaskFolders]
    annotations: MaskFolders
    images: ImageFolder | None = None


def write_score_report(scores: Mapping[str, Scores], masks: Masks, path: Path) -> None:
    """Write the scores of one system or several as a page of HTML, in one file.

    Args:
        scores: Name to scores, of the same images.
        masks: What was scored.
        path: The file.

    Raises:
        DataError: A mask or an image cannot be read any more.
        WriteError: The file cannot be written; none is left behind.
    """
    first = next(iter(scores.values()))
    comparison = ScoreComparison(scores) if len(scores) > 1 else None
    chosen = _chosen(first)
    ranked = _ranked(first)
    text = render(
        "scores.html.j2",
        title=f"Scores of {_listed(list(scores))}",
        lead=f"{_counted(len(first.ids), 'image')} of {_counted(len(set(first.groups)), 'group')}.",
        verdicts=verdicts(comparison.tests) if comparison else [],
        images=[_case(index, scores, masks) for index in chosen],
        colours=palette(scores),
        choice=(
            "Images at even steps of the annotators' disagreement, whatever the systems say."
            if ranked
            else "Images at even steps of their names' order."
        ),
        most=_SHOWN,
        tables=[*_tables(scores, comparison)],
        remarks=comparison.remarks if comparison else [],
        reliability=_reliability(scores),
        facts=_facts(scores, masks),
    )
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _reliability(scores: Mapping[str, Scores]) -> Chart | None:
    """Return the reliability diagram of all systems, if there is one."""
    curves = {name: one.reliability for name, one in scores.items() if one.reliability}
    if not curves:
        return None
    told = "; ".join(
        f"{name}: " + ", ".join(f"{q:.2f} at {p:.2f}" for p, q in zip(*one.curve, strict=True))
        for name, one in curves.items()
    )
    figure = reliability_diagram(curves, colours=palette(scores))
    return Chart.of(figure, "Reliability", f"Share of annotators at the samples' mean. {told}")


def verdicts(tests: Sequence[PairedTest]) -> list[dict[str, Any]]:
    """Return for every two systems in which metrics either is better, and in which neither."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for test in tests:
        pair = test.first, test.second
        empty = {"first": pair[0], "second": pair[1], "better": {n: [] for n in pair}, "alike": []}
        own = found.setdefault(pair, empty)
        (own["better"][test.better] if test.better else own["alike"]).append(test.metric)
    return list(found.values())


def _tables(scores: Mapping[str, Scores], comparison: ScoreComparison | None) -> list[Table]:
    means = means_table(scores)
    if comparison is None:
        return [means]
    return [means, tests_table(comparison.tests)]


def _ranked(scores: Scores) -> bool:
    """Return whether it is known of some image how much its annotators disagree."""
    return _DISAGREEMENT in scores and bool(np.isfinite(scores[_DISAGREEMENT]).any())


def _chosen(scores: Scores) -> list[int]:
    """Return which images are pictured: even steps of the annotators' disagreement."""
    order = np.arange(len(scores.ids))
    if _ranked(scores):
        disagreement = scores[_DISAGREEMENT]
        order = np.argsort(disagreement, kind="stable")[: np.isfinite(disagreement).sum()]
    count = len(order)
    steps = np.linspace(0, count - 1, min(_PICTURED, count)).round().astype(int)
    return [int(order[step]) for step in dict.fromkeys(steps.tolist())]


def _case(index: int, scores: Mapping[str, Scores], masks: Masks) -> dict[str, Any]:
    """Return an image, its annotations and each system's samples, as the page shows them."""
    first = next(iter(scores.values()))
    name, group = first.ids[index], first.groups[index]
    place = masks.annotations.place(name)
    drawn = hide_ignored(masks.annotations.read(name, place), masks.annotations.ignore_index)
    classes = masks.annotations.classes
    content = encode(
        drawn,
        {
            system: _block(folders.read(name, place), classes)
            for system, folders in masks.systems.items()
        },
        image=masks.images.read(name, place, drawn.shape[1:]) if masks.images else None,
        classes=classes,
        most=_SHOWN,
    )
    for system, own in scores.items():
        shown = {m: own[m][index] for m in _UNDER if m in own and np.isfinite(own[m][index])}
        content["models"][system]["scores"] = {m: f"{value:.3f}" for m, value in shown.items()}
    title = name if group == name else f"{name} of {group}"
    return {"dataset": masks.annotations.root.name, "title": title, **content}


def _block(samples: NDArray[Any], classes: int) -> Block:
    """Return samples, masks (N, H, W) or probabilities, with their mean and spread."""
    if samples.ndim == 3:
        samples = np.stack([samples == k for k in range(classes)], axis=1)
    return Block.of_probabilities(samples)


def _facts(scores: Mapping[str, Scores], masks: Masks) -> dict[str, list[str]]:
    systems = {
        f"samples of {name}": [f"{own.subject}: {own.samples} an image", *own.remarks]
        for name, own in scores.items()
    }
    first = next(iter(scores.values()))
    return {
        **systems,
        "annotations": [str(masks.annotations.root)],
        "classes": [f"{masks.annotations.classes} with the background"],
        "no value": [
            f"{metric} of {name}: {reason}"
            for name, own in scores.items()
            for metric, reason in own.problems.items()
        ],
        "images": [f"{len(first.ids)}, of {len(set(first.groups))} groups"],
        "program": [f"probseg {__version__}"],
    }


def _counted(count: int, one: str) -> str:
    return f"{count} {one}{'' if count == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
