"""``python -m benchmarks.evaluate``: score a trained model on any data."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from benchmarks.arguments import add_data_root, check_data_root, check_device, choose
from benchmarks.suite.settings import FOLDS
from probseg.cli.command import Command, run_program
from probseg.cli.parser import Parser
from probseg.errors import DataError, OptionError
from probseg.options import check_choice, check_integer

if TYPE_CHECKING:
    from rich.table import Table

    from probseg.interfaces import Dataset

EXAMPLES = """
examples:
  %(prog)s model.safetensors --dataset contours --crop 64
  %(prog)s benchmarks/out/cells/quick/lidc/csae/fold0-seed0-1716e0d8 \\
      --dataset lidc --data-root DATA --crop 64 --split all --projected

Exit status: 0 done, 1 the data or the checkpoint cannot be read, 2 the command makes no sense.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("checkpoint", type=Path, help="what model.save wrote, or the folder of a benchmark's cell")
    add("--dataset", required=True, metavar="NAME", help="such as contours, lidc")
    add_data_root(parser)
    parts = ["test", "validation", "train", "all"]
    images = "which images (default: test, the first fifth of the patients)"
    add("--split", choices=parts, default="test", help=images)
    add("--fold", type=int, default=0, metavar="N", help="of validation and train")
    add("--images", type=int, metavar="N", help="at most so many, drawn by seed 0")
    add("--crop", type=int, metavar="PIXELS", help="centre crop")
    add("--samples", type=int, default=16, metavar="N", help="an image (16)")
    add("--seed", type=int, default=0, metavar="N", help="of the samples (0)")
    add("--batch", type=int, default=16, metavar="N", help="images at a time (16)")
    add("--projected", action="store_true", help="score samples of the projected prior as well")
    add("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1")
    add("--out", type=Path, metavar="FILE", help="JSON (default: beside the checkpoint)")


COMMAND = Command(
    name="python -m benchmarks.evaluate",
    summary="score a trained model on data that several people annotated",
    add_arguments=add_arguments,
    run="benchmarks.evaluate:run",
    examples=EXAMPLES,
)


main = partial(run_program, COMMAND)


def run(options: argparse.Namespace) -> int:
    """Print and write the scores, and return exit status 0."""
    _check(options)  # before torch is imported
    from rich.console import Console

    from benchmarks.jobs.data import open_dataset
    from probseg.utils.atomic_files import write_json

    checkpoint = options.checkpoint
    if checkpoint.is_dir():
        checkpoint /= "model.safetensors"
    model: Any = probseg.load(checkpoint)
    dataset = _part(open_dataset(options.dataset, root=options.data_root), options)
    card = make_scorecard(model, dataset, options)
    out = options.out or checkpoint.with_name(f"{checkpoint.stem}-{options.dataset}.json")
    write_json(out, {"checkpoint": str(checkpoint), **card})
    console = Console()
    console.print(to_rich(card))
    console.print(f"every image's scores are in {out}", highlight=False, markup=False)
    return 0


def _check(options: argparse.Namespace) -> None:
    choose([options.dataset], probseg.datasets, kind="data set")
    check_choice("--fold", options.fold, range(FOLDS))
    check_integer("--seed", options.seed, low=0)
    check_data_root(options.data_root)
    check_device(options.device)
    for name in ("images", "crop", "samples", "batch"):
        if (value := getattr(options, name)) is not None:
            check_integer(f"--{name}", value)


def _part(dataset: Dataset, options: argparse.Namespace) -> Dataset:
    from benchmarks.jobs.data import thin
    from probseg.datasets.splits import split
    from probseg.datasets.views import CentreCrop, Subset

    indices: Sequence[int] = range(len(dataset))
    if options.split != "all":
        parts = split(dataset.groups, fold=options.fold, folds=FOLDS)
        indices = getattr(parts, options.split)
    chosen = Subset(dataset, thin(indices, options.images, seed=0))
    return CentreCrop(chosen, options.crop) if options.crop else chosen


def make_scorecard(model: Any, dataset: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Score a model on every image of a data set, and return the JSON that the command writes.

    Raises:
        OptionError: The device is not here, or the model has no projected prior.
        DataError: The model was built for other channels or classes.
    """
    from benchmarks.jobs import provenance
    from benchmarks.jobs.predictors import ModelPredictor, make_sampler
    from benchmarks.jobs.results import SCHEMA_VERSION, finite, means
    from benchmarks.jobs.scoring import score_dataset
    from probseg.training.execution import choose_execution
    from probseg.training.settings import TrainingSettings

    for name, needed in {"channels": model.in_channels, "classes": model.classes}.items():
        if needed != (there := getattr(dataset, name)):
            raise DataError(
                f"the model was built for {needed} {name}, but {dataset.name} has {there}"
            )
    execution = choose_execution(TrainingSettings(device=options.device))
    if options.projected and model.spec.get("flow_context") not in ("image", "own"):
        raise OptionError("--projected needs a model with a projected prior, and this one has none")
    sampler = make_sampler(model, options.samples, execution=execution, seed=options.seed)
    predict = ModelPredictor(sampler, projected=options.projected)
    scores = score_dataset(predict, dataset, batch=options.batch, progress=True)
    return {
        "schema": SCHEMA_VERSION,
        "model": model.spec,
        "data": {
            **{name: getattr(dataset, name) for name in ("name", "fingerprint", "provenance")},
            "split": options.split,
            "images": len(dataset),
        },
        **{name: getattr(options, name) for name in ("samples", "seed", "batch")},
        "provenance": provenance.collect(str(execution.device)).to_json(),
        "groups": [str(group) for group in dataset.groups],
        "scores": finite(scores),
        "means": means(scores),
    }


def to_rich(card: Mapping[str, Any]) -> Table:
    """Return mean and standard deviation over the images, a column for each prior."""
    from rich.table import Table

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
        table.add_row(metric, *(_mean_sd(scores[metric]) for scores in card["scores"].values()))
    return table


def _mean_sd(values: list[float | None]) -> str:
    defined = [value for value in values if value is not None]
    if not defined:
        return "–"
    return f"{statistics.fmean(defined):.3f} ± {statistics.pstdev(defined):.3f}"


if __name__ == "__main__":
    sys.exit(main())
