"""Compiled functions: the same answers, wherever the machine code can be kept."""

import numpy as np
import pytest

from probseg.metrics.compiled import compiled

SOURCE = "def total(values):\n    s = 0\n    for v in values:\n        s += v\n    return s"


@pytest.mark.parametrize("kept", [True, False])
def test_with_and_without_a_place_for_the_machine_code(kept, tmp_path):
    found = {}
    file = tmp_path / "total.py"
    if kept:
        file.write_text(SOURCE)
    exec(compile(SOURCE, str(file) if kept else "<nowhere>", "exec"), found)
    total = compiled(found["total"])
    assert total(np.arange(5)) == 10 and total.signatures
    assert bool(list(tmp_path.rglob("*.nbc"))) == kept
