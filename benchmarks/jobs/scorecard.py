"""A scorecard: the scores of one trained model on one data set."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.jobs import provenance
from benchmarks.jobs.predictors import ModelPredictor
from benchmarks.jobs.results import SCHEMA_VERSION, finite, means
from benchmarks.jobs.scoring import Scorer
from probseg.errors import DataError, OptionError
from probseg.interfaces import Dataset
from probseg.training.execution import choose_execution
from probseg.training.settings import TrainingSettings
from probseg.utils.progress import progress_bar

Scorecard = dict[str, Any]  # the JSON that the command writes


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How a model is scored.

    Args:
        split: Name of the part of the data, for the record.
        samples: Samples an image.
        seed: Of the samples.
        batch: Images at a time.
        projected: Whether to score samples of the projected prior as well.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    """

    split: str
    samples: int
    seed: int
    batch: int
    projected: bool
    device: str


def make_scorecard(model: Any, dataset: Dataset, options: ScoringOptions) -> Scorecard:
    """Score a model on every image of a data set.

    Raises:
        OptionError: The device is not here, or the model has no projected prior.
        DataError: The model was built for other channels or classes.
    """
    _check_fits(model, dataset)
    execution = choose_execution(TrainingSettings(device=options.device))
    if options.projected and model.spec.get("flow_context") not in ("image", "own"):
        raise OptionError("--projected needs a model with a projected prior, and this one has none")
    predict = ModelPredictor(
        model,
        options.samples,
        execution=execution,
        seed=options.seed,
        projected=options.projected,
    )
    with progress_bar("evaluating", len(dataset)) as advance:
        scores = finite(Scorer(predict, batch=options.batch, advance=advance).run(dataset))
    return {
        "schema": SCHEMA_VERSION,
        "model": model.spec,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "provenance": dataset.provenance,
            "split": options.split,
            "images": len(dataset),
        },
        "samples": options.samples,
        "seed": options.seed,
        "batch": options.batch,
        "provenance": provenance.collect(str(execution.device)).to_json(),
        "groups": [str(group) for group in dataset.groups],
        "scores": scores,
        "means": means(scores),
    }


def _check_fits(model: Any, dataset: Dataset) -> None:
    of_model = {"channels": model.in_channels, "classes": model.classes}
    of_data = {"channels": dataset.channels, "classes": dataset.classes}
    for name, count in of_model.items():
        if count != of_data[name]:
            raise DataError(
                f"the model was built for {count} {name}, but {dataset.name} has {of_data[name]}"
            )


def to_rich(card: Scorecard) -> Table:
    """Return mean and standard deviation over the images, a column for each prior."""
    data = card["data"]
    table = Table(
        title=f"{card['model']['name']} on {data['name']}",
        caption=f"{data['images']} images ({data['split']}), {card['samples']} samples each; "
        f"mean ± sd over images. Data: {data['provenance']}",
    )
    table.add_column("metric")
    for variant in card["scores"]:
        table.add_column(f"{variant} prior", justify="right")
    for metric in card["scores"]["base"]:
        table.add_row(metric, *(_cell(scores[metric]) for scores in card["scores"].values()))
    return table


def _cell(values: list[float | None]) -> str:
    defined = [value for value in values if value is not None]
    if not defined:
        return "–"
    return f"{statistics.fmean(defined):.3f} ± {statistics.pstdev(defined):.3f}"
