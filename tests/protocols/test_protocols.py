"""Protocols: what they say, how they part real layouts, and what they refuse."""

import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import probseg
from probseg import protocols
from probseg.datasets.lidc.cropping import LUNG
from probseg.datasets.splits import hash_share
from probseg.datasets.views import PlacedCrop
from probseg.errors import DataError, UnknownNameError
from probseg.protocols.protocol import Protocol
from probseg.registry import registry

PATIENTS = 40


def _masks(random, size):
    return [(random.random((size, size)) < 0.2).astype(np.uint8) for _ in range(4)]


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """LIDC in the layouts pickle, slices and crops: two images of each of 40 patients."""
    root, random = tmp_path_factory.mktemp("lidc"), np.random.default_rng(0)
    contents = {}
    for patient in range(1, PATIENTS + 1):
        name = f"LIDC-IDRI-{patient:04d}"
        part = ("train", "val", "test")[patient % 3]
        for number in range(2):
            pixels = random.integers(256, size=(128, 128), dtype=np.uint8)
            masks = _masks(random, 128)
            contents[f"{name}_slice{number}"] = {
                "image": pixels / 255,
                "masks": masks,
                "series_uid": f"1.2.{patient}",
            }
            nodule = root / "slices" / name / "nodule-0"
            crops = root / "crops" / part
            for folder in ("images", *(f"mask-{k}" for k in range(4))):
                (nodule / folder).mkdir(parents=True, exist_ok=True)
            for folder in ("images", "gt"):
                (crops / folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(nodule / "images" / f"slice-{number}.png")
            large = np.pad(pixels, 26)
            Image.fromarray(large).save(crops / "images" / name / f"z-1.0_c{number}.png")
            for k, mask in enumerate(masks):
                Image.fromarray(mask * 255).save(nodule / f"mask-{k}" / f"slice-{number}.png")
                padded = Image.fromarray(np.pad(mask, 26) * 255)
                padded.save(crops / "gt" / name / f"z-1.0_c{number}_l{k}.png")
    (root / "lidc.pickle").write_bytes(pickle.dumps(contents))
    return {"pickle": root / "lidc.pickle", "slices": root / "slices", "crops": root / "crops"}


@pytest.fixture
def opened(layouts, tmp_path):
    def opened(name: str):
        protocol = protocols.get(name)
        root = layouts[protocol.options["layout"]]
        return protocol, protocol.open(root=root, cache=tmp_path / "cache")

    return opened


@pytest.mark.parametrize("name", protocols.names())
def test_what_a_protocol_names_exists(name):
    protocol = protocols.get(name)
    for metric in protocol.metrics:
        assert metric in registry("metrics"), metric
    assert protocol.dataset is None or protocol.dataset in registry("datasets")
    assert ("test" in protocol.shares) == (protocol.split == "hash")
    assert protocol.title and protocol.empty_masks and protocol.differences


def test_fingerprints_differ_and_follow_what_decides_numbers():
    everything = {name: protocols.get(name).fingerprint for name in protocols.names()}
    assert len(set(everything.values())) == len(everything)
    table = {"title": "a", "split": "parts", "metrics": ["ged"], "empty_masks": "b"}
    one = Protocol.of("x", {**table, "differences": "c"})
    assert one.fingerprint == Protocol.of("x", {**table, "differences": "d"}).fingerprint
    assert one.fingerprint != Protocol.of("x", {**table, "differences": "c", "crop": 8}).fingerprint


def test_an_unknown_name_has_the_nearest_one():
    with pytest.raises(UnknownNameError, match="lidc-v1"):
        protocols.get("lidc-v11")


@pytest.mark.parametrize("name", ["lidc-v1", "lidc-slices", "lidc-random-crop-64", "lidc-v2"])
def test_no_patient_is_in_two_parts_and_no_image_is_lost(opened, name):
    _, prepared = opened(name)
    groups = [set(part.groups) for part in prepared.parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert sum(map(len, prepared.parts)) == 2 * PATIENTS


def test_the_hash_parts_two_layouts_alike(opened):
    pickled, slices = (opened(name)[1].parts for name in ("lidc-v1", "lidc-slices"))
    for one, other in zip(pickled, slices, strict=True):
        assert set(one.groups) == set(other.groups)


def test_the_publishers_folders_part_the_crops(opened):
    _, prepared = opened("lidc-v2")
    for part, remainder in zip(prepared.parts, range(3), strict=True):
        assert {int(group[-4:]) % 3 for group in part.groups} == {remainder}
        assert part[0].image.shape[-2:] == (128, 128)


def test_data_that_are_not_complete_are_told(opened):
    _, prepared = opened("lidc-v2")
    told = " ".join(prepared.remarks)
    assert "26 of the 8843 images of the part train" in told
    assert "13 of the 530 groups of the part train" in told
    assert opened("lidc-slices")[1].remarks == []
    assert "80 of the 15096 images;" in opened("lidc-v1")[1].remarks[0]


def test_the_hash_is_uniform_and_stays():
    shares = [hash_share(f"LIDC-IDRI-{i:04d}") for i in range(1000)]
    assert stats.kstest(shares, "uniform").pvalue > 1e-3
    assert hash_share("LIDC-IDRI-0001") == 0.23324337478368862  # frozen: results depend on it


def test_adding_patients_moves_nobody(layouts, tmp_path):
    protocol = protocols.get("lidc-slices")
    whole = probseg.datasets.create("lidc", root=layouts["slices"], cache=tmp_path / "cache")
    few = probseg.datasets.views.subset(whole, range(0, 2 * PATIENTS, 2))
    parts = protocol.prepare(few).parts, protocol.prepare(whole).parts
    for one, other in zip(*parts, strict=True):
        assert set(one.groups) <= set(other.groups)


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("lidc-v1", "slices", "is for the layout 'pickle'"),
        ("qubiq-kidney", "slices", "is for the data set 'qubiq-kidney'"),
    ],
)
def test_other_data_are_refused(layouts, tmp_path, name, layout, message):
    data = probseg.datasets.create("lidc", root=layouts[layout], cache=tmp_path / "cache")
    with pytest.raises(DataError, match=message):
        protocols.get(name).prepare(data)


def test_data_that_name_no_parts_are_refused(layouts, tmp_path):
    data = probseg.datasets.create("lidc", root=layouts["crops"], cache=tmp_path / "cache")
    data.parts = None
    with pytest.raises(DataError, match="does not say which image is of which part"):
        protocols.get("lidc-v2").prepare(data)


def test_a_part_that_is_missing_is_named(layouts, tmp_path):
    data = probseg.datasets.create("lidc", root=layouts["crops"], cache=tmp_path / "cache")
    data.parts = ["train" if part == "test" else part for part in data.parts]
    with pytest.raises(DataError, match="lacks the publisher's part test"):
        protocols.get("lidc-v2").prepare(data)


def test_qubiqs_validation_cases_are_tested_on():
    data = probseg.datasets.create("ambiguous-shapes", samples=60)
    data.name, data.parts = "qubiq-kidney", ["train"] * 40 + ["validation"] * 20
    data.annotators = 3
    parts = protocols.get("qubiq-kidney").prepare(data).parts
    assert set(parts.test.groups) == set(data.groups[40:])
    assert len(parts.train) + len(parts.validation) == 40 and 1 < len(parts.validation) < 20


def test_series_in_place_of_patients_are_refused(layouts, tmp_path):
    data = probseg.datasets.create("lidc", root=layouts["slices"], cache=tmp_path / "cache")
    data.groups = ["1.2.3", *data.groups[1:]]
    with pytest.raises(DataError, match="name no patient"):
        protocols.get("lidc-slices").prepare(data)


def test_a_packed_root_knows_its_layout(layouts, tmp_path):
    data = probseg.datasets.create("lidc", root=layouts["slices"], cache=tmp_path / "cache")
    prepared = protocols.get("lidc-slices").open(root=data.folder)
    assert sum(map(len, prepared.parts)) == 2 * PATIENTS


def test_any_data_have_the_protocol_own():
    data = probseg.datasets.create("ambiguous-shapes", samples=60)
    prepared = protocols.get("own").prepare(data)
    assert sum(map(len, prepared.parts)) == 60 and not prepared.remarks
    with pytest.raises(DataError, match="give it to prepare"):
        protocols.get("own").open()
    with pytest.raises(DataError, match="too few groups"):
        protocols.get("own").prepare(probseg.datasets.views.subset(data, [0]))


def test_a_placed_crop_holds_the_middle_and_depends_on_the_name_alone(layouts, tmp_path):
    data = probseg.datasets.create("lidc", root=layouts["slices"], cache=tmp_path / "cache")
    view = PlacedCrop(data, 64)
    tops = Counter()
    for index in range(len(view)):
        image, whole = view[index].image[0], data[index].image[0]
        windows = whole.unfold(0, 64, 1).unfold(1, 64, 1)
        ((top, left),) = (windows == image).all(-1).all(-1).nonzero().tolist()
        assert top <= 64 < top + 64 and left <= 64 < left + 64
        assert (view[index].masks == data[index].masks[..., top : top + 64, left : left + 64]).all()
        tops[top] += 1
    assert len(tops) > 30  # of 64 places
    few = PlacedCrop(probseg.datasets.views.subset(data, [5, 3]), 64)
    assert (few[0].image == view[5].image).all() and (few[1].image == view[3].image).all()


def test_a_packed_root_is_found_where_the_variable_says(layouts, tmp_path, monkeypatch):
    data = probseg.datasets.create("lidc", root=layouts["pickle"], cache=tmp_path / "cache")
    monkeypatch.setenv("PROBSEG_DATA", str(data.folder))
    assert sum(map(len, protocols.get("lidc-v1").open().parts)) == 2 * PATIENTS


def test_what_was_done_to_images_beside_the_protocol_is_told(layouts, tmp_path, monkeypatch):
    protocol, cache = protocols.get("lidc-slices"), tmp_path / "cache"
    usual = protocol.open(root=layouts["slices"], cache=cache)
    assert not usual.deviations
    windowed = protocol.open(root=layouts["slices"], cache=cache, window=(0.2, 0.8))
    assert windowed.deviations == ["normalise='window', window=(0.2, 0.8)"]
    for case in range(40):
        for name in (f"images/c{case}.png", f"masks/c{case}/ann.png"):
            file = tmp_path / "own" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(file)
    own = protocols.get("own")
    for options, told in (({}, []), ({"size": 4}, ["size=4"]), ({"threshold": 0}, ["threshold=0"])):
        data = probseg.datasets.create("folder", root=tmp_path / "own", cache=cache, **options)
        assert own.prepare(data).deviations == told


def test_the_window_of_the_dicom_files_is_the_usual_one():
    """Scans that are opened without options and by the protocol are the same images."""
    assert tuple(protocols.get("lidc-dicom").options["window"]) == LUNG
