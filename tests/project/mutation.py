"""Print the score of the last `make mutation`: how many planted faults the tests notice.

The score is killed / (killed + survived); a timeout counts as killed. Beside it stand the mutants
that no test reaches, and the functions that mutmut leaves alone because they are decorated, such as
those that Numba compiles.
"""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "mutants"
KILLED = ("killed", "timeout", "segfault")
MUTATED = ("classmethod", "staticmethod")  # decorators of functions that it does mutate


def counts(file: Path) -> Counter[str]:
    """Return how many mutants of a file, from its `.meta`, have each status."""
    codes = json.loads(file.read_text())["exit_code_by_key"].values()
    return Counter(status_by_exit_code[code] for code in codes)


def left_alone(source: Path) -> int:
    """Return how many functions of a source file mutmut does not mutate."""
    nodes = ast.walk(ast.parse(source.read_text()))
    decorators = [node.decorator_list for node in nodes if isinstance(node, ast.FunctionDef)]
    return sum(any(ast.unparse(one) not in MUTATED for one in each) for each in decorators)


def row(name: str, status: Counter[str], decorated: int) -> str:
    """Return one line of the table."""
    killed = sum(status[one] for one in KILLED)
    score = f"{killed / (killed + status['survived']):7.1%}" if killed else "      –"
    others = status.total() - killed - status["survived"] - status["no tests"]
    numbers = (killed, status["survived"], status["no tests"], others, decorated)
    return f"{name:42}{score}" + "".join(f"{number:10}" for number in numbers)


def main() -> None:
    """Print a line for each mutated file, and one for all."""
    titles = ("killed", "survived", "no tests", "not run", "decorated")
    print(f"{'file':42}{'score':>7}" + "".join(f"{title:>10}" for title in titles))
    total, all_decorated = Counter[str](), 0
    for file in sorted(MUTANTS.rglob("*.py.meta")):
        name = str(file.relative_to(MUTANTS).with_suffix(""))
        status, decorated = counts(file), left_alone(ROOT / name)
        if status or decorated:
            print(row(name, status, decorated))
        total, all_decorated = total + status, all_decorated + decorated
    print(row("all", total, all_decorated))


if __name__ == "__main__":
    main()
