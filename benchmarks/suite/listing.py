"""The text of ``--list``: suites, the rows of one, profiles and data sets."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping

import probseg
from benchmarks.suite import files as suite_files
from benchmarks.suite.definition import Suite

WIDTH = 100


def suites() -> str:
    """Return the suites that come with the benchmark, without checking them."""
    read = {name: path.read_text(encoding="utf-8") for name, path in suite_files.suites().items()}
    descriptions = {n: tomllib.loads(text).get("description", "") for n, text in read.items()}
    return _section("suites (--suite NAME)", descriptions)


def everything(suite: Suite) -> str:
    """Return all suites, and what one of them has."""
    named = suite.all.models + suite.all.baselines
    rows = {
        f"{name}*" if name in named else name: row.description for name, row in suite.models.items()
    }
    profiles = {name: profile.description for name, profile in suite.profiles.items()}
    datasets = textwrap.fill(", ".join(probseg.datasets), WIDTH - 2, break_on_hyphens=False)
    parts = [
        suites(),
        _section(f"rows of {suite.file.path.stem} (--models NAME …; * without --models)", rows),
        *_without_row(suite),
        _section("profiles (--profile NAME)", profiles),
        "data sets (--datasets NAME …):\n" + textwrap.indent(datasets, "  "),
    ]
    return "\n\n".join(parts)


def _without_row(suite: Suite) -> list[str]:
    built = {row.build for row in suite.models.values()}
    names = [name for name in probseg.models if name not in built]
    if not names:
        return []
    return ["models without a row (--models NAME … too):\n  " + ", ".join(names)]


def _section(title: str, descriptions: Mapping[str, str]) -> str:
    width = max(map(len, descriptions)) + 4
    lines = [_line(f"  {name}".ljust(width), text) for name, text in descriptions.items()]
    return "\n".join([f"{title}:", *lines])


def _line(name: str, text: str) -> str:
    indent = " " * len(name)
    return textwrap.fill(text or "–", WIDTH, initial_indent=name, subsequent_indent=indent)
