"""``probseg evaluate``: score a trained model on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from probseg.cli.opening import add_metrics, check_file, chosen_metrics
from probseg.cli.parser import Parser, add_stratified
from probseg.cli.trained import Trained, add_trained
from probseg.options import check_integer

SUMMARY = "score a trained model on data that several people annotated"
EXAMPLES = """
examples:
  %(prog)s run --data my-data
  %(prog)s model.safetensors --data contours --part test --metrics ged hungarian-iou -n 100
  %(prog)s benchmarks/out/cells/quick/lidc/csae/fold0-seed0-1716e0d8 \\
      --data lidc --root DATA

MODEL is a checkpoint, or the folder of save_pretrained, of probseg train or of a model of the
benchmark. The data are opened as those that the model learnt from were: their size, window and
crop are in its file. A group, such as a patient, is the unit of the intervals.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``evaluate``."""
    add_trained(parser, part="test")
    parser.add_argument(
        "-n", type=int, metavar="N", help="samples an image (16, or the most that --protocol names)"
    )
    add_stratified(parser)
    add_metrics(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write each image's values to a CSV file"
    )


def run(options: argparse.Namespace) -> int:
    """Print the scores, and write them if there is a file to write to."""
    if options.n is not None:
        check_integer("-n", options.n)
    check_file(options.out)
    from rich.console import Console

    import probseg

    trained = Trained.opened(options)
    protocol = trained.protocol
    n = options.n or (max(protocol.samples) if protocol else 16)
    scores = probseg.evaluate(
        trained.model,
        trained.data,
        n=n,
        stratified=options.stratified,
        metrics=chosen_metrics(options) or (protocol.metrics if protocol else None),
        device=options.device,
        seed=options.seed,
    )
    others = [f"{n} samples"] * bool(protocol and n not in protocol.samples)
    scores = trained.stated(scores, *others, *["stratified samples"] * options.stratified)
    if options.out:  # before anything is printed, as whoever reads that may go away
        scores.to_csv(options.out)
    console = Console()
    console.print(scores)
    if options.out:
        console.print(f"every image's values are in {options.out}", highlight=False, markup=False)
    return 0
