"""What probseg.training needs: nothing for settings and checks, Lightning and kornia for fit."""

from __future__ import annotations

import subprocess
import sys

# In one process, which hides a package as if it were not installed: imports take seconds.
CODE = """
import sys

def show(name, hidden):
    sys.modules[hidden] = None
    try:
        exec(f"from probseg.training import {name}")
    except ImportError as error:
        print(type(error).__name__, error)
    del sys.modules[hidden]

from probseg.training import TrainingSettings, FiniteWatch
print("lightning" in sys.modules, "kornia" in sys.modules)
show("LatentHealth", "lightning")
show("fit", "lightning")
show("fit", "kornia")
import probseg.training.fitting
from probseg.training import fit
print(fit)
"""


def test_a_missing_package_is_named_and_a_loop_of_ones_own_needs_none():
    command = [sys.executable, "-c", CODE]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    first, *missing, last = run.stdout.splitlines()
    assert first == "False False"
    assert last.startswith("<function fit at")
    assert missing == [
        f"MissingDependencyError probseg.training.{name} needs the package {package!r}, which is "
        "not installed; run: pip install 'probseg[train]'"
        for name, package in (
            ("LatentHealth", "lightning"),
            ("fit", "lightning"),
            ("fit", "kornia"),
        )
    ]
