"""``probseg new-plugin``: a package with a part that works, and tests that pass."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from string import Template

from probseg._version import __version__
from probseg.cli.parser import Parser, complete
from probseg.errors import OptionError
from probseg.options import an
from probseg.registry import KINDS, in_words, registry, singular

SUMMARY = "write a package with a part of your own"
EXAMPLES = """
examples:
  %(prog)s radial --kind projector
      the folder probseg-radial, whose part works and is yours to change
  %(prog)s my-net --kind backbone --out src/my-net

Then: pip install --editable probseg-radial && python -m pytest probseg-radial
"""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# Each template, and the file made from it; the template of the part depends on its kind.
_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "test_contract.py": "tests/test_contract.py",
    "gitignore": ".gitignore",
}
# A call that uses the part.
_USES = {
    **dict.fromkeys(KINDS, 'probseg.build("csae", $kind="$name")'),
    "pyramid": 'probseg.build("hierarchical", pyramid="$name")',
    "set_loss": 'probseg.build("energy", set_loss="$name")',
    "model": 'probseg.build("$name")',
    "dataset": 'probseg.datasets.create("$name")',
    "metric": 'probseg.metrics.create("$name")',
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``new-plugin``."""
    parser.add_argument("name", metavar="NAME", help="of the part, such as radial")
    kind = parser.add_argument("--kind", required=True, metavar="KIND", help="such as projector")
    complete(kind, lambda **_: list(KINDS))
    parser.add_argument("--out", type=Path, metavar="DIR", help="(default: probseg-NAME)")


def run(options: argparse.Namespace) -> int:
    """Write the package, print the next steps, and return exit status 0."""
    from probseg.utils.atomic_files import atomic_folder

    kind, name = singular(options.kind), options.name.removeprefix("probseg-")
    _check(kind, name)
    folder = options.out or Path(f"probseg-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} exists already; choose another folder with --out")
    with atomic_folder(folder) as temporary:
        for file, text in package(kind, name).items():
            (temporary / file).parent.mkdir(parents=True, exist_ok=True)
            (temporary / file).write_text(text, encoding="utf-8")
    print(f"{folder}: a package with the {in_words(kind)} {name!r}; its part is yours to change")
    print(f"\n  pip install --editable {folder}")
    print(f"  python -m pytest {folder}")
    print(f"  probseg check {kind.replace('_', '-')} {name}")
    return 0


def package(kind: str, name: str) -> dict[str, str]:
    """Return the text of each file of a package, by its path within the package.

    Args:
        kind: In the singular.
        name: Of the part: small letters and digits, separated by hyphens.
    """
    name_parts = name.split("-")
    values = {
        "name": name,
        "kind": kind,
        "kinds": KINDS[kind],
        "word": in_words(kind),
        "option": kind.replace("_", "-"),
        "title": " ".join(name_parts).capitalize(),
        "Class": "".join(one.capitalize() for one in name_parts),
        "package": "probseg_" + "_".join(name_parts),
        "version": __version__,
        "use": Template(_USES[kind]).substitute(kind=kind, name=name),
    }
    files = {file: _fill(template, values) for template, file in _FILES.items()}
    source = _fill(f"parts/{kind}.py", values)
    return {**files, f"src/{values['package']}/__init__.py": source}


def _fill(template: str, values: dict[str, str]) -> str:
    file = Path(__file__).parent / "templates" / f"{template}.txt"
    return Template(file.read_text(encoding="utf-8")).substitute(values)


def _check(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"{name!r} is no name for a part; use small letters and digits, separated by hyphens, "
            "such as radial or my-net"
        )
    parts = registry(KINDS[kind])
    if name in parts:
        offers = " and ".join(offer.source for offer in parts.offers()[name])
        raise OptionError(
            f"{an(in_words(kind))} called {name!r} exists already, of {offers}; choose another name"
        )
