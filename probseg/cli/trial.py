"""Whether parts can be imported, found out in a process of their own.

``python -m probseg.cli.trial projectors radial encoders mine`` prints a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from probseg.errors import PluginError

SECONDS = 120  # torch and a few more libraries take ten on a slow disk

Name = tuple[str, str]  # registry and name


def faults(names: Sequence[Name]) -> dict[Name, str]:
    """Return why parts cannot be imported, for those that cannot.

    A part that ends, kills or blocks the process that imports it is told as such, and the others
    are tried without it.
    """
    found: dict[Name, str] = {}
    left = list(names)
    while left:
        answers, end = _try(left)
        for name, fault in zip(left, answers, strict=False):
            if fault:
                found[name] = fault
        left = left[len(answers) :]
        if left:
            found[left.pop(0)] = end
    return found


def _try(names: Sequence[Name]) -> tuple[list[str], str]:
    """Return a fault or nothing for each that answered, and what became of the process."""
    words = [word for name in names for word in name]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "probseg.cli.trial", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
        output, end = done.stdout, f"importing it ends the process (status {done.returncode})"
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", f"importing it takes more than {SECONDS} s"
    return [json.loads(line) for line in output.splitlines()], end


def main(words: Sequence[str]) -> None:
    """Try to import parts, and print why each cannot be imported, or an empty text."""
    from probseg.registry import registry

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a plugin prints is no answer
    for kinds, name in zip(words[::2], words[1::2], strict=True):
        fault = ""
        try:
            registry(kinds)[name]
        except PluginError as error:
            fault = str(error)
        print(json.dumps(fault), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
