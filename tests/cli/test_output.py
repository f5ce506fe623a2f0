"""Whatever the terminal: every command prints in encodings that lack characters, and in pipes."""

import os
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT
from tests.cli.test_train import NETS, TINY, write

RUN = f"""
import sys
from probseg.cli import main
folder, model, lines = sys.argv[1], {NETS!r}, []
data = folder + "/Übung – 3×"
lines += [["list"], ["list", "models", "--json"], ["show", "model", "csae"], ["describe", "csae"]]
lines += [["check", "metric", "ged"], ["data", "check", data]]
lines += [["train", "punet", "--data", data, "--out", folder + "/ł", "--set", {TINY[2]!r}, *model]]
lines += [["evaluate", folder + "/ł", "--data", data, "--metrics", "ged", "latent-kl"]]
lines += [["predict", folder + "/ł", data + "/images/case0.png", "--out", folder + "/→"]]
lines += [["score", "--samples", data, "--annotations", data]]
lines += [["evaluate", folder + "/→", "--data", data], ["train", "ł", "--data", "x", "--out", "y"]]
lines += [[word, "--help"] for word in ("train", "evaluate", "predict", "score", "data", "share")]
for line in [*lines, ["--help"]]:
    try:
        status = main(line)
    except SystemExit as stop:
        status = stop.code
    print("status:", status)
"""
WANTED = [0] * 10 + [1, 2] + [0] * 7


def _python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "TERM": "dumb"},
        {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "COLUMNS": "40", "LC_ALL": "C"},
    ],
    ids=["cp1252", "ascii, a terminal that can do nothing", "ascii, narrow"],
)
def test_every_command_prints_what_its_encoding_lacks_in_other_characters(tmp_path, environment):
    write(tmp_path / "Übung – 3×")
    cache = {"PROBSEG_CACHE": str(tmp_path / "cache")}
    (tmp_path / "run.py").write_text(RUN, encoding="utf-8")
    done = _python(tmp_path / "run.py", tmp_path, **cache, **environment)
    output = done.stdout.decode(environment["PYTHONIOENCODING"])
    error = done.stderr.decode(environment["PYTHONIOENCODING"])
    assert done.returncode == 0 and "Traceback" not in error, error
    status = [int(line[7:]) for line in output.splitlines() if line.startswith("status:")]
    assert status == WANTED, (output, error)
    assert "hungarian-iou" in output


def test_scores_are_written_even_if_nobody_reads_the_table(tmp_path):
    data, file = write(tmp_path / "data"), tmp_path / "scores.csv"
    words = ["score", "--samples", data, "--annotations", data, "--metrics", "ged", "--out", file]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "probseg", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert done.stderr == b"" and file.read_text().count("\n") == 9
