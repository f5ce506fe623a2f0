"""``probseg describe``: the parameters, output shapes and FLOPs of a model, part by part."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.command import Command
from probseg.cli.output import print_json, print_rows
from probseg.cli.parser import Parser, add_json, add_set, complete, parse_assignments
from probseg.errors import DataError
from probseg.options import check_integer
from probseg.registry import registry

if TYPE_CHECKING:
    from probseg.cli.model_summary import ModelSummary

EXAMPLES = """
examples:
  %(prog)s csae
  %(prog)s csae --set latent_dim=8 backbone=fpn --size 256
  %(prog)s csae --set backbone.name=unet 'backbone.channels=[16, 32, 64]'
  %(prog)s model.safetensors -n 64
  %(prog)s spec.toml --json    a description: name = "csae", and the choices that differ

FLOPs are those of convolutions and matrix products, as torch.utils.flop_counter counts them; a
multiplication and an addition are two.
"""
SPEC_SUFFIXES = (".json", ".toml", ".safetensors")
_PREFIXES = ("", "k", "M", "G", "T", "P")


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``describe``."""
    spec = parser.add_argument(
        "spec", metavar="SPEC", help="a model's name, a .json or .toml file, or a checkpoint"
    )
    complete(spec, _models_and_files)
    add_set(parser, "choices of the model")
    parser.add_argument("--size", type=int, default=128, metavar="PIXELS", help="an edge (128)")
    parser.add_argument("-n", type=int, default=16, metavar="N", help="samples of an image (16)")
    add_json(parser)


COMMAND = Command(
    name="describe",
    summary="show the parameters, output shapes and FLOPs of a model",
    add_arguments=add_arguments,
    run="probseg.cli.describe:run",
    examples=EXAMPLES,
)


def run(options: argparse.Namespace) -> int:
    """Print the summary of a model and return exit status 0."""
    size, samples = check_integer("--size", options.size), check_integer("-n", options.n)
    spec = {**read_spec(options.spec), **parse_assignments(options.set)}
    from probseg.cli.model_summary import summarise
    from probseg.registry.specs import build

    summary = summarise(build(**spec), size=size, samples=samples)
    if options.json:
        print_json(asdict(summary))
    else:
        _print(summary)
    return 0


def read_spec(spec: str) -> dict[str, Any]:
    """Return the spec in a file or a checkpoint, or that of a model by its name.

    Raises:
        DataError: The file does not describe a model.
        CheckpointError: The checkpoint is missing or damaged.
    """
    path = Path(spec)
    if path.suffix == ".safetensors" or path.is_dir():
        from probseg.sharing.checkpoint import read_description

        return read_description(path / "model.safetensors" if path.is_dir() else path).spec
    if path.suffix not in SPEC_SUFFIXES:
        return {"name": spec}
    import json
    import tomllib

    parse = json.loads if path.suffix == ".json" else tomllib.loads
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is no {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise DataError(f'{path} describes no model; it needs a "name", such as "csae"')
    return content


def scaled(number: float) -> str:
    """Return a number with three digits and a prefix.

    >>> scaled(2_260_128), scaled(12)
    ('2.26 M', '12')
    """
    power = 0
    while number >= 1000 and power < len(_PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {_PREFIXES[power]}".rstrip()


def _print(summary: ModelSummary) -> None:
    channels, height, width = summary.image
    print(
        f"{summary.spec['name']} on one image ({channels}, {height}, {width}), "
        f"{summary.samples} samples\n"
    )
    rows = [
        (
            part.name,
            part.type,
            f"{part.parameters:,}",
            part.output,
            scaled(part.loss_flops),
            scaled(part.sampling_flops),
        )
        for part in [*summary.parts, summary.total]
    ]
    print_rows(rows, ("part", "type", "parameters", "output", "FLOPs of loss", "FLOPs to sample"))
    step = summary.total.loss_flops + summary.gradient_flops
    print(
        f"\na training step: {scaled(step)} FLOPs, of which {scaled(summary.gradient_flops)} are "
        "of the gradients"
    )


def _models_and_files(*, prefix: str, **_: object) -> list[str]:
    from argcomplete.completers import FilesCompleter

    return [*registry("models"), *FilesCompleter(SPEC_SUFFIXES)(prefix)]
