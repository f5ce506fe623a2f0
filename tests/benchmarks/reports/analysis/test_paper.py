"""The paper's tables: its numbers as printed, ours beside them, marks where they differ."""

import csv
import io
import re

import numpy as np
import pytest

from benchmarks.reports.analysis.paper import published
from benchmarks.reports.analysis.paper_tables import paper_csv, paper_table, paper_tables
from benchmarks.reports.dataset_results import by_dataset
from probseg.reports.tables import to_latex, to_markdown


@pytest.fixture
def tables(make):
    """Three folds of two models on LIDC: the PU-Net as in the paper, the cSAE far from it."""
    means = {"punet": (0.308, 21.4), "csae": (0.6, 19.9)}
    results = [
        make(
            row,
            {"w-iou": [iou + d] * 2, "w-hausdorff": [far + d] * 2, "w-cross-entropy": [9.0] * 2},
            fold=f,
        )
        for row, (iou, far) in means.items()
        for f, d in enumerate((-0.01, 0.0, 0.01))
    ]
    return paper_tables(by_dataset(results))


def test_the_reference_is_what_the_paper_prints() -> None:
    rows = {table.dataset: table for table in published()}
    assert len(rows) == 7
    assert rows["lidc"].value("csae", "w-iou")[:2] == (0.291, 0.036)
    assert rows["qubiq-brain-tumor-2"].value("punet", "w-hausdorff")[:2] == (18.505, 5.574)
    assert rows["qubiq-brain-growth"].lowest("w-hausdorff") == "2p-planar"
    assert rows["qubiq-brain-tumor-3"].lowest("gini") == "2p-planar"


def test_ours_is_mean_and_deviation_over_folds(tables) -> None:
    (table,) = tables
    row = table.rows["lidc", "csae"]
    ours = row["w-iou"].ours
    assert ours == pytest.approx((0.6, np.std([0.59, 0.6, 0.61], ddof=1), 3))
    assert row["gini"].ours is None


def test_a_mark_stands_where_means_are_further_apart_than_both_spreads(tables) -> None:
    marked = {
        (model, metric)
        for (_, model), row in tables[0].rows.items()
        for metric, value in row.items()
        if value.differs
    }
    # 0.6 − 0.291 > 0.036 + 0.01; the cross-entropy is told, but never marked
    assert marked == {("csae", "w-iou")}


def test_a_spread_that_is_unknown_gives_no_mark(make) -> None:
    (table,) = paper_tables(by_dataset([make("csae", {"w-iou": [0.9, 0.9]})]))
    assert not any(v.differs for row in table.rows.values() for v in row.values())
    assert "1 of 3 folds" in table.caption


def test_another_profile_is_set_apart_and_unmarked(make) -> None:
    results = [
        make("csae", {"w-iou": [v, v]}, profile=profile, fold=fold)
        for profile in ("paper", "quick")
        for fold, v in enumerate((0.9, 0.91, 0.92))
    ]
    paper, quick = paper_tables(by_dataset(results))
    assert (paper.profile, quick.profile) == ("paper", "quick")
    assert "the numbers do not compare" in quick.caption
    assert not any(v.differs for row in quick.rows.values() for v in row.values())


def test_no_table_without_results_on_its_data(make) -> None:
    assert paper_tables(by_dataset([make("csae", {"w-iou": [0.1]}, dataset="contours")])) == []
    (table,) = paper_tables(
        by_dataset([make("csae", {"gini": [0.1]}, dataset="qubiq-brain-tumor-1")])
    )
    assert table.number == 2


def test_markdown_has_the_papers_layout_and_marks(tables) -> None:
    text = to_markdown(paper_table(*tables))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 4 * 3 * 2
    assert "| LIDC-IDRI | PU-Net | paper | 0.308 ± 0.053 |" in text
    assert "| here | **0.308 ± 0.010** |" in text
    assert "0.600 ± 0.010†" in text
    assert "| cSAE | paper | **0.291 ± 0.036** |" in text


def test_csv_holds_both_values(tables) -> None:
    lines = list(csv.DictReader(io.StringIO(paper_csv(tables))))
    assert len(lines) == 4 * 3 * 5
    (line,) = (
        x for x in lines if (x["dataset"], x["model"], x["metric"]) == ("lidc", "csae", "w-iou")
    )
    assert (line["paper_mean"], line["paper_sd"], line["differs"]) == ("0.291", "0.036", "1")
    assert float(line["mean"]) == pytest.approx(0.6)
    assert {x["mean"] for x in lines if x["dataset"] != "lidc"} == {""}


def test_latex_is_well_formed(tables) -> None:
    body = to_latex(paper_table(*tables))
    opened = re.findall(r"\\begin\{(\w+\*?)\}", body)
    assert opened == re.findall(r"\\end\{(\w+\*?)\}", body)[::-1]
    unescaped = re.sub(r"\\[{}\\&%$#_]", "", body)
    assert unescaped.count("{") == unescaped.count("}")
    assert unescaped.count("$") % 2 == 0
    assert body.isascii()
    rows = [line for line in body.splitlines() if line.endswith(r" \\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {3 + 5 - 1}
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in body
