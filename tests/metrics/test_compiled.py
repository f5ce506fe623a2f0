"""Compiled functions: the same answers, wherever the machine code can be kept."""

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from probseg.metrics import hausdorff, overlap
from probseg.metrics.overlap import compiled

SOURCE = "def total(values):\n    s = 0\n    for v in values:\n        s += v\n    return s"


@pytest.mark.parametrize("kept", [True, False])
def test_with_and_without_a_place_for_the_machine_code(kept, tmp_path):
    found = {"__name__": "total"}  # as a module has
    file = tmp_path / "total.py"
    if kept:
        file.write_text(SOURCE)
    exec(compile(SOURCE, str(file) if kept else "<nowhere>", "exec"), found)
    total = compiled(found["total"])
    assert total(np.arange(5)) == 10 and total.signatures
    assert bool(list(tmp_path.rglob("*.nbc"))) == kept
    assert total.targetoptions["nogil"]  # so that threads can evaluate side by side


@pytest.mark.parametrize("module", [hausdorff, overlap])
def test_machine_code_depends_on_one_file(module):
    """Numba does not see that a function in another file has changed, and keeps the old code."""
    dispatchers = [f for f in vars(module).values() if isinstance(f, Dispatcher)]
    functions = [f.py_func for f in dispatchers if f.__module__ == module.__name__]
    assert functions
    for function in functions:
        for name in function.__code__.co_names:
            called = function.__globals__.get(name)
            assert not isinstance(called, Dispatcher) or called.__module__ == module.__name__
