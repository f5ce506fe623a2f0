"""Protocols on real annotations of LIDC, written in each of its layouts."""

import io
import pickle
import zipfile
from collections import defaultdict
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

from probseg import protocols

PATIENTS = 60


@pytest.fixture(scope="module")
def slices(data_root):
    """Real images and masks by the name of the patient, the nodule and the slice."""
    file = data_root / "lidc_slices.zip"
    if not file.exists():
        pytest.skip("PROBSEG_DATA has no lidc_slices.zip")
    found = defaultdict(dict)
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        patients = sorted({name.split("/")[0] for name in names})[:PATIENTS]
        for name in names:
            patient, nodule, side, stem = name.split("/")
            if patient in patients:
                pixels = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L"))
                found[patient, nodule, stem][side] = pixels
    return dict(found)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pickled(slices, root):
    entries = {
        f"{patient}_{nodule}_{stem}": {
            "image": sides["images"] / 255,
            "masks": [(sides[f"mask-{k}"] > 0).astype(np.uint8) for k in range(4)],
            "series_uid": f"1.2.{int(patient[-4:])}",
        }
        for (patient, nodule, stem), sides in slices.items()
    }
    (root / "lidc.pickle").write_bytes(pickle.dumps(entries))
    return root / "lidc.pickle"


def as_slices(slices, root):
    for (patient, nodule, stem), sides in slices.items():
        for side, pixels in sides.items():
            write(root / patient / nodule / side / stem, pixels)
    return root


def part_of(patient):
    """A publisher's folder of a patient, for this test."""
    return ("train", "train", "train", "val", "test")[int(patient[-4:]) % 5]


def as_crops(slices, root):
    for (patient, nodule, stem), sides in slices.items():
        name = f"z-{nodule.split('-')[1]}.0_c{stem.removeprefix('slice-').removesuffix('.png')}"
        folder = root / part_of(patient)
        write(folder / "images" / patient / f"{name}.png", np.pad(sides["images"], 26))
        for k in range(4):
            mask = np.pad(sides[f"mask-{k}"], 26)
            write(folder / "gt" / patient / f"{name}_l{k}.png", mask)
    return root


WRITERS = {"lidc-v1": pickled, "lidc-slices": as_slices, "lidc-v2": as_crops}


@pytest.fixture(scope="module", params=WRITERS)
def prepared(request, slices, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    written = WRITERS[request.param](slices, root)
    cache = tmp_path_factory.mktemp("cache")
    return request.param, protocols.get(request.param).open(root=written, cache=cache)


def test_no_image_is_lost_and_no_patient_is_on_two_sides(prepared, slices):
    name, (parts, remarks, deviations) = prepared
    patients = [set(part.groups) for part in parts]
    assert sum(map(len, parts)) == len(slices)
    assert sum(map(len, patients)) == len({patient for patient, *_ in slices}) == PATIENTS
    assert not deviations
    assert bool(remarks) == bool(protocols.get(name).counts)  # these are not all patients


def test_the_parts_have_the_patients_that_the_protocol_says(prepared, slices):
    name, (parts, *_) = prepared
    counted = [len(part) for part in parts]
    if name == "lidc-v2":
        folders = [part_of(patient) for patient, *_ in slices]
        assert counted == [folders.count(part) for part in ("train", "val", "test")]
        return
    shares = [hashed(patient) for patient, *_ in slices]
    test, validation = (
        sum(low <= s < high for s in shares) for low, high in ((0, 0.2), (0.2, 0.36))
    )
    assert counted == [len(slices) - test - validation, validation, test]


def hashed(patient):
    """The hash of docs/numbers.md."""
    return (int.from_bytes(sha256(patient.encode()).digest(), "big") >> (256 - 53)) / 2**53


def test_images_and_annotations_are_those_of_the_files(prepared, slices):
    _, (parts, *_) = prepared
    images = defaultdict(list)  # by the areas that the annotators drew
    for sides in slices.values():
        images[tuple(int((sides[f"mask-{k}"] > 0).sum()) for k in range(4))].append(sides["images"])
    for part in parts:
        sample = part[0]
        drawn = images[tuple(int(mask.sum()) for mask in sample.masks)]
        assert min(abs(sample.image[0].numpy() * 255 - pixels).max() for pixels in drawn) < 1
