"""Pyramids: levels that halve, blocks that start as nothing, encoders of another library."""

import json

import pytest
import torch
from torch import nn

import probseg
from probseg.backbones.blocks import residual_blocks
from probseg.errors import OptionError
from probseg.registry.specs import StoredWeights
from probseg.testing import ContractError, check


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "depth"),
    [("resnet18", 3), ("mit_b0", 5), ("tu-convnext_atto", 5), ("efficientnet-b0", 4)],
)
def test_encoders_of_other_families_keep_the_contract(encoder, depth):
    check("pyramid", {"name": "smp", "encoder": encoder, "depth": depth})


def test_the_finest_features_of_an_encoder_are_of_the_image_at_full_resolution():
    pyramid = probseg.pyramids.create("smp", in_channels=2, encoder="resnet18", features=5)
    assert pyramid.channels == (5, 64, 64, 128, 256, 512) and pyramid.stride == 32
    assert pyramid(torch.rand(1, 2, 32, 64))[0].shape == (1, 5, 32, 64)


@pytest.mark.parametrize("name", ["unet", "residual"])
def test_levels_are_means_of_four_pixels_through_a_block(name):
    pyramid = probseg.pyramids.create(name, in_channels=1, channels=[3, 4])
    first, second = pyramid(torch.rand(2, 1, 8, 8))
    pooled = first.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))
    torch.testing.assert_close(second, pyramid.levels[1](pooled))


@pytest.mark.parametrize("norm", [None, "batch", "group", "instance"])
def test_residual_blocks_start_as_nothing(norm):
    x = torch.randn(2, 6, 4, 4)
    torch.testing.assert_close(residual_blocks(6, 6, blocks=3, norm=norm)(x), x)
    widened = residual_blocks(6, 8, blocks=2, norm=norm)
    torch.testing.assert_close(widened(x), widened[0].shortcut(x))


def test_a_residual_block_has_three_convolutions_of_half_the_width():
    block = residual_blocks(6, 8, blocks=1)[0]
    shapes = [tuple(m.weight.shape) for m in block.residual if isinstance(m, nn.Conv2d)]
    assert shapes == [(4, 6, 3, 3), (4, 4, 3, 3), (8, 4, 3, 3)]
    activations = [type(m).__name__ for m in block.residual]
    assert activations == ["ReLU", "Conv2d"] * 3  # before each convolution


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "smp", "encoder": "resnet33"}, "did you mean 'resnet34'"),
        ({"name": "smp", "encoder": "resnet34", "depth": 9}, "depth=9"),
        ({"name": "smp", "encoder": "tu-hub:x"}, "looked up in a repository"),
        ({"name": "unet", "channels": []}, "at least one level"),
        ({"name": "residual", "blocks": 0}, "blocks must be an integer of at least 1"),
        ({"name": "residual", "norm": "layer"}, "norm must be one of"),
    ],
)
def test_options_that_cannot_be(options, message):
    given = dict(options)
    with pytest.raises(OptionError, match=message):
        probseg.pyramids.create(given.pop("name"), in_channels=1, **given)


def test_weights_that_a_checkpoint_holds_are_not_fetched(monkeypatch):
    def fetched(*_, **__):
        raise AssertionError("asked for weights")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetched)
    kept = StoredWeights("imagenet")
    probseg.pyramids.create("smp", in_channels=1, encoder="resnet18", encoder_weights=kept)
    json.dumps(kept)


class Flat(nn.Module):
    """What is no pyramid: its levels do not halve."""

    def __init__(self, in_channels):
        super().__init__()
        self.channels, self.stride = (2, 2), 2
        self.convolution = nn.Conv2d(in_channels, 2, 1)

    def forward(self, image):
        return [self.convolution(image)] * 2


def test_levels_that_do_not_halve_are_told():
    with pytest.raises(ContractError, match=r"levels_halve: expected features of level 1 of shape"):
        check("pyramid", Flat)
