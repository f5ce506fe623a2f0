"""Tables: one record for all of them, rendered for a terminal, Markdown and LaTeX; and CSV.

A table is a list of column definitions over a list of records. A new column is a new line in that
list. The HTML pages render the same record (``templates/parts.html.j2``).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from rich.table import Table as RichTable

# Only the standard library is imported here: some commands need nothing else.

MISSING = "–"
Record = TypeVar("Record")
Mark = Literal["", "best", "better", "worse", "warning"]
Best = Literal["", "low", "high"]  # whether low or high values are better, if either is
_ARROWS: dict[Best, str] = {"low": "↓", "high": "↑", "": ""}
_STYLES: dict[Mark, str] = {
    "": "",
    "best": "bold green",
    "better": "bold green",
    "worse": "bold red",
    "warning": "yellow",
}


@dataclass(frozen=True)
class TableCell:
    """One cell of a table."""

    text: str
    value: float | str | None = None  # at full precision; sorts the rows, None comes last
    mark: Mark = ""
    suffix: str = ""  # a sign behind the text, such as †, which the mark does not cover


@dataclass(frozen=True)
class Column(Generic[Record]):
    """The definition of one column."""

    title: str  # the heading, without its arrow
    cell: Callable[[Record], TableCell | float | str | None]  # from a record: a cell, or its value
    number: bool = True  # whether the cells are numbers, which are aligned to the right
    best: Best = ""  # which values are better; an arrow in the heading says so
    hint: str = ""  # what it means, in one sentence; the HTML heading where there is no title
    once: bool = False  # whether printed tables leave out a value that repeats the one above

    @property
    def heading(self) -> str:
        """The title with an arrow to where values are better."""
        return with_arrow(self.title, self.best)

    @property
    def stacked(self) -> str:
        """The heading in two lines, for a narrow terminal."""
        first, _, rest = self.title.partition(" ")
        return f"{first} {_ARROWS[self.best]}\n{rest}"


@dataclass(frozen=True)
class Table:
    """A table as every renderer takes it; the first cell of a row is its heading."""

    title: str
    columns: Sequence[Column[Any]]
    rows: Sequence[Sequence[TableCell]]
    caption: str = ""
    notes: Sequence[str] = ()
    label: str = ""  # of the LaTeX table

    @classmethod
    def of(
        cls,
        columns: Sequence[Column[Record]],
        records: Iterable[Record],
        *,
        title: str = "",
        caption: str = "",
        notes: Sequence[str] = (),
        label: str = "",
    ) -> Table:
        """Return the table of some records, one row each.

        >>> squares = [Column("n", lambda n: n), Column("square", lambda n: n * n)]
        >>> print(to_markdown(Table.of(squares, [1, 2], title="Squares")))
        ## Squares
        <BLANKLINE>
        | n | square |
        | ---: | ---: |
        | 1 | 1 |
        | 2 | 4 |
        """
        rows = [[_as_cell(column.cell(record)) for column in columns] for record in records]
        return cls(title, columns, rows, caption, notes, label)

    def without_empty_columns(self) -> Table:
        """Return the table without the columns in which every cell is missing."""
        cells = enumerate(zip(*self.rows, strict=True))
        kept = [index for index, column in cells if any(cell.text != MISSING for cell in column)]
        columns = [self.columns[index] for index in kept]
        return replace(self, columns=columns, rows=[[row[i] for i in kept] for row in self.rows])

    def groups(self) -> list[list[Sequence[TableCell]]]:
        """Return the rows as they are printed, grouped by the first column if it repeats values."""
        groups: list[list[Sequence[TableCell]]] = []
        above: Sequence[TableCell] = ()
        for row in self.rows:
            same = [cell == other for cell, other in zip(row, above, strict=False)]
            repeated = same.index(False) if False in same else len(same)  # the leading cells
            if not groups or (self.columns[0].once and not repeated):
                groups.append([])
            shown = list(row)
            for index in range(repeated):
                if self.columns[index].once:
                    shown[index] = TableCell("")
            groups[-1].append(shown)
            above = row
        return groups


def with_arrow(title: str, best: Best) -> str:
    """Return a heading with an arrow to where values are better."""
    return f"{title} {_ARROWS[best]}".rstrip()


def number(value: float | None, form: str = ".3f") -> TableCell:
    """Return the cell of a number, with a true minus sign and none before zero; NaN is missing.

    >>> number(-0.25, "+.1f").text, number(-0.0004).text, number(math.nan).text
    ('−0.2', '0.000', '–')
    """
    if value is None or math.isnan(value):
        return TableCell(MISSING)
    text = f"{value:{form}}"
    text = text if float(text) else text.lstrip("-")
    return TableCell(text.replace("-", "−"), value)


def interval(low: float | None, high: float | None, form: str = ".3f") -> TableCell:
    """Return the cell of an interval, which sorts by its lower end; one with NaN is missing.

    >>> interval(-0.25, 0.5, "+.1f").text
    '−0.2 to +0.5'
    """
    ends = number(low, form), number(high, form)
    if any(end.value is None for end in ends):
        return TableCell(MISSING)
    return TableCell(" to ".join(end.text for end in ends), ends[0].value)


def _as_cell(value: TableCell | float | str | None) -> TableCell:
    if isinstance(value, TableCell):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return TableCell(MISSING)
    return TableCell(str(value), value)


def to_markdown(table: Table, *, level: int = 2, aligned: bool = True) -> str:
    """Return a table as Markdown: marked cells in bold, and numbers to the right if ``aligned``."""
    rules = ["---:" if column.number and aligned else "---" for column in table.columns]
    rows = [[_bold(cell) for cell in row] for row in chain.from_iterable(table.groups())]
    lines = [[column.heading for column in table.columns], rules, *rows]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    heading = f"{'#' * level} {table.title}" if table.title else ""
    notes = "\n".join(f"- {note}" for note in table.notes)
    return "\n\n".join(filter(None, (heading, table.caption, body, notes)))


def _bold(cell: TableCell) -> str:
    return (f"**{cell.text}**" if cell.mark else cell.text) + cell.suffix


def to_csv(names: Sequence[str], lines: Iterable[Iterable[Any]]) -> str:
    """Return lines of values at full precision, with a heading; NaN and None are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_as_cell(value).value for value in line] for line in lines)
    return text.getvalue()


def to_terminal(table: Table, *, narrow: bool = False) -> RichTable:
    """Return a table that rich prints.

    Narrow, headings and ``mean ± deviation`` take two lines each, to fit 80 columns.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(table.title, style="bold"),
        caption=Text("\n".join(filter(None, (table.caption, *table.notes)))),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in table.columns:
        heading = column.stacked if narrow and column.number else column.heading
        if column.number:
            shown.add_column(Text(heading), justify="right", no_wrap=True)
        else:
            shown.add_column(Text(heading), min_width=13 if narrow else None, overflow="fold")
    for group in table.groups():
        for row in group:
            shown.add_row(*(Text(_terminal_text(cell, narrow), _STYLES[cell.mark]) for cell in row))
        shown.add_section()
    return shown


def _terminal_text(cell: TableCell, narrow: bool) -> str:
    text = cell.text + cell.suffix
    return text.replace(" ± ", "\n± ") if narrow else text


_LATEX = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "Ŵ": r"$\widehat{W}$",
    "σ": r"$\sigma$",
    "−": r"$-$",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "–": "--",
}


def to_latex(table: Table) -> str:
    r"""Return a table as LaTeX; the document loads ``booktabs`` and ``graphicx``."""
    alignment = "".join("r" if column.number else "l" for column in table.columns)
    headings = " & ".join(escape(column.heading) for column in table.columns)
    groups = ([r"\midrule", *map(_latex_row, group)] for group in table.groups())
    body = "\n".join(chain.from_iterable(groups))
    return rf"""\begin{{table}}
\centering
\caption{{{escape(table.caption)}}}
\label{{tab:{table.label}}}
\resizebox{{\textwidth}}{{!}}{{%
\begin{{tabular}}{{{alignment}}}
\toprule
{headings} \\
{body}
\bottomrule
\end{{tabular}}}}
\end{{table}}
"""


def _latex_row(row: Iterable[TableCell]) -> str:
    return " & ".join(map(_latex_cell, row)) + r" \\"


def _latex_cell(cell: TableCell) -> str:
    text = escape(cell.text)
    return (rf"\textbf{{{text}}}" if cell.mark else text) + escape(cell.suffix)


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it stands.

    >>> escape("5 % of a_b")
    '5 \\% of a\\_b'
    """
    return "".join(_LATEX.get(character, character) for character in text)
