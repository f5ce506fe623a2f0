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
from benchmarks.speed.sinkhorn import DivergenceTerm
from benchmarks.speed.timing import Machine
from probseg.errors import MissingDataError

pytestmark = pytest.mark.usefixtures("quick_starts")


def tiny(data_root: Path | None = None) -> Settings:
    return Settings(machine=Machine({}, 1e9, 1e9, 1e9), rounds=1, small=True, data_root=data_root)


def test_start_up_is_measured_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "--small", "--rounds", "1", "--out", str(tmp_path)]) == 0
    assert "python -m benchmarks.speed start --small" in (tmp_path / "speed.md").read_text()
    (table,) = json.loads((tmp_path / "speed.json").read_text())["topics"]["start"]
    assert table["floor"]["seconds"] == table["medians"]["python -c pass"]["seconds"]
    assert "probseg --help" in table["rows"][0]["name"]
    assert "From starting Python on" in capsys.readouterr().out


def test_a_peer_that_is_not_installed_is_missed() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        start.FreshProcess(arguments=["-c", "pass"], needs="no_such_package")


@pytest.mark.parametrize("divergence", sinkhorn.DIVERGENCES.values())
def test_the_term_has_gradients(divergence: dict[str, str]) -> None:
    term = DivergenceTerm(batch=2, device="cpu", divergence=divergence)
    term.run()
    assert term.shape == (2, 6)
    assert all(p.grad is not None for p in term.model.posterior_projector.parameters())


def test_the_share_of_a_divergence_is_measured() -> None:
    (table,) = sinkhorn.comparisons(tiny())
    assert [row.name for row in table.rows[1:]] == list(sinkhorn.DIVERGENCES)
    assert f"{table.rows[1].ratio:.2%}" in table.notes[0]


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
    packing, reading = data.comparisons(tiny(archive))
    assert [row.name for row in reading.rows] == ["packed cache", "PNG files in the zip"]
    assert reading.rows[1].agreement == "the same images and masks"
    assert f"packed cache {2 / reading.rows[0].median:,.0f}" in reading.notes[0]
    assert f"PNG files in the zip {reading.rows[1].start:,.0f}" in reading.notes[1]
    assert packing.notes[0].startswith("3 samples; at its peak a process held ")


def test_other_samples_are_a_disagreement() -> None:
    ours = {"images": np.zeros(3), "masks": np.zeros(3)}
    for other in ({"images": np.ones(3)}, {"masks": np.ones(3)}):
        with pytest.raises(Disagreement, match="not the same"):
            data.agree(ours, ours | other)


def test_without_the_zip_the_error_has_the_remedy(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(MissingDataError, match=r"lidc_slices\.zip; pass --data-root"):
            next(data.comparisons(tiny(root)))
