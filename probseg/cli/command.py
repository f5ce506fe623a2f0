"""The command line as a whole: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib import import_module

import probseg
from probseg.cli import parsing
from probseg.cli.parser import Parser

# torch is imported only once there is something to compute: --help, list and mistakes answer at
# once.

EXAMPLES = """
examples:
  probseg list                                  every part that is installed
  probseg list projectors                       those of one kind
  probseg show projector planar                 its options, what it is called with, its source
  probseg check projector planar                whether it does what every projector has to do
  probseg new-plugin radial --kind projector    a package of your own, with tests that pass
  probseg describe csae --set latent_dim=8      parameters, FLOPs, memory and data flow of a model
  probseg predict model.safetensors scan.png --out predicted

A kind is a model, backbone, encoder, projector, divergence, decoder, dataset or metric, in the
singular or in the plural. probseg COMMAND --help explains each command. Completion of commands,
kinds and names: eval "$(probseg completion bash)", or zsh, or fish.

Exit status: 0 done, 1 something does not hold or cannot be read, 2 the command makes no sense.
"""


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="probseg",
        description="Probabilistic segmentation models, and the parts they are composed of.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"probseg {probseg.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in parsing.COMMANDS:
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could come next
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    module = import_module(f"probseg.cli.{options.command.replace('-', '_')}_command")
    parser_of_command: Parser = options.parser
    return parser_of_command.run(lambda: int(module.run(options)))
