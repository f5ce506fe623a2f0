"""``python -m benchmarks.evaluate``: score a trained model on any data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from benchmarks.arguments import (
    add_data_root,
    check_data_root,
    check_device,
    check_fold,
    check_seed,
    choose,
)
from probseg.cli.command import Command, run_program
from probseg.cli.parser import Parser
from probseg.options import check_integer

if TYPE_CHECKING:
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
    parser.add_argument(
        "checkpoint", type=Path, help="what model.save wrote, or the folder of a benchmark's cell"
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="such as contours, lidc")
    add_data_root(parser)
    parser.add_argument(
        "--split",
        choices=["test", "validation", "train", "all"],
        default="test",
        help="which images (default: test, the first fifth of the patients)",
    )
    parser.add_argument("--fold", type=int, default=0, metavar="N", help="of validation and train")
    parser.add_argument("--images", type=int, metavar="N", help="at most so many, drawn by seed 0")
    parser.add_argument("--crop", type=int, metavar="PIXELS", help="centre crop")
    parser.add_argument("--samples", type=int, default=16, metavar="N", help="an image (16)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the samples (0)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="images at a time (16)")
    parser.add_argument(
        "--projected", action="store_true", help="score samples of the projected prior as well"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="JSON (default: beside the checkpoint)"
    )


COMMAND = Command(
    name="python -m benchmarks.evaluate",
    summary="score a trained model on data that several people annotated",
    add_arguments=add_arguments,
    run="benchmarks.evaluate:run",
    examples=EXAMPLES,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_program(COMMAND, arguments)


def run(options: argparse.Namespace) -> int:
    """Print and write the scores, and return exit status 0."""
    _check(options)  # before torch is imported
    from rich.console import Console

    from benchmarks.jobs.data import open_dataset
    from benchmarks.jobs.scorecard import ScoringOptions, make_scorecard, to_rich
    from probseg.utils.atomic_files import write_json

    checkpoint = _file(options.checkpoint)
    model: Any = probseg.load(checkpoint)
    dataset = _part(open_dataset(options.dataset, root=options.data_root), options)
    how = {field.name: getattr(options, field.name) for field in fields(ScoringOptions)}
    card = make_scorecard(model, dataset, ScoringOptions(**how))
    out = options.out or checkpoint.with_name(f"{checkpoint.stem}-{options.dataset}.json")
    write_json(out, {"checkpoint": str(checkpoint), **card})
    console = Console()
    console.print(to_rich(card))
    console.print(f"every image's scores are in {out}", highlight=False, markup=False)
    return 0


def _check(options: argparse.Namespace) -> None:
    choose([options.dataset], probseg.datasets, kind="data set")
    check_fold("--fold", options.fold)
    check_seed(options.seed)
    check_data_root(options.data_root)
    check_device(options.device)
    for name in ("images", "crop", "samples", "batch"):
        value = getattr(options, name)
        if value is not None:
            check_integer(f"--{name}", value)


def _file(checkpoint: Path) -> Path:
    return checkpoint / "model.safetensors" if checkpoint.is_dir() else checkpoint


def _part(dataset: Dataset, options: argparse.Namespace) -> Dataset:
    from benchmarks.jobs.data import thin
    from benchmarks.suite.settings import FOLDS
    from probseg.datasets.splits import split
    from probseg.datasets.views import CentreCrop, Subset

    indices: Sequence[int] = range(len(dataset))
    if options.split != "all":
        parts = split(dataset.groups, fold=options.fold, folds=FOLDS)
        indices = getattr(parts, options.split)
    chosen = Subset(dataset, thin(indices, options.images, seed=0))
    return CentreCrop(chosen, options.crop) if options.crop else chosen


if __name__ == "__main__":
    sys.exit(main())
