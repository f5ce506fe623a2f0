"""The renderers of tables: each shows every cell, and what it marks."""

import csv
import io
import math
import re

import pytest
from rich.console import Console

from probseg.reports.tables import (
    Column,
    Table,
    TableCell,
    escape,
    interval,
    number,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
)

COLUMNS = (
    Column("city", lambda line: line[0], number=False, once=True),
    Column("year", lambda line: line[1], number=False, once=True),
    Column("side", lambda line: line[2], number=False),
    Column(
        "rain mm", lambda line: TableCell(f"{line[3]:.1f} ± 2", line[3], line[4], "†"), best="low"
    ),
    Column("sun", lambda line: line[5]),
)
LINES = [
    ("Bern", "2001", "east", 10.25, "", None),
    ("Bern", "2001", "west", 8.5, "best", math.nan),
    ("Basel", "2001", "east", 9.0, "", None),
]


@pytest.fixture
def table() -> Table:
    return Table.of(COLUMNS, LINES, title="Rain & sun", caption="5 % more", notes=["a note"])


def test_markdown_names_what_repeats_once_and_marks_in_bold(table) -> None:
    assert to_markdown(table).splitlines() == [
        *("## Rain & sun", "", "5 % more", ""),
        "| city | year | side | rain mm ↓ | sun |",
        "| --- | --- | --- | ---: | ---: |",
        "| Bern | 2001 | east | 10.2 ± 2† | – |",
        "|  |  | west | **8.5 ± 2**† | – |",
        "| Basel | 2001 | east | 9.0 ± 2† | – |",
        *("", "- a note"),
    ]


def test_csv_has_every_value_at_full_precision_and_none_for_what_is_missing() -> None:
    names = ("city", "year", "side", "rain mm", "mark", "sun")
    lines = list(csv.reader(io.StringIO(to_csv(names, LINES))))
    assert lines == [list(names), *([*line[:3], repr(line[3]), line[4], ""] for line in LINES)]


def test_latex_escapes_text_and_rules_off_the_groups(table) -> None:
    lines = to_latex(table).splitlines()
    assert r"\caption{5 \% more}" in lines
    assert r"\begin{tabular}{lllrr}" in lines
    assert r" &  & west & \textbf{8.5 $\pm$ 2}$\dagger$ & -- \\" in lines
    assert lines.count(r"\midrule") == 2  # one a city


@pytest.mark.parametrize("narrow", [False, True])
def test_a_terminal_shows_every_cell(table, narrow) -> None:
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(to_terminal(table, narrow=narrow))
    text = console.export_text()
    for part in ("Rain & sun", "5 % more", "a note", "Bern", "west", "10.2", "8.5", "± 2†", "–"):
        assert part in text
    assert ("± 2†\n" in text.replace(" ", "").replace("±", "± ")) or not narrow


def test_columns_without_a_value_can_be_left_out(table) -> None:
    shown = table.without_empty_columns()
    assert [column.title for column in shown.columns] == ["city", "year", "side", "rain mm"]
    assert {len(row) for row in shown.rows} == {4}


def test_missing_numbers_have_a_dash_and_no_value() -> None:
    for cell in (number(math.nan), number(None), interval(math.nan, math.nan), interval(0, None)):
        assert (cell.text, cell.value) == ("–", None)
    assert number(-0.5, "+.2f") == TableCell("−0.50", -0.5)
    assert interval(-1, 2, ".1f") == TableCell("−1.0 to 2.0", -1)


@pytest.mark.parametrize("text", ["a_b & 5 % {x} #1 ~ ^ $ \\", "Ŵ 1−IoU ↓ ± σ × † –"])
def test_nothing_that_latex_would_read_is_left(text) -> None:
    escaped = escape(text)
    assert escaped.isascii()
    bare = re.sub(r"\\(?:[a-zA-Z]+(?:\{\})?|[&%$#_{}])", "", escaped)
    assert not set("_&%#~^") & set(bare)
    assert bare.count("{") == bare.count("}")
