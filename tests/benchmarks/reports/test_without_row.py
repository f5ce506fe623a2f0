"""A model that the suite has no row for, as those of plugins, is run and reported by its name."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import probseg
from benchmarks.jobs.plan import plan_experiments
from benchmarks.jobs.results import read_result
from benchmarks.run import main
from benchmarks.suite.definition import read_suite
from probseg.models.deterministic import DeterministicModel


@pytest.fixture
def plain():
    """A model with options of its own, one of which the suite's settings have too."""

    @probseg.models.register("plain")
    def plain(*, in_channels=1, classes=2, backbone="unet", patience=3):
        """Build a model without a latent.

        More of it.
        """
        return DeterministicModel(in_channels=in_channels, classes=classes, backbone=backbone)

    yield "plain"
    probseg.models.unregister("plain")


def test_rows_that_there_are_stay_and_others_take_the_settings_of_their_model(plain) -> None:
    suite = read_suite()
    assert suite.with_installed(["csae", "always-empty"]) == suite
    more = suite.with_installed(["csae", plain])
    row = more.models[plain]
    assert replace(more, models=suite.models) == suite and set(more.models) - {plain} == set(
        suite.models
    )
    assert row.build == plain and row.description == "Build a model without a latent"
    assert row.takes == ["backbone"]  # its patience is no setting of training


def test_its_cell_builds_it_with_the_profiles_settings(plain) -> None:
    suite = read_suite().with_installed([plain])
    choice = {"datasets": ["contours"], "folds": [0], "seeds": [0]}
    (cell,) = plan_experiments(suite, suite.profiles["quick"], rows=[plain], **choice)
    backbone = suite.profiles["quick"].settings["backbone"]
    assert cell.model == {"name": plain, "backbone": backbone}
    assert cell.evaluation["n_eval"] == 16


def test_it_is_reported_beside_a_latent_variable_model(plain, suite_file: Path, tmp_path) -> None:
    choice = ["--suite", str(suite_file), "--profile", "quick", "--datasets", "ambiguous-shapes"]
    rows = ["--models", plain, "csae", "--baselines", "always-empty"]
    out = tmp_path / "out"
    assert main([*choice, *rows, "--device", "cpu", "--out", str(out)]) == 0
    done = {r.experiment.row: r for r in map(read_result, out.glob("cells/**/result.json"))}
    assert set(done) == {plain, "csae", "always-empty"}
    assert "gini" in done["csae"].means["base"] and "gini" not in done[plain].means["base"]
    table = (out / "table.md").read_text()
    (line,) = (line for line in table.splitlines() if line.startswith("| plain |"))
    assert line.count("–") == 1  # the Gini index
    assert "- plain: Build a model without a latent." in table
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "plain" in report and "nan" not in report.lower().split()


def test_it_is_listed(plain, capsys) -> None:
    assert main(["--list"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"\nmodels without a row \(--models NAME … too\):\n  .*\bplain\b", told)


def test_a_misspelt_one_is_named(plain, capsys) -> None:
    assert main(["--datasets", "contours", "--models", "plan", "--dry-run"]) == 2
    assert "did you mean 'plain'" in capsys.readouterr().err


class Foreign(nn.Module):
    """A model that inherits nothing of probseg's."""

    def __init__(self, *, in_channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.spec = {"name": "foreign", "in_channels": in_channels, "classes": classes}
        self.in_channels, self.classes = in_channels, classes
        self.logits = nn.Conv2d(in_channels, classes, 1)

    def loss(self, image, label, *, generator=None):
        return {"cross_entropy": nn.functional.cross_entropy(self.logits(image), label.long())}

    def sample(self, image, n, *, generator=None):
        return self.logits(image).softmax(1).detach().expand(n, -1, -1, -1, -1)


class Plain(nn.Module):
    """A decoder that takes no class prior."""

    def __init__(self, in_channels: int, latent_dim: int, classes: int) -> None:
        super().__init__()
        self.logits = nn.Conv2d(in_channels, classes, 1)
        self.shift = nn.Linear(latent_dim, classes)

    def forward(self, features, latent):
        return self.logits(features) + self.shift(latent)[..., None, None]


def test_a_model_without_our_base_class_is_run_and_kept(suite_file, tmp_path) -> None:
    probseg.models.register("foreign")(Foreign)
    choice = ["--suite", str(suite_file), "--profile", "quick", "--datasets", "ambiguous-shapes"]
    try:
        out = ["--models", "foreign", "--baselines", "--device", "cpu", "--out", str(tmp_path)]
        assert main([*choice, *out]) == 0
        (kept,) = tmp_path.glob("cells/**/model.safetensors")
        assert isinstance(probseg.load(kept), Foreign)
    finally:
        probseg.models.unregister("foreign")


def test_a_part_is_given_only_the_settings_that_it_takes() -> None:
    row = read_suite().models["punet"]
    settings = {"decoder": {"name": "fcomb"}, "class_prior": [0.9, 0.1]}
    assert row.model(settings)["decoder"] == {"name": "fcomb", "class_prior": [0.9, 0.1]}
    probseg.decoders.register("plain-decoder")(Plain)
    try:
        assert row.model({**settings, "decoder": "plain-decoder"})["decoder"] == "plain-decoder"
    finally:
        probseg.decoders.unregister("plain-decoder")
