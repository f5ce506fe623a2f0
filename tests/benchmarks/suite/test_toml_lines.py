"""Lines of a TOML file, against documents written by a writer that counts its lines."""

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.suite.toml_lines import has, line_of

KEYS = st.sampled_from(["a", "b", "x-y", "is 1", "dot.ted", "ü", 'quo"te', "#", "[t]"])
VALUES = st.sampled_from(
    [
        "1",
        "[1, [2, 3]]",
        "[\n  1, # a = 9\n\n  2,\n]",
        '"""\na = 1\n[a]\n"""',
        "'''\n\n[[b]]'''",
        "{ a = 1, b = { c = [{ d = 1 }] } }",
        "{ a = [\n{ b = 1 },\n] }",
        '"\\u2028 = \u2028"',
    ]
)
NOISE = st.lists(st.sampled_from(["", "# a = 1", "#[a]\u2028", "  "]), max_size=2)
TREES = st.recursive(
    st.none(),  # a leaf: a value of VALUES
    lambda inner: (
        st.dictionaries(KEYS, inner, min_size=1, max_size=3)
        | st.lists(st.dictionaries(KEYS, inner, max_size=2), min_size=1, max_size=3)
    ),
    max_leaves=8,
)


class Writer:
    """Writes tables in every way that TOML has, and knows the line of each key and table."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.expected: dict[tuple[str | int, ...], int] = {}

    def say(self, statement: str, path: tuple[str | int, ...]) -> None:
        self.lines += self.draw(NOISE)
        for length in range(1, len(path) + 1):
            self.expected.setdefault(path[:length], len(self.lines) + 1)
        self.lines += statement.split("\n")

    def table(self, tree, path, *, header) -> None:
        """Write what fits under the table's header, then the tables below it."""
        below = []
        for key, inner in tree.items():
            if inner is None:
                self.say(f"{self.key(key)} = {self.draw(VALUES)}", (*path, key))
            elif self.is_flat(inner) and self.choose():
                for last in inner:
                    dotted = f"{self.key(key)} . {self.key(last)}"
                    self.say(f"{dotted} = {self.draw(VALUES)}", (*path, key, last))
            else:
                below.append(key)
        for key in below:
            self.below(tree[key], (*path, key), f"{header}{self.key(key)}")

    def below(self, inner, path, name) -> None:
        if isinstance(inner, list):
            for place, table in enumerate(inner):
                self.say(f"[[ {name} ]] # [a]", (*path, place))
                self.table(table, (*path, place), header=f"{name}.")
            return
        if any(value is None or self.is_flat(value) for value in inner.values()) or self.choose():
            self.say(f"[{name}]", path)
        self.table(inner, path, header=f"{name}.")

    @staticmethod
    def is_flat(inner) -> bool:
        return isinstance(inner, dict) and all(value is None for value in inner.values())

    def key(self, key: str) -> str:
        bare = all(c.isascii() and (c.isalnum() or c == "-") for c in key)
        return key if bare and self.choose() else json.dumps(key, ensure_ascii=False)

    def choose(self) -> bool:
        return self.draw(st.booleans())


@settings(max_examples=40, deadline=None)
@given(data=st.data(), ending=st.sampled_from(["\n", "\r\n"]))
def test_each_key_is_on_the_line_where_it_was_written(data, ending) -> None:
    tree = data.draw(st.dictionaries(KEYS, TREES, max_size=4))
    writer = Writer(data.draw)
    writer.table(tree, (), header="")
    text = ending.join(writer.lines) + data.draw(st.sampled_from(["", ending]))
    document = tomllib.loads(text)
    for path, line in writer.expected.items():
        assert has(document, path)
        assert line_of(text, path) == line


SOME = """\
title = "a"  # line 1

[models."csae.own"]
options = { flow = [
  "own",
] }
takes = [
  "beta",
]
[[runs]]
[[runs]]
seed.value = 1
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["title"], 1),
        (["models"], 3),
        (["models", "csae.own", "options", "flow", 0], 4),
        (["models", "csae.own", "takes", 0], 7),
        (["runs"], 10),
        (["runs", 1], 11),
        (["runs", 1, "seed", "value"], 12),
    ],
)
def test_lines_counted_by_hand(path, line) -> None:
    assert line_of(SOME, path) == line


@pytest.mark.parametrize("path", [["models", "csae"], ["runs", 2], ["title", "a"], ["title", 0]])
def test_what_is_not_said_has_no_line(path) -> None:
    with pytest.raises(KeyError):
        line_of(SOME, path)
