"""Reading the documentation's code blocks, and running them as a reader would."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

collect_ignore = ["mutation.py"]  # a script; mutmut, which it needs, is there for `make mutation`

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$', re.M | re.S
)


class Block(NamedTuple):
    language: str
    title: str  # the file that the block shows, or ""
    code: str


def _blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(m["language"], m["title"] or "", m["code"]) for m in FENCE.finditer(text)]


def _run(*arguments: str, cwd: Path, path: Sequence[Path] = ()) -> str:
    """Run this Python, `path` in front of its search path, and return what it printed."""
    search = os.pathsep.join(filter(None, [*map(str, path), os.environ.get("PYTHONPATH", "")]))
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, f"{arguments} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def blocks() -> Callable[[str], list[Block]]:
    """A function from a page's path to its fenced code blocks."""
    return _blocks


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """A function that runs this Python and returns what it printed."""
    return _run
