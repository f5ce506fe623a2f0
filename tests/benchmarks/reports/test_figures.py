"""Each row of the benchmark has a colour of its own."""

from benchmarks.reports.figures import COLOURS


def test_colours_are_distinct() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS)
