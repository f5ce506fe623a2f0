"""A finished run's model becomes a folder that travels."""

from pathlib import Path

import pytest
import torch

import probseg
from benchmarks.jobs.results import read_result
from benchmarks.share import card_of, main
from probseg.errors import DataError


@pytest.fixture
def cell(finished_run: Path) -> Path:
    return next(finished_run.glob("cells/*/*/csae/*/model.safetensors")).parent


def test_a_cell_is_read_as_it_lies(cell: Path) -> None:
    model, image = probseg.from_pretrained(cell), torch.randn(1, 1, 16, 16)
    again = probseg.load(cell / "model.safetensors")
    seeds = [torch.Generator().manual_seed(0) for _ in range(2)]
    samples = [m.sample(image, 3, generator=g) for m, g in zip((model, again), seeds, strict=True)]
    assert torch.equal(*samples)
    assert model.spec == read_result(cell / "result.json").training.spec


def test_the_folder_has_the_results_on_its_card(cell: Path, tmp_path: Path, capsys) -> None:
    assert main([str(cell), str(tmp_path / "csae"), "--licence", "mit"]) == 0
    assert "read its README.md" in capsys.readouterr().out
    shared = probseg.from_pretrained(tmp_path / "csae")
    kept = probseg.from_pretrained(cell)
    for name, tensor in kept.state_dict().items():
        assert torch.equal(shared.state_dict()[name], tensor)
    text = (tmp_path / "csae" / "README.md").read_text()
    result = read_result(cell / "result.json")
    assert "# csae on ambiguous-shapes" in text and "license: mit" in text
    assert f"| ged | {result.means['base']['ged']:.4g} |" in text
    for known in (result.key, result.digest, result.data.fingerprint, "5 test images"):
        assert known in text
    assert "Not stated by the author" in text  # what it is for


def test_a_folder_of_many_cells_names_them(finished_run: Path, tmp_path: Path, capsys) -> None:
    assert main([str(finished_run), str(tmp_path / "m")]) == 1
    error = capsys.readouterr().err
    assert "is no folder of a finished cell" in error and "/csae/fold0-seed0-" in error
    assert not (tmp_path / "m").exists()


def test_a_baseline_has_no_model(finished_run: Path) -> None:
    path = next(finished_run.glob("cells/*/*/annotators/*/result.json"))
    with pytest.raises(DataError, match="of no model that was trained"):
        card_of(read_result(path))
