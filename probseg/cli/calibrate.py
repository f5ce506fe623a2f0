"""``probseg calibrate``: fit a trained model's certainty and spread to validation data."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from probseg.cli.opening import check_file, checkpoint_of
from probseg.cli.parser import Parser, add_stratified
from probseg.cli.trained import Trained, add_trained
from probseg.errors import OptionError
from probseg.options import check_integer

SUMMARY = "choose a trained model's temperature and the scale of its prior on validation data"
EXAMPLES = """
examples:
  %(prog)s run --data my-data --out calibrated.safetensors
  probseg evaluate calibrated.safetensors --data my-data

The scale of the prior is the one with the least GED, and the temperature the one with the least
cross-entropy of annotators and samples, or a value nearer to 1 that is no worse beyond noise.
MODEL is not changed. The data are opened as those that the model learnt from were, and split as
probseg train does.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``calibrate``."""
    add_trained(parser, part="validation")
    parser.add_argument("-n", type=int, default=16, metavar="N", help="samples an image (16)")
    add_stratified(parser)
    parser.add_argument(
        "--temperature-only", action="store_true", help="leave the scale of the prior as it is: 1"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where to write the model"
    )


def run(options: argparse.Namespace) -> int:
    """Print what was chosen, and write the model."""
    check_integer("-n", options.n)
    if options.part == "test":
        raise OptionError(
            "scores on images that a model was calibrated on say nothing; leave --part out, which "
            "takes the validation images"
        )
    check_file(options.out, "--out", "calibrated.safetensors")
    from rich.console import Console

    import probseg

    if options.out.resolve() == checkpoint_of(options.model).resolve():
        raise OptionError(f"--out {options.out} is MODEL, which is kept; give another file")
    trained = Trained.opened(options)
    result = probseg.calibrate(
        trained.model,
        trained.data,
        n=options.n,
        scale_prior=not options.temperature_only,
        stratified=options.stratified,
        device=options.device,
        seed=options.seed,
    )
    trained.model.preprocessing = trained.learnt
    trained.model.save(options.out)
    console = Console()
    console.print(replace(result, remarks=[*result.remarks, *_remarks(trained)]))
    console.print(f"the model is in {options.out}", highlight=False, markup=False)
    return 0


def _remarks(trained: Trained) -> Iterator[str]:
    """Yield what to know of the images."""
    if trained.part != "validation":
        yield (
            f"chosen on the part {trained.part!r} of the data: do not report scores on these images"
        )
    if trained.protocol:
        yield from (f"{trained.protocol.name}: {remark}" for remark in trained.remarks)
        yield from (f"not as {trained.protocol.name} says: {one}" for one in trained.deviations)
