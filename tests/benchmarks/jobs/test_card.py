"""The model of a finished experiment is shared with the experiment's result on its card."""

from pathlib import Path

import torch

import probseg
from benchmarks.jobs.results import read_result
from probseg.cli import main


def test_the_folder_has_the_results_on_its_card(finished_run: Path, tmp_path: Path) -> None:
    experiment = next(finished_run.glob("cells/*/*/csae/*/model.safetensors")).parent
    result = read_result(experiment / "result.json")
    assert main(["share", str(experiment), str(tmp_path / "csae"), "--licence", "mit"]) == 0
    shared, kept = (probseg.from_pretrained(folder) for folder in (tmp_path / "csae", experiment))
    assert shared.spec == kept.spec == result.training.spec
    for name, tensor in kept.state_dict().items():
        assert torch.equal(shared.state_dict()[name], tensor)
    text = (tmp_path / "csae" / "README.md").read_text()
    assert "# csae on ambiguous-shapes" in text and "license: mit" in text
    assert f"| ged | {result.means['base']['ged']:.4g} |" in text
    for known in (result.key, result.digest, result.data.fingerprint, "5 test images"):
        assert known in text


def test_a_baseline_has_no_card(finished_run: Path) -> None:
    (folder, *_) = finished_run.glob("cells/*/*/annotators/*")
    assert (folder / "result.json").exists() and not (folder / "card.json").exists()
