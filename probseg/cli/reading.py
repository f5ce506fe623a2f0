"""What a part is, read from its source without importing it."""

from __future__ import annotations

import ast
import importlib.machinery
import sys
from functools import lru_cache
from pathlib import Path

from probseg.cli.docstrings import plain
from probseg.errors import PluginError

_LINE = "\n"

# importlib.util.find_spec would import the packages above a module.


def summary(module: str, name: str) -> str:
    """Return the first line that documents ``name`` in a module, or nothing where none does.

    It is the first line of a class's or a function's docstring, of the string under an assignment,
    or else of what an assignment wraps.

    Raises:
        PluginError: There is no such module, it is no Python, or it has no such name.
    """
    body = _body(module)
    if body is None:  # compiled, or in an archive
        return ""
    found = _find(body, name)
    if found is None:
        if any(isinstance(node, ast.ImportFrom) for node in body):
            return _imported(body, module, name)
        raise PluginError(f"there is no {name} in {module}")
    return plain(found.strip().partition("\n")[0])


def locate(module: str) -> importlib.machinery.ModuleSpec:
    """Find a module as an import would, and import nothing.

    Raises:
        PluginError: There is none.
    """
    if module in sys.modules and (spec := sys.modules[module].__spec__) is not None:
        return spec
    path: list[str] | None = None
    whole = ""
    for piece in module.split("."):
        whole = f"{whole}.{piece}" if whole else piece
        spec = _spec(whole, path)
        if spec is None:
            raise PluginError(f"there is no module {whole}")
        path = list(spec.submodule_search_locations or [])
    assert spec is not None
    return spec


def _spec(name: str, path: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:  # an editable install adds finders of its own
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None


@lru_cache(maxsize=64)
def _body(module: str) -> list[ast.stmt] | None:
    origin = locate(module).origin or ""
    if not origin.endswith(".py"):
        return None
    try:
        return ast.parse(Path(origin).read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError, OSError) as error:
        raise PluginError(f"{module} cannot be read: {error}") from error


def _find(body: list[ast.stmt], name: str) -> str | None:
    """Return what documents a name; nothing if it is defined and undocumented."""
    found: str | None = None
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            found = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
            found = _text(after) or _wrapped(node.value, body)
    return found


def _targets(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}


def _text(node: ast.AST | None) -> str:
    value = node.value if isinstance(node, ast.Expr) else node
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    return ""


def _wrapped(value: ast.AST | None, body: list[ast.stmt]) -> str:
    """Return what documents ``partial(something, ...)``, or the sentence that a call is given."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)] if value else []
    for call in calls:
        for argument in call.args:
            if isinstance(argument, ast.Name) and (found := _find(body, argument.id)):
                return f"{found.strip().partition(_LINE)[0]} {_given(call)}"
            if " " in (sentence := _text(argument)):
                return sentence
    return ""


def _given(call: ast.Call) -> str:
    """Return the constants that a call passes on, by which one wrapped thing differs from another.

    >>> _given(ast.parse("partial(Network, 1, arch='fpn')").body[0].value)
    "(1, arch='fpn')"
    """
    fixed = [one for one in call.args if isinstance(one, ast.Constant)]
    named = [one for one in call.keywords if isinstance(one.value, ast.Constant)]
    given = ", ".join(map(ast.unparse, [*fixed, *named]))
    return f"({given})" if given else ""


def _imported(body: list[ast.stmt], module: str, name: str) -> str:
    """Return the summary of a name that the module imports from another one."""
    for node in body:
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if name == (alias.asname or alias.name):
                return summary(_absolute(node, module), alias.name)
            if alias.name == "*":
                return ""
    raise PluginError(f"there is no {name} in {module}")


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    package = locate(module).submodule_search_locations is not None
    above = module.split(".")[: None if package and node.level == 1 else -node.level + package]
    return ".".join([*above, *filter(None, [node.module])])
