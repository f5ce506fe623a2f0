"""MONAI's networks keep the contract of every backbone, and are MONAI's."""

import subprocess
import sys

import pytest
import torch

import probseg
from probseg.errors import OptionError
from probseg.testing import checks

LEVELS = {"channels": [4, 8, 16], "features": 6}
SMALL = {
    "monai-attention-unet": LEVELS,
    "monai-basic-unet": {"channels": [4, 4, 8, 8, 16, 4], "features": 6},
    "monai-dynunet": LEVELS,
    "monai-highresnet": {"features": 6},
    "monai-mednext": {"channels": 4, "blocks_down": [1, 1], "blocks_up": [1, 1], "features": 6},
    "monai-segresnet": {"channels": 8, "blocks_down": [1, 1], "blocks_up": [1], "features": 6},
    "monai-swin-unetr": {"channels": 12, "num_heads": [1, 1, 1, 1], "features": 6},
    "monai-unet": {**LEVELS, "num_res_units": 1},
}


def _backbone(name, **options):
    return probseg.backbones.create(name, **{"in_channels": 1, **SMALL[name], **options})


def test_every_name_is_registered():
    assert [name for name in probseg.backbones if name.startswith("monai-")] == list(SMALL)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("check", checks["backbone"], ids=lambda check: check.__name__)
def test_the_network_keeps_the_contract(name, check):
    check({"name": name, **SMALL[name]})


@pytest.mark.parametrize("name", SMALL)
def test_the_smallest_image_that_the_stride_allows_trains_alone(name):
    backbone = _backbone(name, in_channels=4).train()
    image = torch.rand(1, 4, backbone.stride, backbone.stride)
    features = backbone(image)
    assert features.shape == (1, 6, *image.shape[2:]) and features.isfinite().all()


@pytest.mark.parametrize("name", SMALL)
def test_it_can_be_built_with_its_defaults(name):
    spec = probseg.build("deterministic", backbone=name).spec["backbone"]
    assert spec["name"] == name and spec["features"] == 32


def test_a_normalisation_comes_back_from_json():
    import json

    options = {**LEVELS, "norm": ("group", {"num_groups": 2})}
    model = probseg.build("punet", backbone={"name": "monai-unet", **options})
    assert "GroupNorm" in str(model.backbone)
    again = probseg.build(**json.loads(json.dumps(model.spec)))
    again.load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_res_unit": 2}, "did you mean 'num_res_units'"),
        ({"norm": "grupp"}, "MONAI cannot build UNet"),
        ({"channels": [8]}, "no less than 2"),
        ({"spatial_dims": 3}, "spatial_dims"),
    ],
)
def test_what_monai_does_not_take_is_named(options, message):
    with pytest.raises(OptionError, match=message):
        probseg.build("punet", backbone={"name": "monai-unet", **options})


def test_images_of_any_size_train_a_csae():
    model = probseg.build("csae", in_channels=3, backbone={"name": "monai-unet", **LEVELS})
    image, label = torch.rand(1, 3, 21, 30), torch.randint(2, (1, 21, 30))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = [p.detach().clone() for p in model.backbone.parameters()]
    torch.stack(list(model.loss(image, label).values())).sum().backward()
    optimizer.step()
    after = list(model.backbone.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.sample(image, 2).shape == (2, 1, 2, 21, 30)


def test_monai_waits_for_the_first_network():
    code = """
import sys, probseg
assert "monai-unet" in probseg.backbones and callable(probseg.backbones["monai-unet"])
print("monai" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "False\n"
