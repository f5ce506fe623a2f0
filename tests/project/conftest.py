"""Reading the documentation's code blocks, and running them as a reader would."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

collect_ignore = ["mutation.py"]  # a script; mutmut, which it needs, is there for `make mutation`

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n\n?)?"
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<code>.*?)^(?P=indent)```$",
    re.M | re.S,
)
SNIPPET = re.compile(r'^--8<-- "([^":]+)"$', re.M)


class Block(NamedTuple):
    language: str
    title: str  # the file that the block shows, or ""
    code: str
    line: int  # of the page, where the code begins
    not_run: str  # the reason that the page gives, or ""


def _blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [_block(text, match) for match in FENCE.finditer(text)]
    fences = len(re.findall(r"^ *```", text, re.M))
    assert 2 * len(found) == fences, f"{page} has a block without a language or without an end"
    return found


def _block(text: str, match: re.Match[str]) -> Block:
    code = SNIPPET.sub(lambda m: (ROOT / m[1]).read_text(encoding="utf-8"), dedent(match["code"]))
    line = text.count("\n", 0, match.start("code")) + 1
    return Block(match["language"], match["title"] or "", code, line, match["why"] or "")


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
