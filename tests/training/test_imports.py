"""What probseg.training needs: nothing for settings and checks, Lightning and kornia for fit."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Hides a package as if it were not installed, then imports a name and prints the error.
HIDDEN = """
import sys
sys.modules[{package!r}] = None
from probseg.training import TrainingSettings, check_finite
try:
    from probseg.training import {name}
except ImportError as error:
    print(type(error).__name__, error)
"""


def printed(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_a_loop_of_ones_own_needs_no_lightning():
    code = "import sys; from probseg.training import TrainingSettings, check_finite"
    code += "; print('lightning' in sys.modules, 'kornia' in sys.modules)"
    code += "; import probseg.training.fitting; from probseg.training import fit; print(fit)"
    assert printed(code).startswith("False False\n<function fit at")


@pytest.mark.parametrize(
    ("name", "package"), [("fit", "lightning"), ("fit", "kornia"), ("LatentHealth", "lightning")]
)
def test_a_missing_package_is_named_with_the_extra_that_installs_it(name, package):
    assert printed(HIDDEN.format(name=name, package=package)) == (
        f"MissingDependencyError probseg.training.{name} needs the package {package!r}, which is "
        "not installed; run: pip install 'probseg[train]'"
    )
