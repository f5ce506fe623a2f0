"""The names and calls that README and the documentation show exist."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/*/*.md"))]
NAME = re.compile(r"\bprobseg(?:\.[A-Za-z_]\w*)+")
FENCE = re.compile(r"^ *```python[^\n]*\n(.*?)^ *```$", re.M | re.S)
# a page, metadata of an ONNX file, a file of git
NOT_NAMES = {
    *("probseg.md", "probseg.bundle"),
    *(
        "probseg.spec",
        "probseg.stride",
        "probseg.preprocessing",
        "probseg.least",
    ),  # of metadata in ONNX files
}


def resolved(name: str) -> Any:
    """Return the module or object of a dotted name."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[size:]:
            value = getattr(value, attribute)
        return value
    raise ModuleNotFoundError(name)


def names_of(page: Path) -> set[str]:
    return set(NAME.findall(page.read_text(encoding="utf-8"))) - NOT_NAMES


def imports_of(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield what each import from probseg binds: the name here, and the dotted name there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("probseg"):
            yield from ((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)


def calls_of(page: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of probseg's functions in a page's Python code, by dotted name."""
    imported: dict[str, str] = {}
    for code in FENCE.findall(page.read_text(encoding="utf-8")):
        tree = ast.parse(inspect.cleandoc(code))
        imported |= dict(imports_of(tree))
        parameters = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                first, dot, rest = ast.unparse(node.func).partition(".")
                name = f"{imported.get(first, first)}{dot}{rest}"
                if re.fullmatch(NAME, name) and first not in parameters:
                    yield name, node


@pytest.mark.parametrize("name", sorted(set().union(*map(names_of, PAGES))))
def test_a_documented_name_exists(name: str) -> None:
    resolved(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_calls_fit_their_signatures(page: Path) -> None:
    for name, call in calls_of(page):
        if any(isinstance(argument, ast.Starred) for argument in call.args):
            continue
        keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
        inspect.signature(resolved(name)).bind(*call.args, **keywords)


def test_calls_are_found() -> None:
    calls = [name for page in PAGES for name, _ in calls_of(page)]
    assert "probseg.build" in calls and "probseg.training.fit" in calls
