"""Predicted masks lie where their image does, voxel for voxel, however it was stored."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import probseg
from probseg.datasets.folder import folder

SMALL = {"channels": [4, 8], "convolutions": 1}
N, ROWS, COLUMNS = 3, 12, 16
# Upright in an axial plane: columns go to the left and rows to posterior, RAS+ axes -x and -y.
UPRIGHT = np.array([[-0.5, 0, 0, 40], [0, -0.75, 0, 60], [0, 0, 2, -7], [0, 0, 0, 1.0]])
ORDERS = ("LPS", "RAS", "PLI", "ARS", "SLP", "PIR")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(4)
    parts = {"backbone": {"name": "unet", **SMALL}, "encoder": {"name": "axis-aligned", **SMALL}}
    model = probseg.build("punet", beta=1, **parts)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):  # until it follows what is bright
        images = torch.rand(8, 1, ROWS, COLUMNS)
        optimiser.zero_grad()
        sum(model.loss(images, (images[:, 0] > 0.5).long()).values()).backward()
        optimiser.step()
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(file)
    return file


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """An upright picture, in whose every corner is something else."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    random = np.random.default_rng(0).normal(0, 30, (ROWS, COLUMNS))
    return (40 * x + 3 * y * y + 300 * (x > 10) + random).astype(np.int16)


@pytest.fixture(scope="module")
def upright(checkpoint, pixels) -> np.ndarray:
    """What the model itself says of the upright picture: its samples (N, H, W), 0 and 1."""
    bright = (pixels - pixels.min()) / np.ptp(pixels)
    image = torch.from_numpy(bright.astype(np.float16).astype(np.float32))[None, None]
    generator = torch.Generator().manual_seed(0)
    samples = probseg.load(checkpoint).sample(image, N, generator=generator)
    labels = samples[:, 0].argmax(1).numpy()
    assert 0.02 < labels.mean() < 0.98
    return labels


def predict(command, checkpoint: Path, file: Path) -> Path:
    out = file.parent / "out"
    status, _, error = command("predict", checkpoint, file, "--out", out, "-n", N)
    assert status == 0, error
    return out / file.name.split(".")[0]


def predicted_png(command, checkpoint: Path, file: Path) -> np.ndarray:
    """Samples (N, H, W), 0 and 1."""
    found = predict(command, checkpoint, file)
    files = [found / f"sample-{number}.png" for number in range(1, N + 1)]
    return np.stack([np.asarray(Image.open(file)) for file in files]) // 255


def stored(pixels: np.ndarray, order: str) -> nibabel.Nifti1Image:
    """The picture with its voxel axes in an order, at the same place."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(pixels.T)[..., None], UPRIGHT)
    now, wanted = (
        nibabel.io_orientation(UPRIGHT),
        nibabel.orientations.axcodes2ornt(order),
    )
    return image.as_reoriented(nibabel.orientations.ornt_transform(now, wanted))


def at_each_place(nifti: nibabel.Nifti1Image) -> np.ndarray:
    """Look up the voxel of a file at the place of each pixel of the upright picture, (N, H, W)."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    places = UPRIGHT @ np.stack([x, y, 0 * x, 1 + 0 * x]).reshape(4, -1)
    voxels = np.linalg.solve(nifti.affine, places)[:3]
    assert np.abs(voxels - np.rint(voxels)).max() < 1e-6
    values = np.asarray(nifti.dataobj)[tuple(np.rint(voxels).astype(int))]
    return values.reshape(ROWS, COLUMNS, -1).transpose(2, 0, 1)


@pytest.mark.parametrize("order", ORDERS)
def test_nifti_in_any_orientation(command, checkpoint, pixels, upright, tmp_path, order):
    original = stored(pixels, order)
    assert "".join(nibabel.aff2axcodes(original.affine)) == order
    nibabel.save(original, tmp_path / "case.nii.gz")
    found = predict(command, checkpoint, tmp_path / "case.nii.gz")
    samples = nibabel.load(found / "samples.nii.gz")
    assert_array_equal(samples.affine, original.affine)
    assert samples.shape[:3] == original.shape
    assert_array_equal(at_each_place(samples), upright)


def test_a_predicted_mask_can_be_a_mask(command, checkpoint, pixels, upright, tmp_path):
    """It may become a mask of a data set, beside others in another orientation."""
    nibabel.save(stored(pixels, "PLI"), tmp_path / "case.nii.gz")
    found = predict(command, checkpoint, tmp_path / "case.nii.gz")
    samples = nibabel.load(found / "samples.nii.gz")
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    (root / "masks/case").mkdir(parents=True)
    nibabel.save(stored(pixels, "RAS"), root / "images/case.nii.gz")
    for number in range(N):
        one = nibabel.Nifti1Image(np.asarray(samples.dataobj)[..., number], samples.affine)
        nibabel.save(one, root / f"masks/case/{number}.nii.gz")
    dataset = folder(root, cache=tmp_path / "cache")
    assert_array_equal(dataset[0].masks, upright)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_other_volume_files_become_nifti_at_their_place(
    command, checkpoint, pixels, upright, tmp_path, suffix
):
    image = SimpleITK.GetImageFromArray(pixels[None, ::-1])  # rows to anterior
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((-40, -60 + 0.75 * (ROWS - 1), -7))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    SimpleITK.WriteImage(image, str(tmp_path / f"case{suffix}"))
    found = predict(command, checkpoint, tmp_path / f"case{suffix}")
    assert_array_equal(at_each_place(nibabel.load(found / "samples.nii.gz")), upright)


def test_dicom(command, checkpoint, pixels, upright, tmp_path):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = ROWS, COLUMNS, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
    dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.75, 0.5]
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    assert_array_equal(predicted_png(command, checkpoint, tmp_path / "slice.dcm"), upright)
