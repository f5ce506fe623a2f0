"""``probseg list``: every installed part in one line, read without importing any of them."""

from __future__ import annotations

import argparse
import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from itertools import pairwise
from pathlib import Path

from probseg.cli.output import plain, print_json, print_rows
from probseg.cli.parser import Parser, add_json, complete
from probseg.registry import KINDS, registry, singular

SUMMARY = "show every installed part, where it comes from and what it is"
EXAMPLES = """
examples:
  %(prog)s
  %(prog)s backbones
  %(prog)s models --json

Nothing is imported; probseg show KIND NAME imports a part, and says why if that fails.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``list``."""
    kind = parser.add_argument("kind", nargs="?", metavar="KIND", help="one kind (default: all)")
    complete(kind, lambda **_: [*KINDS.values()])
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the list and return exit status 0."""
    kinds = [singular(options.kind)] if options.kind else KINDS
    parts = [part for kind in kinds for part in _list(kind)]
    if options.json:
        print_json(parts)
    else:
        rows = [[part[key] for key in ("kind", "name", "source", "summary")] for part in parts]
        print_rows(rows, ("kind", "name", "from", "what it is"))
    return 0


def _list(kind: str) -> Iterator[dict[str, str]]:
    """Yield the parts of a kind in alphabetical order; a name with several sources has several."""
    for name, offers in sorted(registry(KINDS[kind]).offers().items()):
        for offer in offers:
            module, _, attribute = offer.target.partition(":")
            line = summary(module, attribute)
            if len(offers) > 1:
                line = f"offered {len(offers)} times; uninstall one. {line}"
            yield {
                "kind": kind,
                "name": name,
                "source": offer.source,  # "probseg", or distribution and version
                "target": offer.target,
                "summary": line,
            }


def summary(module: str, name: str) -> str:
    """Return the line that documents ``name`` in the source of a module, or an empty string.

    It is the first line of a docstring or of the string under an assignment; without one it is the
    assigned value. A ``partial`` has the line of its function, and its arguments.
    """
    text = ""
    for node, following in pairwise([*_statements(module), ast.Pass()]):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            text = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign) and name in _targets(node):
            text = _string(following) or _assigned(node.value, module)
        elif isinstance(node, ast.ImportFrom):
            names = {alias.asname or alias.name: alias.name for alias in node.names}
            if name in names:
                text = summary(_absolute(node, module), names[name])
    return plain(text.strip().partition("\n")[0])


def _targets(node: ast.Assign) -> set[str]:
    names = (one for target in node.targets for one in ast.walk(target))
    return {one.id for one in names if isinstance(one, ast.Name)}


def _string(node: ast.AST) -> str:
    value = node.value if isinstance(node, ast.Expr) else node
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _assigned(value: ast.expr, module: str) -> str:
    """Return the line of a partial's function, a sentence that a call is given, or the call."""
    for call in ast.walk(value):
        match call:
            case ast.Call(func=ast.Name("partial"), args=[ast.Name(function), *given]):
                named = [f"{one.arg}={ast.unparse(one.value)}" for one in call.keywords]
                known = [one for one in given if not isinstance(one, ast.Name)]  # not of a loop
                arguments = [_string(one) or ast.unparse(one) for one in known]
                line = summary(module, function).rstrip(".")
                return f"{line or function} ({', '.join([*arguments, *named])})"
    strings = (_string(node) for node in ast.walk(value))
    return next((one for one in strings if " " in one), ast.unparse(value))


def _absolute(node: ast.ImportFrom, module: str) -> str:
    """Return the module that a ``from`` import in a package's ``__init__.py`` or module names."""
    if not node.level:
        return node.module or ""
    package = module if _source(module).name == "__init__.py" else module.rpartition(".")[0]
    above = package.split(".")[: 1 - node.level or None]
    return ".".join([*above, *filter(None, [node.module])])


@lru_cache(maxsize=64)
def _statements(module: str) -> list[ast.stmt]:
    try:
        return ast.parse(_source(module).read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):  # missing, compiled or broken
        return []


def _source(module: str) -> Path:
    """Return the file of a module; of one in a package, without importing the package."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for name in rest:
        if spec is not None:
            spec = PathFinder.find_spec(f"{spec.name}.{name}", spec.submodule_search_locations)
    return Path(spec.origin if spec is not None and spec.origin else "")
