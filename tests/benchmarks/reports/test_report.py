"""The report is made again from results alone: a run's folder, an export, several of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.jobs import pictures
from benchmarks.jobs.results import ResultError, digest, read_result
from benchmarks.report import main
from benchmarks.reports.runs import load

MADE = ("table.md", "table.csv", "statistics.md", "paired-tests.csv", "correlations.csv")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    return shutil.copytree(finished_run, tmp_path / "run")


def test_a_report_comes_out_the_same_without_training_or_lightning(
    finished_run: Path, tmp_path: Path
) -> None:
    script = (
        "import sys; from benchmarks.report import main; "
        f"status = main([{str(finished_run)!r}, '--out', {str(tmp_path)!r}]); "
        "assert not {'lightning', 'torch'} & set(sys.modules); sys.exit(status)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in MADE:
        assert (tmp_path / name).read_bytes() == (finished_run / name).read_bytes()
    pictures = {path.name for path in finished_run.glob("*.png")}
    assert {path.name for path in tmp_path.glob("*.png")} == pictures != set()


def test_an_export_is_small_and_gives_the_same_tables(run: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "kept"
    assert main([str(run), "--export", str(out)]) == 0
    assert "7 results, 0.0" in capsys.readouterr().out
    assert {p.name for p in out.glob("cells/**/*") if p.is_file()} == {
        "result.json.gz",
        "pictures.npz",
    }
    for name in ("table.md", "table.csv"):
        assert (out / name).read_bytes() == (run / name).read_bytes()
    for path in run.glob("cells/**/result.json"):
        kept = read_result(out / path.relative_to(run).with_suffix(".json.gz"))
        whole = read_result(path)
        for metric, values in whole.scores["base"].items():
            shown = [np.nan if v is None else v for v in kept.scores["base"][metric]]
            exact = [np.nan if v is None else v for v in values]
            assert shown == pytest.approx(exact, rel=1e-4, nan_ok=True)
    assert {path.name for path in out.glob("samples-*.png")} == {
        path.name for path in run.glob("samples-*.png")
    }


def test_an_export_can_leave_the_images_behind(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    assert main([str(run), "--export", str(out), "--no-pictures"]) == 0
    assert not list(out.glob("**/*.npz")) + list(out.glob("samples-*"))
    assert (out / "gini.png").exists() and (out / "loss.png").exists()


def test_two_runs_are_brought_together(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    for folder, rows in ((run, ("csae", "punet")), (other, ("always-empty", "one-annotator"))):
        for path in folder.glob("cells/*/*/*"):
            if path.name not in rows:
                shutil.rmtree(path)
    assert main([str(run), str(other), "--export", str(tmp_path / "both")]) == 0
    rows = {result.experiment.row for result in load(tmp_path / "both").results}
    assert rows == {"csae", "punet", "always-empty", "one-annotator"}


def test_each_run_of_a_folder_has_its_report(run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("one", "two"):
        shutil.copytree(run / "cells", tmp_path / "runs" / name / "cells")
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--everything"]) == 0
    assert {p.parent.name for p in tmp_path.glob("out/*/table.md")} == {"one", "two"}


def test_only_the_last_command_is_reported_unless_everything_is_asked_for(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    record["cells"] = record["cells"][:2]
    (run / "run.json").write_text(json.dumps(record))
    assert [result.key for result in load(run).results] == record["cells"]
    assert len(load(run, everything=True).results) == 7


def test_the_same_row_with_other_settings_is_never_mixed_in(run: Path) -> None:
    path = next(run.glob("cells/*/*/csae/fold0*/result.json"))
    result = json.loads(path.read_text())
    result["config"]["training"]["max_steps"] = 5
    from benchmarks.jobs.plan import Experiment

    cell = Experiment.from_json(result["config"])
    target = cell.folder(run) / "result.json"
    target.parent.mkdir()
    changed = {**result, "key": cell.key}
    target.write_text(json.dumps({**changed, "digest": digest(changed)}))
    assert len(load(run).results) == 7
    with pytest.raises(ResultError, match="csae · fold 0 · seed 0 was run with two settings"):
        load(run, everything=True)


def test_a_truncated_result_is_named_and_left_out(run: Path, capsys) -> None:
    path = next(run.glob("cells/*/*/punet/fold1*/result.json"))
    path.write_text(path.read_text()[:-30])
    stored = load(run)
    assert len(stored.results) == 6
    assert any(str(path) in told for told in stored.problems)
    assert any("is listed, but not there" in told for told in stored.problems)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("{", "cannot read"),
        ('{"schema": 2, "cells": [], "competing": [], "notes": {}}', "has schema 2, this code"),
        ('{"cells": []}', "lacks competing, notes, schema"),
    ],
)
def test_a_damaged_record_of_the_run_is_refused(run: Path, capsys, record, told) -> None:
    (run / "run.json").write_text(record)
    assert main([str(run)]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "run.json" in error


def test_a_folder_without_results_is_refused_with_the_remedy(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path} holds no results: name a run's --out folder" in told


def test_a_compact_page_shows_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    page = {
        "image": rng.normal(size=(2, 8, 8)).astype(np.float16),
        "masks": rng.integers(0, 3, (4, 8, 8), dtype=np.uint8),
        "labels": rng.integers(0, 3, (5, 8, 8), dtype=np.uint8),
        "mean": rng.random((8, 8)).astype(np.float16),
        "sd": (rng.random((8, 8)) / 2).astype(np.float16),
    }
    pictures.save(tmp_path / "pictures.npz", {3: pictures.compact(page)})
    found = pictures.load(tmp_path / "pictures.npz")[3]
    for name in ("mean", "sd"):
        assert found[name] == pytest.approx(page[name], abs=0.5 / 255 + 1e-3)
    for name in ("masks", "labels"):
        assert (found[name] == page[name]).all()
    assert found["image"].shape == (1, 8, 8)
    assert np.corrcoef(found["image"].ravel(), page["image"][0].ravel())[0, 1] > 0.999
