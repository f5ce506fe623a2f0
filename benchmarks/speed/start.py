"""Start-up: importing, building a model and ``--help``, each in a fresh process."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.speed.comparison import Candidate, Comparison, Floor, Settings, compare
from benchmarks.speed.workers import Workload

STATEMENTS = {  # what is measured to the package that it needs
    'import probseg; probseg.build("csae")': "probseg",
    "import torch": "torch",
    "import segmentation_models_pytorch": "segmentation_models_pytorch",
    "import monai": "monai",
    "import probseg": "probseg",
}
COMMANDS = ("probseg", "benchmarks.run")  # of `python -m`, asked for their help


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the table of this topic."""
    statements = {} if settings.small else STATEMENTS
    candidates = [
        *(_process("-c", code, needs=needs) for code, needs in statements.items()),
        *(_process("-m", command, "--help") for command in COMMANDS),
        _process("-c", "pass"),
    ]
    comparison = compare(
        "From starting Python on",
        candidates,
        settings,
        notes=[
            "The files were read before, and are in the system's cache. Aims: a model under 2 s, "
            "help under 0.5 s."
        ],
    )
    last = comparison.rows[-1]
    yield replace(comparison, floor=Floor(seconds=last.median, why=last.name))


def _process(*arguments: str, needs: str = "sys") -> Candidate:
    options = {"arguments": arguments, "needs": needs}
    return Candidate(name=shlex.join(["python", *arguments]), make=FreshProcess, options=options)


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
