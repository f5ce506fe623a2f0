"""Start-up: importing, building a model and ``--help``, each in a fresh process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.speed.contest import Contest, Entry, Floor, hold
from benchmarks.speed.options import Options

BUILD = 'probseg.build("csae")'
PEERS = {  # package to what a user imports of it
    "segmentation_models_pytorch": "segmentation_models_pytorch",
    "lightning_uq_box": "lightning_uq_box.uq_methods",
    "monai": "monai",
}
COMMANDS = (  # of `python -m`
    "benchmarks.run",
    "benchmarks.evaluate",
    "benchmarks.data",
    "benchmarks.data list",
    "benchmarks.data check",
    "benchmarks.data preview",
    "benchmarks.data prepare",
    "benchmarks.speed",
    "benchmarks.report",
    "benchmarks.compare",
    "benchmarks.pack",
    "benchmarks.unpack",
    "benchmarks.share",
    "benchmarks.gpu",
    "benchmarks.gpu.kit",
    "benchmarks.gpu.part",
    "benchmarks.cli",
    "probseg",
)


def contests(options: Options) -> list[Contest]:
    """Return the tables of this topic."""
    return [_building(options), _helping(options)]


def _building(options: Options) -> Contest:
    ours = [_statement(f"import probseg; {BUILD}", name=BUILD), _statement("import torch")]
    peers = [_statement(f"import {name}", needs=package) for package, name in PEERS.items()]
    small = [_statement("import probseg"), _statement("pass")]
    contest = hold(
        "From starting Python to a model",
        small if options.small else [*ours, _statement("import probseg"), *peers],
        rounds=options.rounds,
        notes=["The files were read before, and are in the system's cache. Aim: under 2 s."],
        watch=options.watch,
    )
    return replace(contest, floor=_floor(contest, contest.rows[1].name))


def _helping(options: Options) -> Contest:
    entries = [
        Entry(
            name=f"python -m {command} --help",
            make=Fresh,
            options={"arguments": ["-m", *command.split(), "--help"]},
        )
        for command in COMMANDS[: 1 if options.small else None]
    ]
    contest = hold(
        "Help of the commands",
        [*entries, _statement("pass")],
        rounds=options.rounds,
        notes=["Aim: each under 0.5 s."],
        watch=options.watch,
    )
    return replace(contest, floor=_floor(contest, contest.rows[-1].name))


def _statement(code: str, *, name: str = "", needs: str = "sys") -> Entry:
    arguments = {"arguments": ["-c", code], "needs": needs}
    return Entry(name=name or f"python -c '{code}'", make=Fresh, options=arguments)


def _floor(contest: Contest, row: str) -> Floor:
    return Floor(seconds=contest.row(row).median, why=row)


class Fresh:
    """A process of Python's that is started, waited for and forgotten.

    Args:
        arguments: Of the interpreter.
        needs: The package without which there is nothing to measure.
    """

    def __init__(self, *, arguments: Sequence[str], needs: str = "sys") -> None:
        if importlib.util.find_spec(needs) is None:
            raise ModuleNotFoundError(f"No module named {needs!r}")
        self.command = [sys.executable, *arguments]

    def run(self) -> None:
        """Start it and wait until it ends."""
        subprocess.run(self.command, check=True, capture_output=True)

    def answer(self) -> str:
        """Return what it prints."""
        done = subprocess.run(self.command, check=True, capture_output=True, text=True)
        return done.stdout
