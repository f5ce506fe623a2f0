"""The benchmark of loading on a small zip, and its mistakes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.loading import main


def test_it_measures_a_small_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert main(["--data-root", str(tmp_path), "--batches", "2", "--pickled", "2"]) == 0
    out, err = capsys.readouterr()
    for row in ("packed cache", "PNG files in the zip", "pickle of 2"):
        assert row in out
    assert "Packing 3 samples took" in out and "reading the PNG files" in err


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ([], 1, "PROBSEG_DATA"),
        (["--data-root", "nowhere"], 2, "nowhere does not exist"),
        (["--data-root", ".", "--batches", "0"], 2, "--batches is 0"),
        (["--data-root", "."], 1, "lidc_slices.zip"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    status: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1
