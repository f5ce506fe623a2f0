"""``probseg completion``: the code that makes a shell complete ``probseg``."""

from __future__ import annotations

import argparse

from probseg.cli.command import Command
from probseg.cli.parser import Parser

EXAMPLES = """
examples:
  eval "$(%(prog)s bash)"            in ~/.bashrc
  eval "$(%(prog)s zsh)"             in ~/.zshrc, after compinit
  %(prog)s fish | source             in ~/.config/fish/config.fish
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``completion``."""
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


COMMAND = Command(
    name="completion",
    summary="print the code that makes a shell complete probseg",
    add_arguments=add_arguments,
    run="probseg.cli.completion:run",
    examples=EXAMPLES,
)


def run(options: argparse.Namespace) -> int:
    """Print the code and return exit status 0."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["probseg"], shell=options.shell))
    return 0
