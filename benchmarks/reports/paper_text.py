"""The paper's tables as Markdown, CSV and LaTeX: of each model the paper's line, then ours."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from benchmarks.reports.analysis import words
from benchmarks.reports.analysis.paper import PaperRow, PaperTable
from benchmarks.reports.tables import Column, Summary

MARK = "†"
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


def to_markdown(tables: Iterable[PaperTable]) -> str:
    """Return every table as Markdown."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def _markdown(table: PaperTable) -> str:
    heads = ["Data set", "Model", "", *(column.title for column in table.columns)]
    lines = [heads, ["---"] * 3 + ["---:"] * len(table.columns)]
    for row, first in _with_breaks(table.rows):
        dataset = words.dataset(row.dataset) if first else ""
        lines.append([dataset, words.model(row.model), "paper", *_papers(row, table.columns)])
        lines.append(["", "", "here", *_ours(row, table.columns)])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## Table {table.number}, profile {table.profile}\n\n{table.caption}\n\n{body}"


def _with_breaks(rows: Sequence[PaperRow]) -> list[tuple[PaperRow, bool]]:
    """Return each row with whether its data set begins there."""
    before = [None, *(row.dataset for row in rows)]
    return [(row, row.dataset != last) for row, last in zip(rows, before, strict=False)]


def _papers(row: PaperRow, columns: Sequence[Column]) -> list[str]:
    entries = [(row.entries[c.metric], c.digits) for c in columns]
    return [_bold(e.paper.show(digits), e.paper_best) for e, digits in entries]


def _ours(row: PaperRow, columns: Sequence[Column]) -> list[str]:
    entries = [(row.entries[c.metric], c.digits) for c in columns]
    return [_bold(_show(e.ours, digits), e.best) + MARK * e.differs for e, digits in entries]


def _show(summary: Summary | None, digits: int) -> str:
    return summary.show(digits) if summary else "–"


def _bold(text: str, yes: bool) -> str:
    return f"**{text}**" if yes else text


def to_csv(tables: Iterable[PaperTable]) -> str:
    """Return every value at full precision, one line a data set, model and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    values = ("paper_mean", "paper_sd", "mean", "sd", "cells", "differs")
    writer.writerow(["table", "profile", "dataset", "model", "metric", *values])
    for table in tables:
        for row in table.rows:
            for metric, entry in row.entries.items():
                ours = entry.ours or Summary(float("nan"), None, 0)
                mean = repr(ours.mean) if entry.ours else ""
                shown = ["" if v is None else repr(v) for v in (entry.paper.sd, ours.sd)]
                where = [table.number, table.profile, row.dataset, row.model, metric]
                numbers = [entry.paper.mean, shown[0], mean, shown[1], ours.cells]
                writer.writerow([*where, *numbers, int(entry.differs)])
    return text.getvalue()


def to_latex(tables: Iterable[PaperTable]) -> str:
    r"""Return every table as LaTeX; the document loads ``booktabs`` and ``graphicx``."""
    head = "% needs \\usepackage{booktabs,graphicx}\n"
    return head + "\n".join(map(_latex, tables))


def _latex(table: PaperTable) -> str:
    heads = ["Data set", "Model", "", *(escape(column.title) for column in table.columns)]
    body = "\n".join(_latex_rows(table))
    return rf"""\begin{{table}}
\centering
\caption{{{escape(table.caption)}}}
\label{{tab:paper-{table.number}-{re.sub("[^a-z0-9]+", "-", table.profile.lower())}}}
\resizebox{{\textwidth}}{{!}}{{%
\begin{{tabular}}{{lll{"r" * len(table.columns)}}}
\toprule
{" & ".join(heads)} \\
{body}
\bottomrule
\end{{tabular}}}}
\end{{table}}
"""


def _latex_rows(table: PaperTable) -> list[str]:
    lines = []
    for row, first in _with_breaks(table.rows):
        lines += [r"\midrule"] * first
        dataset = escape(words.dataset(row.dataset)) if first else ""
        papers = [dataset, escape(words.model(row.model)), "paper", *_papers(row, table.columns)]
        ours = ["", "", "here", *_ours(row, table.columns)]
        lines += [
            " & ".join([*line[:3], *map(_number, line[3:])]) + r" \\" for line in (papers, ours)
        ]
    return lines


def _number(text: str) -> str:
    bold = re.fullmatch(r"\*\*(.*)\*\*(.*)", text)
    if bold is None:
        return escape(text)
    return rf"\textbf{{{escape(bold[1])}}}{escape(bold[2])}"


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it stands.

    >>> escape("5 % of a_b")
    '5 \\% of a\\_b'
    """
    return "".join(_LATEX.get(character, character) for character in text)
