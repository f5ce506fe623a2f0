"""Every registered name keeps the contract of its kind."""

import shutil
import sqlite3
from contextlib import closing

import nibabel
import numpy as np
import pytest
from hierarchical_models import WITH_PYRAMID, options_of
from PIL import Image

import probseg
from probseg.datasets.lidc.nodules import find_database
from probseg.datasets.qubiq import SUBSETS
from probseg.registry import KINDS, registry
from probseg.testing import ContractError, check, checks

SMALL = {"channels": [8, 16], "convolutions": 2, "norm": "group"}
UNET, ENCODER = {"name": "unet", **SMALL}, {"name": "axis-aligned", **SMALL}

# A light encoder, where an architecture has the choice.
BACKBONES = {
    "unet": UNET,
    "dpt": {"name": "dpt"},
    **{
        name: {"name": name, "encoder": "mobilenet_v2"}
        for name in probseg.backbones
        if name not in ("unet", "dpt")
    },
}
WIDER = {"channels": [8, 12, 16, 16], "convolutions": 1}
MODELS = {
    name: {"name": name, "backbone": UNET, "encoder": ENCODER}
    for name in probseg.models
    if name not in ("deterministic", *WITH_PYRAMID)
} | {
    "deterministic": {"name": "deterministic", "backbone": UNET},
    # wide enough to learn one batch from whatever weights they start
    **{
        name: {"name": name, **options_of(name, 32), "pyramid": {"name": "unet", **WIDER}}
        for name in WITH_PYRAMID
    },
}
PYRAMIDS = {
    "unet": UNET,
    "residual": {"name": "residual", "channels": [4, 6, 8], "blocks": 2, "norm": "group"},
    "smp": {"name": "smp", "encoder": "mobilenet_v2"},
}

MATCHING = ("hungarian-iou", "w-cross-entropy", "w-dice", "w-hausdorff", "w-iou")
AGREEMENT = (
    *(*MATCHING, "ged", "rectangular-iou", "dice-match", "dice-max"),
    *("threshold-dice", "brier", "ece", "ace"),
)
NEITHER = (
    *("ged16", "ged32", "ged100", "collective-insight", "volume-crps"),
    *("aurc", "aurc-expected-entropy", "aurc-mutual-information", "aurc-variance"),
    *("w-hd95", "w-hd95-mm", "w-nsd", "w-nsd-mm"),
    *("empty-share", "annotator-empty-share", "nestedness", "annotator-nestedness"),
    *("annotator-diversity", "diversity", "ged-cross", "ncc"),
    *("effective-rank", "gini", "latent-kl"),
)


def _cases(kind, names):
    return [(kind, name, one) for name in names for one in checks[kind]]


CASES = [
    *_cases("backbone", BACKBONES),
    *_cases("pyramid", PYRAMIDS),
    *_cases("encoder", probseg.encoders),
    *_cases("projector", probseg.projectors),
    *_cases("divergence", probseg.divergences),
    *_cases("set_loss", probseg.set_losses),
    *_cases("decoder", probseg.decoders),
    *_cases("model", MODELS),
    *_cases("metric", probseg.metrics),
    *_cases("agreement", AGREEMENT),
    *_cases("matching", MATCHING),
]
LIGHT = {
    "backbone": BACKBONES,
    "pyramid": PYRAMIDS,
    "encoder": {name: {"name": name, **SMALL} for name in probseg.encoders},
    "model": MODELS,
}


def _case(kind, name, one):
    # the architectures of segmentation-models-pytorch share their code here
    thorough = kind == "backbone" and name not in ("unet", "smp")
    marks = [pytest.mark.slow] if thorough else []
    return pytest.param(kind, name, one, id=f"{kind}-{name}-{one.__name__}", marks=marks)


@pytest.mark.parametrize(("kind", "name", "one"), [_case(*case) for case in CASES])
def test_the_registered_part_keeps_its_contract(kind, name, one):
    one(LIGHT.get(kind, {}).get(name, name))


def test_every_metric_says_what_it_claims():
    assert sorted({*AGREEMENT, *NEITHER}) == list(probseg.metrics)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A mapping for each registered data set, on small real files where it reads files."""
    folder = tmp_path_factory.mktemp("datasets")
    qubiq = _qubiq(folder / "qubiq")
    return {
        "ambiguous-shapes": {"name": "ambiguous-shapes", "samples": 30, "size": 16},
        "contours": {
            "name": "contours",
            "database": _database(folder / "few.sqlite"),
            "cache": folder / "cache",
        },
        "folder": {"name": "folder", "root": _own(folder / "own"), "cache": folder / "cache"},
        "lidc": {"name": "lidc", "root": _lidc(folder / "lidc"), "cache": folder / "cache"},
        **{
            name: {"name": name, "root": qubiq, "cache": folder / "cache"}
            for name in probseg.datasets
            if name.startswith("qubiq-")
        },
    }


def _database(path):
    """The first scans of the real database."""
    shutil.copy(find_database(), path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM annotations WHERE scan_id > 12")
    return path


def _lidc(root):
    random = np.random.default_rng(0)
    for patient in range(8):
        for folder in ("images", "mask-0", "mask-1", "mask-2", "mask-3"):
            pixels = random.integers(0, 256, (128, 128), dtype=np.uint8)
            if folder != "images":
                pixels = np.where(pixels > 128, 255, 0).astype(np.uint8)
            files = root / f"LIDC-IDRI-{patient:04d}" / "nodule-0" / folder
            files.mkdir(parents=True)
            Image.fromarray(pixels).save(files / "slice-0.png")
    return root


def _own(root):
    random = np.random.default_rng(0)
    for number in range(8):
        for file in (f"images/{number}.png", *(f"masks/{number}/{who}.png" for who in "ab")):
            pixels = random.integers(0, 256 if "images" in file else 2, (12, 12), dtype=np.uint8)
            if file != "masks/3/b.png":  # who is absent there
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / file)
    return root


def _qubiq(root):
    random = np.random.default_rng(0)
    for subset in SUBSETS.values():
        plane = (3, 12, 10) if subset.volumes else (12, 10)
        shape = (*plane, subset.channels) if subset.channels > 1 else plane
        names = [
            f"task{task:02}_seg{rater:02}"
            for task in range(1, subset.tasks + 1)
            for rater in range(1, subset.raters + 1)
        ]
        for number in range(1, 8):
            case = root / subset.folder / "Training" / f"case{number:02}"
            case.mkdir(parents=True, exist_ok=True)
            image = random.normal(size=shape).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), case / "image.nii.gz")
            for name in names:
                mask = random.integers(0, 2, plane, np.uint8)
                nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), case / f"{name}.nii.gz")
    return root


@pytest.mark.parametrize("one", checks["dataset"], ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", probseg.datasets)
def test_the_registered_data_set_keeps_its_contract(name, one, datasets):
    one(datasets[name])


def test_every_kind_has_a_contract():
    kinds = {
        registry(kinds).kind
        for kinds in probseg.__all__
        if isinstance(getattr(probseg, kinds), type(probseg.backbones))
    }
    assert kinds == set(KINDS) <= set(checks)


def test_an_unknown_kind_gets_the_right_one():
    with pytest.raises(probseg.errors.UnknownNameError, match="did you mean 'projector'"):
        check("projecter", "planar")


def test_an_unknown_name_is_named():
    with pytest.raises(ContractError, match="did you mean 'planar'"):
        check("projector", "plannar")


def test_a_check_leaves_the_random_numbers_alone():
    import torch

    torch.manual_seed(5)
    wanted = torch.rand(())
    torch.manual_seed(5)
    check("projector", "planar")
    assert torch.rand(()) == wanted
