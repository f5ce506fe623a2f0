"""The best system is marked where all have values on the same images, and nowhere else."""

from math import nan

import numpy as np
import pytest

from probseg.metrics.scores import Scores
from probseg.reports.score_tables import means_table


def scores(*values, higher=False):
    return Scores(
        per_image={"ged": np.array(values)},
        groups=[str(index) for index in range(len(values))],
        ids=[str(index) for index in range(len(values))],
        samples="4",
        subject="x",
        data="y",
        higher_is_better={"ged": higher},
    )


def marked(**systems):
    table = means_table(systems)
    (row,) = table.rows
    return [name for name, cell in zip(systems, row[1:], strict=True) if cell.mark == "best"]


@pytest.mark.parametrize(("higher", "best"), [(False, ["a"]), (True, ["b"])])
def test_the_best_mean_is_marked(higher, best):
    systems = {"a": scores(0.1, 0.2, higher=higher), "b": scores(0.2, 0.3, higher=higher)}
    assert marked(**systems) == best


def test_equal_means_and_single_systems_are_not():
    assert marked(a=scores(0.1, 0.2), b=scores(0.2, 0.1)) == []
    assert marked(a=scores(0.1, 0.2)) == []
    assert marked(a=scores(0.1, 0.2, higher=None), b=scores(0.3, 0.4, higher=None)) == []


def test_a_system_that_lacks_the_hard_images_is_not():
    systems = {"a": scores(0.1, nan, nan), "b": scores(0.1, 0.9, 0.8)}
    assert marked(**systems) == []
    texts = [cell.text for cell in means_table(systems).rows[0][1:]]
    assert texts[0].endswith("of 1 image") and "image" not in texts[1]


def test_values_that_all_lack_alike_are_compared():
    assert marked(a=scores(0.1, nan), b=scores(0.2, nan)) == ["a"]
    assert marked(a=scores(nan), b=scores(nan)) == []
