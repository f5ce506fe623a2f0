"""``python -m benchmarks.evaluate``: score a trained model on any data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from benchmarks.suite import choices
from benchmarks.suite.choices import Parser
from benchmarks.suite.validation import ChoiceError, choose
from probseg.errors import ProbsegError

if TYPE_CHECKING:
    from probseg.interfaces import Dataset

EXAMPLES = """
examples:
  %(prog)s model.safetensors --dataset contours --crop 64
  %(prog)s benchmarks/out/cells/quick/lidc/csae/fold0-seed0-1716e0d8 \\
      --dataset lidc --data-root DATA --crop 64 --split all --projected

Exit status: 0 done, 1 the data or the checkpoint cannot be read, 2 the command makes no sense.
"""


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.evaluate",
        description="Score a trained model on data that several people annotated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint", type=Path, help="what model.save wrote, or the folder of a benchmark's cell"
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="such as contours, lidc")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help="folder of the data sets that are not embedded (default: $PROBSEG_DATA)",
    )
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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        check(options)
        run(options)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return 130
    except ChoiceError as error:
        return parser.complain(error)
    except ProbsegError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def check(options: argparse.Namespace) -> None:
    """Check every choice before torch is imported.

    Raises:
        ChoiceError: One makes no sense.
    """
    choose([options.dataset], probseg.datasets, kind="data set")
    choices.check_folds([options.fold])
    choices.check_seeds([options.seed])
    choices.check_places(options.data_root, None, options.device)
    for name in ("images", "crop", "samples", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ChoiceError(f"--{name} is {value}; it is at least 1")


def run(options: argparse.Namespace) -> None:
    """Score the model, print a table and write the JSON.

    Raises:
        ProbsegError: The checkpoint or the data cannot be read, or do not fit each other.
    """
    from rich.console import Console

    from benchmarks.jobs.data import open_dataset
    from benchmarks.jobs.scorecard import make_scorecard, to_rich
    from probseg.utils.atomic_files import write_json

    checkpoint = _file(options.checkpoint)
    model: Any = probseg.load(checkpoint)
    dataset = _view(open_dataset(options.dataset, root=options.data_root), options)
    card = make_scorecard(model, dataset, options)
    out = options.out or checkpoint.with_name(f"{checkpoint.stem}-{options.dataset}.json")
    write_json(out, {"checkpoint": str(checkpoint), **card})
    console = Console()
    console.print(to_rich(card))
    console.print(f"every image's scores are in {out}", highlight=False, markup=False)


def _file(checkpoint: Path) -> Path:
    return checkpoint / "model.safetensors" if checkpoint.is_dir() else checkpoint


def _view(dataset: Dataset, options: argparse.Namespace) -> Dataset:
    from benchmarks.jobs.data import thin
    from benchmarks.suite.settings import FOLDS
    from probseg.datasets.splits import split
    from probseg.datasets.views import CentreCrop, Subset

    indices: Sequence[int] = range(len(dataset))
    if options.split != "all":
        sides = split(dataset.groups, fold=options.fold, folds=FOLDS)
        indices = getattr(sides, options.split)
    chosen = Subset(dataset, thin(indices, options.images, seed=0))
    return CentreCrop(chosen, options.crop) if options.crop else chosen


if __name__ == "__main__":
    sys.exit(main())
