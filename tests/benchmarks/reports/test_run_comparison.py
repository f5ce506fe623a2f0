"""Two runs side by side."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.compare import main
from benchmarks.jobs.results import means, result_path, write_result
from benchmarks.reports.run_comparison import changed_settings, compare_runs, rows_of
from benchmarks.reports.runs import load
from probseg.errors import OptionError


@pytest.fixture(scope="module")
def first(make_run):
    return make_run(("lidc",), ("punet", "csae", "always-empty"), pictures=0)


@pytest.fixture(scope="module")
def second(make_run, first):
    """The first run with another β, whose csae is better by 0.1 ± 0.01 in Ŵ (1 − IoU)."""
    run = make_run(("lidc",), ("csae", "2p-planar"), pictures=0, beta=3)
    draw = np.random.default_rng(3)
    old = {r.experiment.fold: r for r in first.results if r.experiment.row == "csae"}
    for index, result in enumerate(run.results):
        if result.experiment.row == "csae":
            before = np.array(old[result.experiment.fold].scores["base"]["w-iou"])
            values = (before - draw.normal(0.1, 0.01, 12)).tolist()
            scores = {"base": {**result.scores["base"], "w-iou": values}}
            changed = replace(result, scores=scores, means=means(scores))
            run.results[index] = write_result(result_path(result.experiment, run.folder), changed)
    return run


def rows(run):
    return rows_of(load(run.folder))


def lines(first, second):
    return compare_runs(rows(first), rows(second))


def test_rows_of_the_same_name_are_matched(first, second) -> None:
    found = lines(first, second)
    assert {line.row for line in found} == {"csae"}
    assert len(found) == 7


def test_a_difference_is_that_of_the_paired_images(first, second) -> None:
    line = next(one for one in lines(first, second) if one.column.name == "w-iou")
    sides = [
        np.mean(
            [r.scores["base"]["w-iou"] for r in run.results if r.experiment.row == "csae"], axis=0
        )
        for run in (second, first)
    ]
    assert line.test.difference == pytest.approx(np.mean(sides[0] - sides[1]))
    assert line.test.p == pytest.approx(stats.wilcoxon(*sides).pvalue)
    assert line.change == pytest.approx(-0.1, abs=0.01)
    assert line.outcome == "better"


def test_better_turns_to_worse_when_the_runs_change_sides(first, second) -> None:
    there, back = (
        {line.column.name: line for line in found}
        for found in (lines(first, second), lines(second, first))
    )
    assert back["w-iou"].outcome == "worse"
    for metric, line in there.items():
        assert back[metric].change == pytest.approx(-line.change)
        assert back[metric].test.low == pytest.approx(-line.test.high, abs=5e-3)


def test_a_metric_that_is_better_high_is_compared_too(first, make_run) -> None:
    run = make_run(("lidc",), ("csae",), pictures=0)
    old = {r.experiment.fold: r.scores["base"] for r in first.results if r.experiment.row == "csae"}
    for result in run.results:
        before = np.array(old[result.experiment.fold]["hungarian-iou"])
        values = (before + np.linspace(0.1, 0.2, 12)).tolist()
        scores = {"base": {**result.scores["base"], "hungarian-iou": values}}
        changed = replace(result, scores=scores, means=means(scores))
        write_result(result_path(result.experiment, run.folder), changed)
    outcomes = {line.column.name: line.outcome for line in lines(first, run)}
    assert outcomes["hungarian-iou"] == "better"


def test_a_run_equals_itself(first) -> None:
    found = lines(first, first)
    assert all(line.change == 0 and line.outcome == "" for line in found)
    assert changed_settings(rows(first), rows(first)) == []


def test_other_data_are_not_paired(first, make_run) -> None:
    other = make_run(("lidc",), ("csae",), pictures=0)
    for result in other.results:
        moved = replace(result, data=replace(result.data, fingerprint="6" * 64))
        write_result(result_path(result.experiment, other.folder), moved)
    assert all(line.test is None and line.outcome == "" for line in lines(first, other))


def test_settings_that_differ_are_listed(first, second) -> None:
    assert changed_settings(rows(first), rows(second)) == ["model.beta: 10 → 3"]


def test_settings_of_the_data_are_told_beside_what_they_gave(first) -> None:
    changed = {
        key: [
            replace(r, experiment=replace(r.experiment, data={**r.experiment.data, "crop": 48}))
            for r in results
        ]
        for key, results in rows(first).items()
    }
    (told,) = changed_settings(rows(first), changed)
    assert told.startswith("data.crop: ") and told.endswith(" → 48")


def test_a_setting_that_differs_in_some_rows_names_them(first) -> None:
    changed = dict(rows(first))
    key = next(key for key in changed if key[2] == "csae")
    changed[key] = [replace(r, data=replace(r.data, provenance="elsewhere")) for r in changed[key]]
    (told,) = changed_settings(rows(first), changed)
    assert told.startswith("data.provenance: ")
    assert told.endswith(' → "elsewhere" (lidc · csae)')


def test_the_command_prints_and_writes_markdown(first, second, tmp_path: Path, capsys) -> None:
    out = tmp_path / "difference.md"
    assert main([str(first.folder), str(second.folder), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "better" in told and "differs: model.beta: 10 → 3" in told
    text = out.read_text(encoding="utf-8")
    head, _, *body = [line for line in text.splitlines() if line.startswith("|")]
    assert head.endswith("| B is | 95 % interval | p (Holm) | images |")
    assert len(body) == 7 and body[0].startswith("| csae | Ŵ 1−IoU ↓ |")
    assert "**better**" in body[0] and body[0].endswith("| 12 |")
    assert "- differs: model.beta: 10 → 3" in text


def test_an_unreadable_result_is_named_and_left_out(make_run, capsys) -> None:
    run = make_run(("lidc",), ("csae",), pictures=0)
    path = result_path(run.results[0].experiment, run.folder)
    path.write_text(json.dumps({"schema": 99}), encoding="utf-8")
    assert main([str(run.folder), str(run.folder)]) == 0
    assert "schema 99" in capsys.readouterr().out
    assert len(rows(run)) == 1


def test_folders_without_results_and_runs_without_a_common_row_are_refused(
    first, make_run, tmp_path: Path, capsys
) -> None:
    assert main([str(first.folder), str(tmp_path)]) == 1
    assert "no finished cell" in capsys.readouterr().err
    other = make_run(("ambiguous-shapes",), ("csae",), pictures=0)
    with pytest.raises(OptionError, match="share no row"):
        lines(first, other)
