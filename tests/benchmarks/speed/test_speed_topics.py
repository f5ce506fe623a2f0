"""The topics start, sinkhorn and data, on tiny sizes."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed import data, sinkhorn, start
from benchmarks.speed.__main__ import main
from benchmarks.speed.comparison import Disagreement, Settings
from benchmarks.speed.sinkhorn import SOLVERS, DivergenceTerm, SolverStep
from benchmarks.speed.timing import Machine
from probseg.errors import MissingDataError

ROOT = Path(__file__).parents[3]
FIRST, *OTHERS = SOLVERS

pytestmark = pytest.mark.usefixtures("quick_starts")


def tiny(data_root: Path | None = None) -> Settings:
    return Settings(machine=Machine({}, 1e9, 1e9, 1e9), rounds=1, small=True, data_root=data_root)


def answer(solver: str) -> dict[str, object]:
    return SolverStep(solver=solver, batch=2, samples=16, latent=6, device="cpu").answer()


def test_start_up_is_measured_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "--small", "--rounds", "1", "--out", str(tmp_path)]) == 0
    assert "python -m benchmarks.speed start --small" in (tmp_path / "speed.md").read_text()
    building, helping = json.loads((tmp_path / "speed.json").read_text())["topics"]["start"]
    for table in (building, helping):
        assert table["floor"]["seconds"] == table["medians"]["python -c 'pass'"]["seconds"]
    assert "benchmarks.run --help" in helping["rows"][0]["name"]
    assert "Help of the commands" in capsys.readouterr().out


def test_every_command_of_the_benchmarks_is_asked_for_help() -> None:
    runnable = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for file in (ROOT / "benchmarks").rglob("*.py")
        if '__name__ == "__main__"' in file.read_text()
    }
    assert runnable | {"probseg"} == set(start.COMMANDS)


def test_a_peer_that_is_not_installed_is_missed() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        start.FreshProcess(arguments=["-c", "pass"], needs="no_such_package")


@pytest.mark.parametrize("solver", [name for name in OTHERS if "compile" not in name])
def test_the_solvers_agree_as_far_as_they_solve_one_problem(solver: str) -> None:
    ours, theirs = answer(FIRST), answer(solver)
    agree = sinkhorn.same if SOLVERS[solver].same else sinkhorn.near
    assert agree(ours, theirs).startswith("value ")
    for wrong in (2 * theirs["value"], -theirs["value"]):
        with pytest.raises(Disagreement, match="values differ by"):
            agree(ours, theirs | {"value": wrong})


def test_a_wrong_gradient_is_a_disagreement() -> None:
    ours = answer(FIRST)
    with pytest.raises(Disagreement, match="gradients by"):
        sinkhorn.same(ours, ours | {"gradient": -ours["gradient"]})


def test_the_term_has_gradients() -> None:
    term = DivergenceTerm(batch=4, parts=2, device="cpu", divergence={"solver": "stacked"})
    term.run()
    assert term.shape == (2, 6)
    assert all(p.grad is not None for p in term.model.posterior_projector.parameters())


def test_sinkhorn_and_its_share_are_measured() -> None:
    solvers, share = sinkhorn.comparisons(tiny())
    assert [row.name for row in solvers.rows] == ["probseg", "probseg, stacked"]
    assert f"{share.rows[1].ratio:.2%}" in share.notes[0]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "lidc_slices.zip", "w") as archive:
        for number in range(3):
            for part in ("images", *(f"mask-{reader}" for reader in range(4))):
                values = (0, 255) if part != "images" else range(256)
                file = io.BytesIO()
                Image.fromarray(random.choice(values, (128, 128)).astype(np.uint8)).save(
                    file, "PNG"
                )
                name = f"LIDC-IDRI-0001/nodule-0/{part}/slice-{number}.png"
                archive.writestr(name, file.getvalue())
    return tmp_path


def test_packing_and_reading_a_small_zip_are_measured(archive: Path) -> None:
    reading, packing = data.comparisons(tiny(archive))
    names = ["packed cache", "PNG files in the zip", "pickle of 2"]
    assert [row.name for row in reading.rows] == names
    assert [row.agreement for row in reading.rows[1:]] == ["the same images and masks"] * 2
    assert f"packed cache {2 / reading.rows[0].median:,.0f}" in reading.notes[0]
    assert f"pickle of 2 {reading.rows[2].start:,.0f}" in reading.notes[1]
    assert packing.notes[0].startswith("3 samples; at its peak a process held ")


def test_other_samples_are_a_disagreement() -> None:
    ours = {"images": np.zeros(3), "masks": np.zeros(3)}
    for other in ({"images": np.ones(3)}, {"masks": np.ones(3)}):
        with pytest.raises(Disagreement, match="not the same"):
            data.agree(ours, ours | other)


def test_without_the_zip_the_error_has_the_remedy(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(MissingDataError, match=r"lidc_slices\.zip; pass --data-root"):
            data.comparisons(tiny(root))
