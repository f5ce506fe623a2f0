"""Damaged files give an error of probseg or the right model: no crash, no hang, no flood.

``PROBSEG_FUZZ=5000`` runs so many cases, ``PROBSEG_FUZZ_SEED`` others.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

CASES = int(os.environ.get("PROBSEG_FUZZ", "300"))
SEED = int(os.environ.get("PROBSEG_FUZZ_SEED", "0"))
GIBIBYTE = 2**20  # in KiB, the unit of a process's peak


@pytest.mark.slow
def test_damaged_files(tmp_path, capsys):
    script = Path(__file__).with_name("fuzzing.py")
    found = subprocess.run(
        [sys.executable, str(script), str(CASES), str(SEED), str(tmp_path / "model")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=60 + CASES,
    )
    assert found.returncode == 0, f"crashed or hung:\n{found.stdout}\n{found.stderr[-500:]}"
    report = json.loads(found.stdout)
    kinds, results = Counter(), Counter()
    for outcome, count in report["outcomes"].items():
        kind, _, result = outcome.partition(": ")
        kinds[kind] += count
        results[result] += count
    assert set(results) <= {"refused", "loaded"}, results
    assert sum(results.values()) == report["count"] == CASES
    assert len(kinds) == 15 and results["refused"] > results["loaded"] > 0
    assert report["peak"] < 2 * GIBIBYTE
    with capsys.disabled():
        print(
            f"\n{CASES} damaged files of {len(kinds)} kinds: {results['refused']} refused, "
            f"{results['loaded']} loaded right; peak {report['peak'] / GIBIBYTE:.2f} GiB"
        )
