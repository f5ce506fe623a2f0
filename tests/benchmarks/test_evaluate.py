"""Evaluating a checkpoint, which gives the numbers of the cell that it comes from."""

import json
from pathlib import Path

import pytest

from benchmarks.evaluate import main
from benchmarks.jobs.results import read_result

SAME = ["--samples", "4", "--batch", "3", "--seed", "0", "--device", "cpu"]


@pytest.fixture
def cell(finished_run: Path) -> Path:
    (result,) = finished_run.glob("cells/quick/ambiguous-shapes/csae/fold0-*/result.json")
    return result.parent


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch):
    """The data of the tiny suite under a name of their own, as a plugin would offer them."""
    import probseg
    from probseg.datasets.shapes import AmbiguousShapes

    probseg.datasets.register("tiny")(lambda: AmbiguousShapes(size=16, samples=30))
    yield "tiny"
    probseg.datasets.unregister("tiny")


def test_it_reproduces_the_cell(cell: Path, dataset: str, tmp_path: Path, capsys) -> None:
    out = tmp_path / "card.json"
    chosen = ["--dataset", dataset, "--images", "5", "--projected", *SAME]
    assert main([str(cell), *chosen, "--out", str(out)]) == 0
    card, result = json.loads(out.read_text()), read_result(cell / "result.json")
    assert card["scores"] == result.scores
    assert card["means"] == result.means
    assert card["groups"] == result.images.group
    told = capsys.readouterr().out
    assert "synthetic shapes" in " ".join(told.split())
    assert f"{card['means']['projected']['ged']:.3f} ±" in told


def test_splits_and_crops(cell: Path, dataset: str, tmp_path: Path) -> None:
    counts = {}
    for split in ("train", "validation", "test", "all"):
        out = tmp_path / f"{split}.json"
        arguments = ["--dataset", dataset, "--split", split, "--crop", "8", *SAME]
        assert main([str(cell / "model.safetensors"), *arguments, "--out", str(out)]) == 0
        counts[split] = len(json.loads(out.read_text())["groups"])
    assert counts == {"train": 16, "validation": 8, "test": 6, "all": 30}


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["none.safetensors", "--dataset", "tiny"], 1, "there is no checkpoint at none"),
        ([__file__, "--dataset", "tiny"], 1, "safetensors"),
        (["CELL", "--dataset", "tinny"], 2, "did you mean 'tiny'"),
        (
            ["CELL", "--dataset", "tiny", "--samples", "0"],
            2,
            "--samples must be an integer",
        ),
        (["CELL", "--dataset", "tiny", "--fold", "3"], 2, "--fold must be one of 0, 1, 2, not 3"),
        (["CELL", "--dataset", "tiny", "--device", "cuda:99"], 2, "cuda:99"),
        (["CELL", "--dataset", "tiny", "--crop", "64"], 2, "cannot crop 16x16"),
        (["CELL", "--dataset", "lidc"], 1, "PROBSEG_DATA"),
    ],
)
def test_a_mistake_is_one_line(cell, dataset, arguments, status, told, capsys) -> None:
    assert main([str(cell) if a == "CELL" else a for a in arguments]) == status
    captured = capsys.readouterr().err
    assert told in captured
    assert captured.count("\n") == 1


def test_a_model_for_other_channels_is_refused(dataset: str, tmp_path: Path, capsys) -> None:
    import probseg

    path = tmp_path / "colour.safetensors"
    backbone = {"name": "unet", "channels": [4, 8], "convolutions": 1}
    probseg.build("deterministic", in_channels=3, backbone=backbone).save(path)
    assert main([str(path), "--dataset", dataset]) == 1
    assert "built for 3 channels, but ambiguous-shapes has 1" in capsys.readouterr().err
