"""A scorecard: what one trained model scored on one data set."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from rich.table import Table

from benchmarks.jobs import provenance
from benchmarks.jobs.predictors import ModelPredictor
from benchmarks.jobs.results import SCHEMA_VERSION, finite, means
from benchmarks.jobs.scoring import Scorer
from benchmarks.suite.validation import ChoiceError
from probseg.errors import DataError, OptionError
from probseg.interfaces import Dataset
from probseg.training.execution import Execution, choose_execution
from probseg.training.settings import TrainingSettings
from probseg.utils.progress import progress_bar

Scorecard = dict[str, Any]


def make_scorecard(model: Any, dataset: Dataset, options: argparse.Namespace) -> Scorecard:
    """Score a model on every image of a data set.

    Raises:
        ChoiceError: The device is not here, or the model has no projected prior.
        DataError: The model was built for other channels or classes.
    """
    _check_fits(model, dataset)
    execution = _execution(options.device)
    if options.projected and model.spec.get("flow_context") not in ("image", "own"):
        raise ChoiceError("--projected: this model has no projected prior to sample")
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


def _execution(device: str) -> Execution:
    try:
        return choose_execution(TrainingSettings(device=device))
    except OptionError as error:
        raise ChoiceError(str(error)) from error


def _check_fits(model: Any, dataset: Dataset) -> None:
    has = {"channels": model.in_channels, "classes": model.classes}
    wants = {"channels": dataset.channels, "classes": dataset.classes}
    for name in has:
        if has[name] != wants[name]:
            raise DataError(
                f"the model was built for {has[name]} {name}, but {dataset.name} has {wants[name]}"
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
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"{statistics.fmean(known):.3f} ± {statistics.pstdev(known):.3f}"
