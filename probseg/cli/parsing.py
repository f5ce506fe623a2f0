"""The arguments of each command, with examples."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from probseg.cli.kinds import CLAIMS, registry_of, singular
from probseg.cli.parser import Parser
from probseg.errors import UnknownNameError
from probseg.registry import KINDS

Commands = Any  # argparse's subparsers, whose class is private

LIST = """
examples:
  %(prog)s
  %(prog)s backbones
  %(prog)s models --json
  %(prog)s --no-import      do not try whether plugins can be imported

probseg's own parts are read and not imported. Those of plugins are imported in a process of their
own, so that a broken one is told, and breaks nothing else.
"""
SHOW = """
examples:
  %(prog)s projector planar
  %(prog)s model csae
  %(prog)s dataset folder --json
"""
NEW_PLUGIN = """
examples:
  %(prog)s radial --kind projector
      the folder probseg-radial, whose part works and is yours to change
  %(prog)s my-net --kind backbone --out src/my-net

Then: pip install --editable probseg-radial && python -m pytest probseg-radial
"""
CHECK = """
examples:
  %(prog)s projector radial
  %(prog)s backbone unet --set channels=[8,16]
  %(prog)s dataset folder --set root=my/data
  %(prog)s agreement ged       what a metric may claim besides: agreement, matching
  %(prog)s metric ged --json
"""
DESCRIBE = """
examples:
  %(prog)s csae
  %(prog)s csae --set latent_dim=8 backbone=fpn --size 256
  %(prog)s csae --set backbone.name=unet 'backbone.channels=[16, 32, 64]'
  %(prog)s model.safetensors --out csae.svg
  %(prog)s spec.toml --json    a description: name = "csae", and the choices that differ

FLOPs count a multiplication and an addition as two. Memory of training is that of the weights,
their gradients and Adam's two moments, and of what the backward pass reads, for one image.
"""
PREDICT = """
examples:
  %(prog)s model.safetensors scans/*.png --out predicted
  %(prog)s model.safetensors case.nii.gz --out predicted -n 64 --seed 1
  %(prog)s model.safetensors ct.nii.gz --out predicted --window=-1000,400
  %(prog)s model.safetensors scans/*.png --out predicted --existing skip

Each image gets a folder in DIR with the samples as label maps, mean and standard deviation of the
foreground's probability, contours.png and about.json. NIfTI in, NIfTI out, on the same voxels;
other images give PNG, mean and deviation as 16 bits, of which 65535 is 1.
"""


def add_list(commands: Commands) -> None:
    """Add ``list``."""
    parser = _add(commands, "list", "every part, where it comes from, and what it is", LIST)
    kind = parser.add_argument("kind", nargs="?", metavar="KIND", help="one kind (default: all)")
    _complete(kind, list(KINDS.values()))
    parser.add_argument(
        "--no-import", action="store_true", help="do not try to import parts of plugins"
    )
    _add_json(parser)


def add_show(commands: Commands) -> None:
    """Add ``show``."""
    parser = _add(commands, "show", "a part's options, shapes, reference and source", SHOW)
    _add_part(parser)
    _add_json(parser)


def add_check(commands: Commands) -> None:
    """Add ``check``."""
    parser = _add(commands, "check", "whether a part keeps the contract of its kind", CHECK)
    _add_part(parser, claims=True)
    _add_set(parser, "options of the part")
    _add_json(parser)


def add_new_plugin(commands: Commands) -> None:
    """Add ``new-plugin``."""
    parser = _add(commands, "new-plugin", "begin a package with a part of your own", NEW_PLUGIN)
    parser.add_argument("name", metavar="NAME", help="of the part, such as radial")
    kind = parser.add_argument("--kind", required=True, metavar="KIND", help="such as projector")
    _complete(kind, list(KINDS))
    parser.add_argument("--out", type=Path, metavar="DIR", help="(default: probseg-NAME)")


def add_describe(commands: Commands) -> None:
    """Add ``describe``."""
    parser = _add(
        commands, "describe", "a model's parameters, FLOPs, memory and data flow", DESCRIBE
    )
    spec = parser.add_argument(
        "spec", metavar="SPEC", help="a model's name, a .json or .toml file, or a checkpoint"
    )
    spec.completer = _models_and_files  # type: ignore[attr-defined]  # read by argcomplete
    _add_set(parser, "choices of the model")
    parser.add_argument("--size", type=int, default=128, metavar="PIXELS", help="an edge (128)")
    parser.add_argument("-n", type=int, default=16, metavar="N", help="samples of an image (16)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="draw the data flow: .png, .svg or .pdf"
    )
    _add_json(parser)


def add_predict(commands: Commands) -> None:
    """Add ``predict``."""
    parser = _add(commands, "predict", "samples, mean, deviation and contours of images", PREDICT)
    parser.add_argument("model", type=Path, metavar="MODEL", help="what model.save wrote")
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help=".png, .tif, .npy, .nii or .nii.gz"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("-n", type=int, default=16, metavar="N", help="samples an image (16)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every image (0)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1")
    parser.add_argument(
        "--micro-batch", type=int, default=16, metavar="N", help="samples at a time (16)"
    )
    parser.add_argument(
        "--window",
        metavar="LOW,HIGH",
        help="values that become 0 and 1 (default: as probseg's data sets do it, 8-bit images "
        "from 0 and 255, any others from their own extremes)",
    )
    parser.add_argument(
        "--existing",
        choices=["refuse", "skip", "replace"],
        default="refuse",
        help="what to do with images that were predicted before (refuse)",
    )


def add_completion(commands: Commands) -> None:
    """Add ``completion``."""
    examples = """
examples:
  eval "$(probseg completion bash)"            in ~/.bashrc
  eval "$(probseg completion zsh)"             in ~/.zshrc, after compinit
  probseg completion fish | source             in ~/.config/fish/config.fish
"""
    parser = _add(commands, "completion", "what makes a shell complete this command", examples)
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


COMMANDS = (
    *(add_list, add_show, add_check, add_new_plugin),
    *(add_describe, add_predict, add_completion),
)


def _add(commands: Commands, name: str, purpose: str, examples: str) -> Parser:
    parser: Parser = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)
    return parser


def _add_part(parser: Parser, *, claims: bool = False) -> None:
    kind = parser.add_argument("kind", metavar="KIND", help="such as projector")
    _complete(kind, [*KINDS, *CLAIMS] if claims else list(KINDS))
    name = parser.add_argument("name", metavar="NAME", help="such as planar")
    name.completer = _names  # type: ignore[attr-defined]  # read by argcomplete


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_set(parser: Parser, what: str) -> None:
    parser.add_argument(
        "--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help=what
    )


def _complete(action: argparse.Action, words: list[str]) -> None:
    action.completer = lambda **_: words  # type: ignore[attr-defined]  # read by argcomplete


def _names(*, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    try:
        return list(registry_of(singular(parsed_args.kind, claims=True)))
    except UnknownNameError:
        return []


def _models_and_files(*, prefix: str, **_: object) -> list[str]:
    from argcomplete.completers import FilesCompleter

    files = FilesCompleter((".json", ".toml", ".safetensors"))(prefix)
    return [*registry_of("model"), *files]
