"""The ablations that come with the benchmark: what they plan, and one of each that trains."""

from pathlib import Path

import pytest
import torch

import probseg
from benchmarks.jobs.results import read_result
from benchmarks.run import COMMAND, main, make_plan, options_of
from benchmarks.suite.definition import read_suite
from benchmarks.suite.files import find, suites
from probseg.cli.command import make_parser
from probseg.datasets.views import CentreCrop

ABLATIONS = [name for name in suites() if name != "suite"]
TINY = [
    *("images=3", "validation_images=3", "n_eval=2", "evaluation_batch=2", "crop=16"),
    *("n_ot=3", "latent_dim=2", "batch_size=2", "max_steps=1", "validate_every=1"),
    'backbone={ name = "unet", channels = [4, 8], convolutions = 1 }',
    'encoder={ name = "axis-aligned", channels = [4, 8], convolutions = 1 }',
]


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_plan_has_every_row_once_and_no_two_are_the_same_experiment(name: str, capsys) -> None:
    command = ["--suite", name, "--datasets", "contours", "--profile", "quick"]
    assert main([*command, "--dry-run"]) == 0
    suite, _, experiments = make_plan(options_of(make_parser(COMMAND).parse_args(command)))
    assert suite.file.data["description"]
    trained = [experiment for experiment in experiments if experiment.trained]
    assert tuple(experiment.row for experiment in trained) == suite.all.models
    settings = [(one.model, one.training, one.evaluation) for one in trained]
    assert all(settings.count(one) == 1 for one in settings)
    assert f"{len(experiments)} experiments" in capsys.readouterr().out


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_row_has_a_finite_loss(name: str) -> None:
    command = ["--suite", name, "--datasets", "contours", "--profile", "quick", "--set", *TINY]
    experiments = make_plan(options_of(make_parser(COMMAND).parse_args(command))).experiments
    torch.manual_seed(0)
    data = CentreCrop(probseg.datasets.create("ambiguous-shapes", size=64, samples=2), 64)
    image, masks = data.batch(range(2))[:2]
    for experiment in experiments:
        if experiment.trained:
            model = probseg.build(like=data, **experiment.model)
            label = masks.long() if model.all_annotators else masks[:, 0].long()
            assert torch.stack(list(model.loss(image, label).values())).isfinite().all(), (
                experiment.row
            )


@pytest.mark.parametrize(
    "name", ["noise", *(pytest.param(n, marks=pytest.mark.slow) for n in ABLATIONS if n != "noise")]
)
def test_the_last_row_of_a_suite_trains(name: str, tmp_path: Path) -> None:
    row = read_suite(find(name)).all.models[-1]
    what = ["--suite", name, "--models", row, "--baselines", "--datasets", "ambiguous-shapes"]
    how = ["--profile", "quick", "--device", "cpu", "--out", str(tmp_path), "--set", *TINY]
    assert main([*what, *how]) == 0
    (path,) = tmp_path.glob("cells/**/result.json")
    result = read_result(path)
    assert (result.status, result.experiment.row) == ("finished", row)
    assert result.training.steps == 1


def test_ablations_say_no_hyper_parameters_of_a_profile() -> None:
    assert not [name for name in ABLATIONS if "profiles" in read_suite(find(name)).file.data]
