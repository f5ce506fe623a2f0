"""Records for commands and groups of commands, and the function that runs one as a program.

``probseg`` and the programs of the benchmark (``python -m benchmarks.run``) are made of them. The
function of a command is imported when it runs, so that help, completion and mistakes answer
without torch.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from probseg.cli.output import accept_any_character
from probseg.cli.parser import Parser


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command.

    Args:
        name: What users type: ``"show"``, or ``"python -m benchmarks.run"`` for a command that is
            a program of its own.
        summary: What it does, in a line without a full stop.
        add_arguments: Adds its arguments to a parser, and imports nothing heavy.
        run: ``"module:function"``; the function takes the parsed arguments and returns the exit
            status.
        examples: Shown below the help; ``%(prog)s`` stands for the command.
    """

    name: str
    summary: str
    add_arguments: Callable[[Parser], None]
    run: str
    examples: str = ""

    def configure(self, parser: Parser) -> None:
        """Add the arguments to a parser."""
        self.add_arguments(parser)
        parser.set_defaults(parser=parser, command=self)

    def call(self, options: argparse.Namespace) -> int:
        """Import the function, call it and return the exit status."""
        module, _, function = self.run.partition(":")
        return int(getattr(import_module(module), function)(options))


def command_of(module: ModuleType) -> Command:
    """Return the command that a module defines, called as its file is."""
    return Command(
        name=module.__name__.rpartition(".")[2].replace("_", "-"),
        summary=module.SUMMARY,
        add_arguments=module.add_arguments,
        run=f"{module.__name__}:run",
        examples=module.EXAMPLES,
    )


@dataclass(frozen=True, kw_only=True)
class Group:
    """Several commands under one name.

    Args:
        name: What users type.
        summary: What they are for, in a line without a full stop.
        commands: In the order of the help; a group is possible too.
        examples: Shown below the help.
        version: What ``--version`` prints; without it there is no such option.
    """

    name: str
    summary: str
    commands: tuple[Command | Group, ...]
    examples: str = ""
    version: str = ""

    def configure(self, parser: Parser) -> None:
        """Add a parser for each command to the group's parser."""
        if self.version:
            parser.add_argument("--version", action="version", version=self.version)
        commands = parser.add_subparsers(metavar="COMMAND", required=True)
        for command in self.commands:
            added = commands.add_parser(command.name, help=command.summary, **_help(command))
            command.configure(added)


def _help(command: Command | Group) -> dict[str, Any]:
    return {
        "description": f"{command.summary[0].upper()}{command.summary[1:]}.",
        "epilog": command.examples,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def make_parser(program: Command | Group) -> Parser:
    """Return the parser of a program."""
    parser = Parser(prog=program.name, **_help(program))
    program.configure(parser)
    return parser


def run_program(program: Command | Group, arguments: Sequence[str] | None = None) -> int:
    """Run a program with arguments (default: those of this process); return its exit status."""
    accept_any_character()
    parser = make_parser(program)
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could come next
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    command: Command = options.command
    chosen: Parser = options.parser
    return chosen.run(lambda: command.call(options))
