"""``probseg calibrate``: fit a trained model's certainty and spread to validation data."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from probseg.cli.opening import CHECKPOINTS, check_file
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
probseg train does. A run of --protocol needs it here, and when FILE is evaluated.
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

    _check_kept(options.model, options.out)
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
    Console().print(replace(result, remarks=[*result.remarks, *_remarks(trained)]))
    print(f"\nthe model is in {options.out}; next:\n  {shlex.join(_next_command(options))}")
    return 0


def _check_kept(model: Path, out: Path) -> None:
    """Check that what is written is not MODEL, nor taken for it afterwards.

    Raises:
        OptionError: It is.
    """
    names = CHECKPOINTS if model.is_dir() else (model.name,)
    folder = model if model.is_dir() else model.parent
    if out.resolve() in [(folder / name).resolve() for name in names]:
        raise OptionError(f"--out {out} is MODEL, which is kept; give another file")


def _next_command(options: argparse.Namespace) -> list[str]:
    """Return the command that evaluates the model on images that it learnt nothing from."""
    root = ["--root", str(options.root)] if options.root else []
    protocol = ["--protocol", options.protocol] if options.protocol else []
    given = ["--set", *options.set] if options.set else []
    model = ["probseg", "evaluate", str(options.out)]
    return [*model, "--data", options.data, *root, *protocol, *given]


def _remarks(trained: Trained) -> Iterator[str]:
    """Yield what to know of the images."""
    if trained.part != "validation":
        yield (
            f"chosen on the part {trained.part!r} of the data: do not report scores on these images"
        )
    if trained.protocol:
        yield from (f"{trained.protocol.name}: {remark}" for remark in trained.remarks)
        yield from (f"not as {trained.protocol.name} says: {one}" for one in trained.deviations)
