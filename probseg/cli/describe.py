"""``probseg describe``: the parameters and FLOPs of a model, part by part."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.output import print_json, print_rows
from probseg.cli.parser import Parser, add_json, add_set, complete, parse_assignments
from probseg.cli.train_defaults import USUAL_SIZE
from probseg.errors import OptionError
from probseg.options import check_integer
from probseg.registry import registry

if TYPE_CHECKING:
    from probseg.cli.model_summary import ModelSummary

SUMMARY = "show the parameters and FLOPs of a model, part by part"
EXAMPLES = """
examples:
  %(prog)s csae
  %(prog)s csae --set latent_dim=8 backbone=fpn --size 256
  %(prog)s csae --set backbone.name=unet 'backbone.channels=[16, 32, 64]'
  %(prog)s model.safetensors -n 64

FLOPs are those of convolutions and matrix products, as torch.utils.flop_counter counts them; a
multiplication and an addition are two.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``describe``."""
    model = parser.add_argument(
        "model", metavar="MODEL", help="a model's name, a checkpoint or its folder"
    )
    complete(model, lambda **_: list(registry("models")))
    add_set(parser, "choices of the model")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="an edge (the model's, or 128)")
    parser.add_argument("-n", type=int, default=16, metavar="N", help="samples of an image (16)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the summary of a model and return exit status 0."""
    samples = check_integer("-n", options.n)
    if options.size is not None:
        check_integer("--size", options.size)
    spec = {**_read_spec(options.model), **parse_assignments(options.set)}
    from probseg.cli.model_summary import summarise
    from probseg.registry.specs import build

    model = build(**spec)
    size = options.size or getattr(model, "image_size", None) or USUAL_SIZE
    summary = summarise(model, size=size, samples=samples)
    if options.json:
        parts, total = [part._asdict() for part in summary.parts], summary.total._asdict()
        print_json({**summary._asdict(), "parts": parts, "total": total})
    else:
        _print(summary)
    return 0


def _read_spec(model: str) -> dict[str, Any]:
    """Return the spec in a checkpoint or its folder, or that of a model by its name."""
    path = Path(model).expanduser()
    if path.suffix != ".safetensors" and not path.is_dir():
        if path.is_file():
            raise OptionError(
                f"{model} is no checkpoint (.safetensors); give one, or a name and --set OPTION=…"
            )
        return {"name": model}
    from probseg.sharing.checkpoint import read_description

    return read_description(path / "model.safetensors" if path.is_dir() else path).spec


def scaled(number: float) -> str:
    """Return a number with three digits and a prefix.

    >>> scaled(2_260_128), scaled(12)
    ('2.26 M', '12')
    """
    power = 0
    while number >= 1000:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {' kMGTPEZY'[power]}".rstrip()


def _print(summary: ModelSummary) -> None:
    channels, height, width = summary.image
    print(
        f"{summary.spec['name']} on one image ({channels}, {height}, {width}), "
        f"{summary.samples} samples\n"
    )
    rows = [
        (name, type_, f"{parameters:,}", scaled(loss), scaled(sampling))
        for name, type_, parameters, loss, sampling in [*summary.parts, summary.total]
    ]
    print_rows(rows, ("part", "type", "parameters", "FLOPs of loss", "FLOPs to sample"))
    step = summary.total.loss_flops + summary.gradient_flops
    print(
        f"\na training step: {scaled(step)} FLOPs, of which {scaled(summary.gradient_flops)} are "
        "of the gradients"
    )
