"""``new-plugin``: a package of one's own with a part that works, and tests that pass."""

from __future__ import annotations

import argparse
import re
from importlib.resources import files
from pathlib import Path
from string import Template

import probseg
from probseg.cli.kinds import registry_of, singular
from probseg.errors import OptionError
from probseg.registry import KINDS
from probseg.utils.atomic_files import atomic_folder

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Template to the file that is made of it; the part's own template depends on its kind.
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "test_contract.py": "tests/test_contract.py",
    "gitignore": ".gitignore",
}
# What a model takes it by, where it takes it by an option.
_USES = {
    **{kind: f'probseg.build("csae", {kind}="$name")' for kind in ("backbone", "encoder")},
    **{kind: f'probseg.build("csae", {kind}="$name")' for kind in ("projector", "decoder")},
    "divergence": 'probseg.build("csae", divergence="$name")',
    "model": 'probseg.build("$name")',
    "dataset": 'probseg.datasets.create("$name")',
    "metric": 'probseg.metrics.create("$name")',
}


def run(options: argparse.Namespace) -> int:
    """Write the package, say what comes next, and return exit status 0."""
    kind, name = singular(options.kind), options.name.removeprefix("probseg-")
    _check(kind, name)
    folder = options.out or Path(f"probseg-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} exists already; choose another place with --out")
    with atomic_folder(folder) as place:
        for file, text in package(kind, name).items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_text(text, encoding="utf-8")
    print(f"{folder}: a package with the {kind} {name!r}; its part is yours to change")
    print(f"\n  pip install --editable {folder}")
    print(f"  python -m pytest {folder}")
    print(f"  probseg check {kind} {name}")
    return 0


def package(kind: str, name: str) -> dict[str, str]:
    """Return the files of a package, by their place in it.

    Args:
        kind: In the singular.
        name: Of the part, small letters and digits with hyphens between.
    """
    words = name.split("-")
    values = {
        "name": name,
        "kind": kind,
        "kinds": KINDS[kind],
        "title": " ".join(words).capitalize(),
        "Class": "".join(word.capitalize() for word in words),
        "package": "probseg_" + "_".join(words),
        "version": probseg.__version__,
        "below": _next_minor(probseg.__version__),
        "use": Template(_USES[kind]).substitute(name=name),
    }
    made = {file: _filled(template, values) for template, file in _FILES.items()}
    source = _filled(f"parts/{kind}.py", values)
    return {**made, f"src/{values['package']}/__init__.py": source}


def _filled(template: str, values: dict[str, str]) -> str:
    text = (files("probseg.cli") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def _check(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"{name!r} is no name for a part; use small letters and digits with hyphens between, "
            "such as radial or my-net"
        )
    parts = registry_of(kind)
    if name in parts:
        offers = " and ".join(offer.source for offer in parts.offers()[name])
        raise OptionError(f"a {kind} called {name!r} exists already, of {offers}; choose another")


def _next_minor(version: str) -> str:
    """Return the first version that may differ in what it offers.

    >>> _next_minor("0.1.0")
    '0.2'
    """
    major, minor, *_ = version.split(".")
    return f"{major}.{int(minor) + 1}"
