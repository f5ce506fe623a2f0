"""Published numbers, as papers print them, in a table of data."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from functools import cache, partial
from importlib.resources import files
from typing import NamedTuple

from probseg import protocols
from probseg.reports.tables import Column, Table, TableCell, number

_TITLES = {
    "ged": "GED{n} ↓",
    "hungarian-iou": "HM-IoU{n} ↑",
    "rectangular-iou": "HM-IoU{n}, rectangular ↑",
}


class PublishedNumber(NamedTuple):
    """One value of a method in one metric."""

    data: str
    """A registered data set."""
    protocol: str
    """The protocol of :mod:`probseg.protocols` that comes nearest; see its ``differences``."""
    method: str
    year: int | None
    """Of the method; None if it is not known here."""
    metric: str
    """A registered metric, of ``samples`` samples an image."""
    samples: int | None
    value: float
    source: str
    """Who prints it."""


@cache
def published_numbers(data: str | None = None) -> Sequence[PublishedNumber]:
    """Return the published numbers of a data set, or all."""
    text = files("probseg.reports").joinpath("published.csv").read_text(encoding="utf-8")
    every = [_read(row) for row in csv.DictReader(text.splitlines())]
    return [one for one in every if data in (None, one.data)]


def _read(row: dict[str, str]) -> PublishedNumber:
    year, samples = (int(row[name]) if row[name] else None for name in ("year", "samples"))
    return PublishedNumber(
        row["data"],
        row["protocol"],
        row["method"],
        year,
        row["metric"],
        samples,
        float(row["value"]),
        row["source"],
    )


def published_table(protocol: str) -> Table:
    """Return what was published by a protocol or nearly so, a row for each method.

    >>> print(published_table("lidc-v2").rows[0][0].text)
    CCDM (2023)
    """
    numbers = [one for one in published_numbers() if one.protocol == protocol]
    kinds = {(one.metric, one.samples or 0) for one in numbers}
    ordered = sorted(kinds, key=lambda kind: (kind[0], kind[1] or math.inf))  # the unknown last
    methods = dict.fromkeys((one.method, one.year) for one in numbers)
    columns = [
        Column("method", _method, number=False),
        *(Column(_title(*kind), partial(_value, numbers, *kind)) for kind in ordered),
        Column("printed by", partial(_source, numbers), number=False),
    ]
    caption = protocols.get(protocol).differences
    return Table.of(columns, methods, title=f"Published on {protocol}", caption=caption)


Method = tuple[str, int | None]


def _method(method: Method) -> str:
    return method[0] if method[1] is None else f"{method[0]} ({method[1]})"


def _title(metric: str, samples: int) -> str:
    return _TITLES.get(metric, f"{metric}{{n}}").format(n=samples or "")


def _value(
    numbers: Sequence[PublishedNumber], metric: str, samples: int, method: Method
) -> TableCell:
    wanted = (*method, metric, samples)
    found = [n.value for n in numbers if (n.method, n.year, n.metric, n.samples or 0) == wanted]
    return number(found[0] if found else None)


def _source(numbers: Sequence[PublishedNumber], method: Method) -> str:
    return ", ".join(dict.fromkeys(n.source for n in numbers if (n.method, n.year) == method))
