"""Start-up: importing, building a model and ``--help``, each in a fresh process."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.speed.comparison import Candidate, Comparison, Floor, Row, Settings, compare
from benchmarks.speed.workers import Workload

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
    "benchmarks.speed",
    "benchmarks.report",
    "benchmarks.compare",
    "benchmarks.share",
    "benchmarks.gpu",
    "benchmarks.gpu.kit",
    "benchmarks.gpu.parts",
    "probseg",
)


def comparisons(settings: Settings) -> list[Comparison]:
    """Return the tables of this topic."""
    return [_building(settings), _helping(settings)]


def _building(settings: Settings) -> Comparison:
    ours = [_statement(f"import probseg; {BUILD}", name=BUILD), _statement("import torch")]
    peers = [_statement(f"import {name}", needs=package) for package, name in PEERS.items()]
    small = [_statement("import probseg"), _statement("pass")]
    comparison = compare(
        "From starting Python to a model",
        small if settings.small else [*ours, _statement("import probseg"), *peers],
        settings,
        notes=["The files were read before, and are in the system's cache. Aim: under 2 s."],
    )
    return _with_floor(comparison, comparison.rows[1])


def _helping(settings: Settings) -> Comparison:
    commands = [
        Candidate(
            name=f"python -m {command} --help",
            make=FreshProcess,
            options={"arguments": ["-m", command, "--help"]},
        )
        for command in COMMANDS[: 1 if settings.small else None]
    ]
    comparison = compare(
        "Help of the commands",
        [*commands, _statement("pass")],
        settings,
        notes=["Aim: each under 0.5 s."],
    )
    return _with_floor(comparison, comparison.rows[-1])


def _statement(code: str, *, name: str = "", needs: str = "sys") -> Candidate:
    arguments = {"arguments": ["-c", code], "needs": needs}
    return Candidate(name=name or f"python -c '{code}'", make=FreshProcess, options=arguments)


def _with_floor(comparison: Comparison, row: Row) -> Comparison:
    return replace(comparison, floor=Floor(seconds=row.median, why=row.name))


class FreshProcess(Workload):
    """A process of the Python interpreter that is started and waited for.

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
