"""Data of one's own, five classes in colour of two to ten annotators: from files to report."""

import csv
import json
import math

import numpy as np
import pytest
from five_classes import write_five_classes
from PIL import Image

import probseg
from benchmarks.jobs.results import read_result
from benchmarks.run import main as run_benchmark
from probseg.cli import main
from probseg.datasets.survey import survey
from probseg.datasets.views import annotated_by, subset
from probseg.errors import DataError
from probseg.metrics.model_evaluation import evaluate

NETS = ["model.backbone.name=unet", "model.backbone.channels=[4, 8]", "model.latent_dim=2"]


UNLABELLED = 255
OPTION = f"data.values.{UNLABELLED}=ignore"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory):
    return write_five_classes(tmp_path_factory.mktemp("own") / "data", unlabelled=UNLABELLED)


def opened(root):
    return probseg.datasets.create("folder", root=root, values={UNLABELLED: "ignore"})


def colours(path) -> set[tuple[int, ...]]:
    """The colours of a picture whose channels differ much."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(int)
    return set(map(tuple, pixels[np.ptp(pixels, axis=1) > 60]))


def test_check_agrees_with_the_metrics(data) -> None:
    dataset = opened(data)
    assert (dataset.channels, dataset.classes, dataset.annotators) == (3, 5, 10)
    scores = evaluate(Silent(), dataset, 1, metrics=["annotator-diversity"], progress=False)
    measures = survey(dataset).measures
    counts = measures.present.sum(1).double()
    # the metric takes each annotator with themselves as well
    pairs = scores["annotator-diversity"] * (counts / (counts - 1)).numpy()
    assert (1 - measures.iou).numpy() == pytest.approx(pairs, abs=1e-6)
    assert sorted({int(count) for count in counts})[::-1][0] == 10 and counts.min() == 2


class Silent:
    """A model that marks nothing."""

    classes, in_channels = 5, 3

    def sample(self, image, n, *, generator=None):
        return image.new_zeros(n, len(image), *image.shape[-2:]).long()


@pytest.mark.slow
def test_the_commands_train_score_predict_and_picture(data, tmp_path, capsys) -> None:
    run, few = tmp_path / "run", ["training.max_steps=2", "training.batch_size=2"]
    assert main(["data", "check", str(data), "--set", OPTION]) == 0
    sheet = str(tmp_path / "sheet.png")
    assert main(["data", "preview", str(data), "--out", sheet, "--set", OPTION]) == 0
    common = ["--data", str(data), "-n", "3"]
    assert main(["train", "csae", *common, "--out", str(run), "--set", *few, *NETS, OPTION]) == 0
    common += ["--set", OPTION]
    assert main(["evaluate", str(run), *common, "--out", str(tmp_path / "again.csv")]) == 0
    assert (tmp_path / "again.csv").read_text() == (run / "scores.csv").read_text()
    rows = list(csv.DictReader((run / "scores.csv").read_text().splitlines()))
    assert all(math.isfinite(float(value)) for row in rows for value in list(row.values())[2:])
    image = data / "images" / "case0.png"
    assert main(["predict", str(run), str(image), "--out", str(tmp_path / "p"), "-n", "3"]) == 0
    predicted = sorted(path.name for path in (tmp_path / "p" / "case0").iterdir())
    assert [name for name in predicted if name.startswith("mean")] == [
        f"mean-{k}.png" for k in (1, 2, 3, 4)
    ]
    for picture in (tmp_path / "sheet.png", run / "samples.png", tmp_path / "p/case0/contours.png"):
        hues = {tuple(np.argsort(one)) for one in colours(picture)}
        assert len(hues) > 2  # no longer grey
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("annotator", ["random", 3])
def test_the_benchmark_scores_and_reports_every_row(
    data, suite_file, tmp_path, annotator, capsys
) -> None:
    suite = tmp_path / "suite.toml"
    values = f'[datasets.folder.values]\n{UNLABELLED} = "ignore"\n'
    others = 'projected = true\nlatents = ["noise", "swapped"]'
    suite.write_text(f"{suite_file.read_text().replace('projected = true', others)}\n{values}")
    command = ["--datasets", "folder", "--data-root", str(data), "--suite", str(suite)]
    command += ["--profile", "quick", "--device", "cpu", "--set", f"annotator={annotator}"]
    assert run_benchmark([*command, "--out", str(tmp_path)]) == 0
    done = [read_result(path) for path in tmp_path.glob("cells/**/result.json")]
    assert {r.experiment.row for r in done} == {
        *("punet", "csae", "always-empty", "one-annotator", "annotators")
    }
    for result in done:
        assert result.tested_on.classes == 5
        assert all(result.means["base"][name] is not None for name in ("ged", "w-iou", "ncc"))
    (annotators,) = (r for r in done if r.experiment.row == "annotators")
    spread = annotators.means["base"]["annotator-diversity"]  # that of the report
    assert f" · diversity {spread:.3f}" in capsys.readouterr().out
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "not labelled, counts for nothing" in text
    assert "class 4" in text and "Diversity of the annotators" in text and "paper's" not in text
    assert (tmp_path / "loss.png").exists() and list(tmp_path.glob("samples-folder-*.png"))
    assert json.loads((tmp_path / "run.json").read_text())["cells"]


@pytest.mark.slow
def test_one_annotator_runs_to_a_report_with_dashes(suite_file, tmp_path) -> None:
    data = write_five_classes(tmp_path / "data", annotators=1)
    command = ["--datasets", "folder", "--data-root", str(data), "--suite", str(suite_file)]
    command += ["--profile", "quick", "--device", "cpu", "--models", "punet"]
    assert run_benchmark([*command, "--out", str(tmp_path / "out")]) == 0
    table = (tmp_path / "out" / "table.md").read_text("utf-8")
    rows = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()}
    assert "An image has one annotator" in table and "nan" not in table
    for row in ("one-annotator", "annotators"):
        assert rows[row].count("–") == 8
    assert rows["punet"].count("–") == 0
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "which says nothing of how much it should be" in page


def test_an_annotator_who_was_absent_at_times_can_be_learnt_from(data) -> None:
    dataset = opened(data)
    there = dataset.present[:, 3]
    part = annotated_by(dataset, 3)
    assert 0 < len(part) == int(there.sum()) < len(dataset)
    assert all(part[index].present[3] for index in range(len(part)))
    assert annotated_by(part, 3) is part and annotated_by(dataset, "majority") is dataset
    absent = subset(dataset, np.flatnonzero(~np.asarray(there)).tolist())
    with pytest.raises(DataError, match="annotator 3 annotated no image"):
        annotated_by(absent, 3)
