"""A suite so small that real experiments train in a second, and one finished run of it."""

from pathlib import Path

import pytest
from forks import forked

from benchmarks.execution import local
from benchmarks.speed.workers import Worker

SUITE = """
[all]
datasets = ["ambiguous-shapes"]
models = ["punet", "csae"]
baselines = ["always-empty", "one-annotator", "annotators"]

[datasets.ambiguous-shapes]
size = 16
samples = 30

[models.punet]
build = "punet"
takes = ["backbone", "encoder", "decoder", "latent_dim", "beta"]
stratified = true

[models.csae]
build = "csae"
takes = ["backbone", "encoder", "decoder", "divergence", "latent_dim", "beta", "gamma"]
projected = true

[models.broken]
build = "punet"
options = { kl_on = "nowhere" }

[models.always-empty]
baseline = "always-empty"

[models.one-annotator]
baseline = "one-annotator"

[models.annotators]
baseline = "annotators"

[profiles.quick]
description = "tiny"
folds = [0]

[profiles.quick.settings]
images = 5
validation_images = 4
n_eval = 4
evaluation_batch = 3
latent_dim = 2
n_ot = 3
beta = 1
gamma = 1
backbone = { name = "unet", channels = [4, 8], convolutions = 1 }
encoder = { name = "axis-aligned", channels = [4, 8], convolutions = 1 }
decoder = { name = "fcomb", features = 4 }
divergence = "sinkhorn"
batch_size = 4
learning_rate = 1e-3
clip = 1
max_steps = 4
validate_every = 2
patience = 100
augment = false
"""


@pytest.fixture(autouse=True)
def _no_real_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PROBSEG_DATA", raising=False)
    monkeypatch.setenv("PROBSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def suite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "suite.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="session")
def finished_run(suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of everything in the suite; tests must not change it."""
    from benchmarks.run import main

    out = tmp_path_factory.mktemp("run")
    command = ["--all", "--suite", str(suite_file), "--profile", "quick", "--device", "cpu"]
    assert main([*command, "--folds", "0", "1", "--out", str(out)]) == 0
    return out


@pytest.fixture
def quick_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes from one that has imported what they need: seconds each are saved."""
    context = forked()
    monkeypatch.setattr(Worker, "START", "forkserver")
    monkeypatch.setattr(local, "START", context)
