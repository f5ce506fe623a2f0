"""The wheel with each extra alone, in an environment of its own, does what the extra is for."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.install

MODEL = """
import torch, probseg
small = {"name": "unet", "channels": [4, 8], "convolutions": 1}
encoder = {"name": "axis-aligned", "channels": [4, 8], "convolutions": 1}
def build(): return probseg.build("punet", backbone=small, encoder=encoder, latent_dim=2)
data = probseg.datasets.create("ambiguous-shapes", size=16, samples=12)
"""
FIT = """
from probseg.training import TrainingSettings, fit
settings = TrainingSettings(max_steps=2, validate_every=1, batch_size=4, device="cpu")
fit(build(), data, data, settings, out="run", progress=False)
"""
PLOT = """
from probseg.plots import gini_curves
gini_curves({"shapes": {"punet": [([1, 2], [0.5, 0.6])]}}).savefig("gini.png")
"""
COMMANDS = """
from probseg.cli import main
shapes = ["ambiguous-shapes", "--set", "data.samples=12"]
assert main(["data", "check", *shapes]) == 0
build().save("model.safetensors")
assert main(["share", "model.safetensors", "shared"]) == 0
"""
PREVIEW = """
assert main(["data", "preview", "--out", "sheet.png", *shapes]) == 0
"""
DATA = """
from probseg.datasets.annotators import staple
masks = data.batch([0, 1]).masks
assert staple(masks).shape == masks[:, 0].shape
assert len(probseg.datasets.create("contours", progress=False)) > 0
"""
EXPORT = """
from probseg.sharing.export import save_onnx
save_onnx(build(), "model.onnx")
import onnxruntime
onnxruntime.InferenceSession("model.onnx")
"""

USES = {"train": FIT, "plot": PLOT + COMMANDS + PREVIEW, "data": DATA, "export": EXPORT}


class Wheel:
    """The wheel of this checkout, and environments that it is installed into."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        copy = folder / "checkout"  # a build leaves files beside the sources
        tracked = subprocess.run(
            ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True
        ).stdout
        for name in filter(None, tracked.split("\0")):
            if name.startswith(("probseg/", "pyproject", "README", "LICENSE")):
                target = copy / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes((root / name).read_bytes())
        build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "."]
        subprocess.run([sys.executable, *build], cwd=copy, check=True)
        (self.path,) = folder.glob("*.whl")

    def install(self, extra: str | None) -> Path:
        """Return the Python of an environment with the wheel and one extra."""
        uv = str(Path(sys.executable).with_name("uv"))
        environment = self.folder / (extra or "alone")
        python = environment / "bin" / "python"
        if python.exists():
            return python
        wanted = f"probseg[{extra}] @ {self.path.as_uri()}" if extra else str(self.path)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, wanted], check=True)
        return python


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    return Wheel(root, tmp_path_factory.mktemp("wheel"))


def run(python: Path, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PROBSEG_DATA")}
    return subprocess.run(
        [python, "-c", MODEL + code],
        cwd=folder,
        env={**environment, "PROBSEG_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_probseg_only(wheel):
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel.path).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"probseg"}


def test_without_an_extra_models_are_built_and_what_is_missing_is_named(wheel, tmp_path):
    python = wheel.install(None)
    sample = "print(tuple(build().sample(torch.rand(1, 1, 16, 16), 3).shape))"
    done = run(python, sample, tmp_path)
    assert done.stdout.strip() == "(3, 1, 2, 16, 16)", done.stderr
    done = run(python, COMMANDS, tmp_path)
    assert done.returncode == 0, done.stderr
    hidden = "import sys; sys.modules['matplotlib'] = None\n"  # which nflows brings
    for extra, code in USES.items():
        done = run(python, hidden + code, tmp_path)
        assert "MissingDependencyError" in done.stderr
        assert f"pip install 'probseg[{extra}]'" in done.stderr


@pytest.mark.parametrize("extra", USES)
def test_an_extra_brings_what_its_name_says(wheel, tmp_path, extra):
    done = run(wheel.install(extra), USES[extra], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("extra", ["bench", "ray"])
def test_the_benchmark_runs_from_the_checkout(wheel, tmp_path, root, extra):
    python = wheel.install(extra)
    command = [python, "-m", "benchmarks.run", "--datasets", "ambiguous-shapes"]
    tiny = ["max_steps=2", "images=2", "validation_images=2", "batch_size=2", "n_eval=2"]
    arguments = ["--models", "punet", "--profile", "quick", "--set", *tiny, "--out", tmp_path]
    ray = ["--ray", "auto"] if extra == "ray" else []
    done = subprocess.run(
        [*command, *arguments, *ray], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("result.json"))


def test_all_brings_every_extra(wheel, tmp_path):
    done = run(wheel.install("all"), "".join(USES.values()), tmp_path)
    assert done.returncode == 0, done.stderr
