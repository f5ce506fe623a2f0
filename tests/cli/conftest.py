"""What the tests of the command share: installed plugins, and the command as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probseg.cli import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with entry points on the path, as pip would."""

    def put(name, entries, module=""):
        site = tmp_path / "site" / name
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(entries)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (site / f"{name}.py").write_text(module)
        monkeypatch.syspath_prepend(str(site))
        return site

    return put


@pytest.fixture
def command(capsys):
    """A function that runs the command here and returns its status, output and standard error."""

    def command(*arguments):
        try:
            status = main(list(map(str, arguments)))
        except SystemExit as stop:  # argparse's way to end
            status = stop.code
        return status, *capsys.readouterr()

    return command


@pytest.fixture(scope="session")
def python():
    """A function that runs this Python, and returns what it printed."""

    def python(*arguments, cwd=ROOT, path=(), **environment):
        search = os.pathsep.join([*map(str, path), str(ROOT)])
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{arguments} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return python
