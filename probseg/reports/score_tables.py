"""Tables of the scores of one system or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from probseg.metrics.paired import PairedTest
from probseg.metrics.scores import Scores, Summary
from probseg.reports.tables import Best, Column, Table, TableCell, interval, number, with_arrow

_BEST: dict[bool | None, Best] = {True: "high", False: "low", None: ""}
TESTS = (
    "Mean of first − second over the images, its 95 % bootstrap interval over groups, the "
    "matched-pairs rank-biserial correlation, p of Wilcoxon's signed-rank test, and p adjusted by "
    "Holm's procedure. A system is marked where interval and adjusted p agree that it is better."
)


def means_table(scores: Mapping[str, Scores]) -> Table:
    """Return each system's mean of each metric; the best is marked, if one is.

    None is where the systems have values on different images.
    """
    first = next(iter(scores.values()))
    columns: list[Column[str]] = [
        Column("metric", partial(_titled, first), number=False),
        *(
            Column(name, partial(_mean, name, one.summary(), scores))
            for name, one in scores.items()
        ),
    ]
    groups = len(set(first.groups))
    caption = f"{len(first.ids)} images of {groups} groups; 95 % intervals over groups"
    return Table.of(columns, list(first), title="Means", caption=caption)


def _titled(scores: Scores, metric: str) -> TableCell:
    return TableCell(with_arrow(metric, _BEST[scores.higher_is_better.get(metric)]), metric)


def _mean(
    name: str, summaries: Mapping[str, Summary], scores: Mapping[str, Scores], metric: str
) -> TableCell:
    own = summaries[metric]
    mean, ends = number(own.mean), interval(own.low, own.high)
    text = mean.text if ends.value is None else f"{mean.text} ({ends.text})"
    if 0 < own.images < len(scores[name].ids):
        text += f" of {own.images} image{'s' * (own.images > 1)}"
    return TableCell(text, mean.value, "best" if name == _best(scores, metric) else "")


def _best(scores: Mapping[str, Scores], metric: str) -> str | None:
    """Return the system that is better than all others on the same images, if there is one."""
    first, *others = scores.values()
    higher = first.higher_is_better.get(metric)
    defined = np.isfinite(first[metric])
    alike = all(np.array_equal(np.isfinite(other[metric]), defined) for other in others)
    if higher is None or not others or not alike or not defined.any():
        return None
    means = {name: one.mean()[metric] * (1 if higher else -1) for name, one in scores.items()}
    leading, following, *_ = sorted(means, key=lambda name: -means[name])
    return leading if means[leading] > means[following] else None


def long_means_table(scores: Mapping[str, Scores]) -> Table:
    """Return the same with a row for each system, for a narrow terminal."""
    wide = means_table(scores)
    titles = [column.title for column in wide.columns[1:]]
    rows = [
        (row[0], TableCell(name), cell)
        for row in wide.rows
        for name, cell in zip(titles, row[1:], strict=True)
    ]
    columns: list[Column[Sequence[TableCell]]] = [
        Column("metric", lambda row: row[0], number=False, once=True),
        Column("system", lambda row: row[1], number=False),
        Column("mean (95 % interval)", lambda row: row[2]),
    ]
    return Table.of(columns, rows, title=wide.title, caption=wide.caption)


def tests_table(tests: Sequence[PairedTest], *, short: bool = False) -> Table:
    """Return the paired tests of a comparison.

    Args:
        tests: One family.
        short: Whether to leave out the effect and p before its correction.
    """
    columns = [c for c in TEST_COLUMNS if not short or c.title not in ("effect", "p")]
    return Table.of(columns, tests, title="Paired tests", caption=TESTS)


def _side(test: PairedTest, name: str) -> TableCell:
    system = str(getattr(test, name))
    return TableCell(system, system, "better" if test.better == system else "")


TEST_COLUMNS: Sequence[Column[PairedTest]] = (
    Column("metric", lambda test: test.metric, number=False),
    Column("first", partial(_side, name="first"), number=False),
    Column("second", partial(_side, name="second"), number=False),
    Column("difference", lambda test: number(test.difference)),
    Column("95 % interval", lambda test: interval(test.low, test.high)),
    Column("effect", lambda test: number(test.rank_biserial, ".2f")),
    Column("p", lambda test: TableCell(f"{test.p:.2g}", test.p)),
    Column("p, Holm", lambda test: TableCell(f"{test.adjusted:.2g}", test.adjusted)),
)
