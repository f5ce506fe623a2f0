"""Measures of the code: ``python tests/project/stats.py``, or ``make stats``.

Rooms are the files and folders directly in ``probseg/``, and ``benchmarks`` and ``plugins`` as one
room each. An arrow is an import from one room to another, however many lines have it; imports for
type checkers and imports inside functions count. An arrow runs back if its target does not stand
below its source in the layers of ``pyproject.toml``, which import-linter holds. A circle is a set
of modules that import each other.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parents[2]
MOST_ARGUMENTS = 6
CONSTRUCTORS = {"__init__", "__post_init__", "__new__", "__setstate__"}


@dataclass(frozen=True)
class Module:
    """A Python file."""

    name: str  # "probseg.metrics.ged"
    path: Path

    @property
    def room(self) -> str:
        """The room that it stands in."""
        top, *rest = self.name.split(".")
        if top != "probseg":
            return top if top == "benchmarks" else "plugins"
        return rest[0] if rest else "__init__"

    @property
    def lines(self) -> int:
        """How many lines it has, blank ones included."""
        return len(self.path.read_text(encoding="utf-8").splitlines())


def modules(folder: Path, root: Path) -> list[Module]:
    """Return the Python files below a folder, named from ``root``."""

    def name(path: Path) -> str:
        return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")

    return [Module(name(path), path) for path in sorted(folder.rglob("*.py"))]


def layers() -> dict[str, int]:
    """Return each room's layer, 0 at the top, from the first contract in ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = project["tool"]["importlinter"]["contracts"][0]["layers"]
    named = ["benchmarks | plugins", "__main__", rooms[0], "__init__", *rooms[1:]]
    return {room: i for i, layer in enumerate(named) for room in layer.split(" | ")}


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: Module, names: frozenset[str]) -> Iterator[str]:
    """Return the names of the modules that a module imports, anywhere in it."""
    for node in ast.walk(tree(module.path)):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            candidates = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for candidate in candidates:
            nearest = candidate
            while nearest not in names and "." in nearest:
                nearest = nearest.rpartition(".")[0]
            if nearest in names and nearest != module.name:
                yield nearest


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that import each other, directly or through others (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            members = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(members) > 1:
                found.append(sorted(members))

    for node in graph:
        if node not in index:
            visit(node)
    return found


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Module) -> Iterator[Function]:
    """Return the functions and methods of a module, nested ones included."""
    return (node for node in ast.walk(tree(module.path)) if isinstance(node, Function))


def arguments(function: Function) -> int:
    """Return how many arguments a function takes besides ``self`` and ``cls``."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def written_attributes(function: Function) -> int:
    """Return how many attributes of ``self`` a function assigns."""
    targets = (n for n in ast.walk(function) if isinstance(n, ast.Attribute))
    return sum(
        isinstance(t.ctx, ast.Store) and isinstance(t.value, ast.Name) and t.value.id == "self"
        for t in targets
    )


def main() -> None:
    """Print the measures."""
    library = modules(ROOT / "probseg", ROOT)
    benchmark = modules(ROOT / "benchmarks", ROOT)
    plugins = [m for src in ROOT.glob("plugins/*/src") for m in modules(src, src)]
    everything = [*library, *benchmark, *plugins]
    names = frozenset(module.name for module in everything)
    graph = {module.name: set(imported(module, names)) for module in everything}
    rooms = {module.name: module.room for module in everything}
    arrows = {(rooms[a], rooms[b]) for a, targets in graph.items() for b in targets}
    arrows = {(a, b) for a, b in arrows if a != b}
    layer = layers()
    back = sorted(f"{a} -> {b}" for a, b in arrows if layer[b] <= layer[a])
    code = [function for module in everything for function in functions(module)]
    lengths = [(f.end_lineno or f.lineno) - f.lineno + 1 for f in code]
    long = [f for f in code if arguments(f) > MOST_ARGUMENTS]
    written = sum(written_attributes(f) for f in code if f.name not in CONSTRUCTORS)
    top = [m for m in library if m.path.parent == ROOT / "probseg" and m.path.stem[:2] != "__"]

    for label, group in (("probseg", library), ("benchmarks", benchmark)):
        lines = [module.lines for module in group]
        print(f"{label}: {len(group)} files, {sum(lines)} lines, median {median(lines):g}")
    print(f"together: {sum(m.lines for m in (*library, *benchmark))} lines")
    print(f"modules at the top of probseg: {len(top)} ({', '.join(m.path.stem for m in top)})")
    print(f"import arrows between rooms: {len(arrows)}")
    print(f"arrows that run back: {len(back)} {', '.join(back)}".rstrip())
    loops = circles(graph)
    print(f"circles of modules: {len(loops)} {'; '.join(', '.join(one) for one in loops)}".rstrip())
    print(f"functions: {len(code)}, median {median(lengths):g} lines, p90 {_p90(lengths):g} lines")
    named = ", ".join(sorted(f"{f.name} ({arguments(f)})" for f in long))
    print(f"functions with more than {MOST_ARGUMENTS} arguments: {len(long)} {named}".rstrip())
    print(f"attributes of self written outside constructors: {written}")


def _p90(values: list[int]) -> float:
    return quantiles(values, n=10)[-1]


if __name__ == "__main__":
    sys.exit(main())
