"""``probseg-bench``: the benchmark's commands under one name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from benchmarks.choices import Parser

# Command to its module, whose ``main`` takes the other arguments, and what it does.
COMMANDS = {
    "run": ("benchmarks.run", "train, evaluate and picture models on data sets"),
    "evaluate": ("benchmarks.evaluate", "score a trained model on any data"),
    "data": ("benchmarks.data.__main__", "list, check, preview and prepare data sets"),
    "report": ("benchmarks.report.__main__", "make tables, figures and report.html from results"),
    "share": ("benchmarks.share", "write a trained model as a folder that travels"),
    "compare": ("benchmarks.compare", "show two runs side by side"),
}


def make_parser() -> Parser:
    """Return the parser of the first argument."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items())
    parser = Parser(
        prog="probseg-bench",
        usage="%(prog)s [-h] COMMAND ...",
        description="The benchmark of probabilistic segmentation.",
        epilog=f"commands:\n{listed}\n\nprobseg-bench COMMAND --help explains each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = make_parser().parse_args(given[:1]).command
    module, _ = COMMANDS[command]
    return int(import_module(module).main(given[1:]))


if __name__ == "__main__":
    sys.exit(main())
