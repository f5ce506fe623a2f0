"""Samples of tiles are those of the whole image, or are refused."""

from __future__ import annotations

import pytest
import torch
from small_models import ENCODER, UNET, generator, small
from torch import Tensor, nn

from probseg.errors import InputError, OptionError
from probseg.models.tiling import sample_tiles

TILE = 16


class Far(nn.Module):
    """Looks a given number of pixels to the right and down."""

    def __init__(self, distance: int) -> None:
        super().__init__()
        self.out_channels, self.stride = 2, 1
        self.layer = nn.Conv2d(1, 2, 1)
        self.distance = distance

    def forward(self, image: Tensor) -> Tensor:
        d = self.distance
        right = nn.functional.pad(image, (0, d))[..., d:]
        below = nn.functional.pad(image, (0, 0, 0, d))[..., d:, :]
        return self.layer(image + right + 2 * below)


class Centred(nn.Module):
    """Marks how far a pixel is from the middle of what it is given."""

    out_channels, stride = 1, 1

    def forward(self, image: Tensor) -> Tensor:
        return image + torch.linspace(-1, 1, image.shape[3])


def agrees(model, image, **options):
    """Return whether tiles give what the whole image gives, from equal generators."""
    whole = model.eval().sample(image, 3, generator=generator(), **options)
    tiled = model.sample(image, 3, generator=generator(), tile=TILE, **options)
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5)
    return tiled.std(0).max() > 1e-3


@pytest.mark.parametrize("size", [(16, 70), (53, 41), (10, 10), (1, 40)])
@pytest.mark.parametrize("name", ["punet", "csae", "energy", "deterministic"])
def test_tiles_are_the_whole_image(name, size):
    differ = agrees(small(name), torch.rand(2, 1, *size))
    assert differ == (name != "deterministic")


@pytest.mark.parametrize("norm", [None, "batch"])
def test_networks_of_three_levels(norm):
    net = {"channels": [4, 4, 4], "convolutions": 2, "norm": norm}
    model = small("csae", backbone={**UNET, **net}, encoder={**ENCODER, **net})
    assert agrees(model, torch.rand(1, 1, 120, 64))


def test_a_prior_of_more_levels_than_the_backbone():
    assert agrees(
        small("punet", encoder={**ENCODER, "channels": [4] * 4}), torch.rand(1, 1, 90, 50)
    )


def test_the_projected_prior():
    assert agrees(small("csae"), torch.rand(1, 1, 40, 40), projected=True)


def test_a_whole_image_has_one_latent():
    model = small("punet").eval()
    left, right = (
        tile.probabilities
        for tile in sample_tiles(
            model, torch.zeros(1, 1, 64, 128), 6, tile=64, generator=generator()
        )
    )
    # far from the borders all pixels of a sample are the same, and those of two samples are not
    middle = (..., 32, 32)
    torch.testing.assert_close(left[middle], right[middle])
    assert left[middle].std(0).max() > 1e-3


@pytest.mark.parametrize("distance", [0, 5, 37])
def test_the_halo_is_as_wide_as_the_network_looks(distance):
    agrees(small("deterministic", backbone=Far(distance)), torch.rand(1, 1, 100, 90))


def test_what_lies_outside_of_the_image_is_outside_of_a_tile():
    agrees(small("deterministic", backbone=Far(200)), torch.rand(1, 1, 40, 40))


def test_a_network_that_looks_as_far_as_the_image_reaches():
    model = small("deterministic", backbone=Far(39)).eval()
    assert agrees(model, torch.rand(1, 1, 41, 41)) == 0
    with pytest.raises(InputError, match="depends on pixels anywhere in an image of this size"):
        model.sample(torch.rand(1, 1, 39, 39), 1, tile=TILE)


@pytest.mark.parametrize(
    ("norm", "layer"), [("instance", "InstanceNorm2d"), ("group", "GroupNorm")]
)
def test_normalisation_over_the_image_is_refused(norm, layer):
    model = small("csae", backbone={**UNET, "norm": norm}).eval()
    with pytest.raises(InputError, match=rf"pixels anywhere .*\({layer}\); resize the image"):
        model.sample(torch.rand(1, 1, 64, 64), 1, tile=TILE)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["pspnet", "deeplabv3plus"])
def test_global_pooling_is_refused(arch):
    model = small("csae", backbone={"name": arch, "encoder": "resnet18"}).eval()
    with pytest.raises(InputError, match="AdaptiveAvgPool2d"):
        model.sample(torch.rand(1, 1, 64, 200), 1, tile=TILE)


def test_what_depends_on_the_size_of_the_image_is_refused():
    model = small("deterministic", backbone=Centred()).eval()
    with pytest.raises(InputError, match="depends on the image's size, as interpolation"):
        model.sample(torch.rand(1, 1, 64, 64), 1, tile=TILE)


def test_an_image_that_fits_is_never_refused():
    model = small("csae", backbone={**UNET, "norm": "instance"})
    assert agrees(model, torch.rand(1, 1, TILE, TILE))
    odd = torch.rand(1, 1, TILE + 1, TILE + 1)  # and so does a tile rounded up to the stride
    assert model.sample(odd, 1, tile=TILE + 1).shape[3:] == odd.shape[2:]


def test_a_prior_that_reads_the_whole_image_does_and_says_so():
    model = small("csae", encoder={**ENCODER, "norm": "instance"})
    with pytest.warns(UserWarning, match=r"in one piece \(.*InstanceNorm2d.*samples are right"):
        assert agrees(model, torch.rand(1, 1, 48, 48))


def test_tiles_need_evaluation_mode_and_a_size():
    model, image = small("punet"), torch.rand(1, 1, 32, 32)
    with pytest.raises(InputError, match=r"call model.eval\(\) first"):
        model.sample(image, 1, tile=TILE)
    with pytest.raises(InputError, match=r"add a batch axis with image\[None\]"):
        model.eval().sample(image[0], 1, tile=TILE)
    for wrong in (0, -8, 2.5):
        with pytest.raises(OptionError, match="tile must be an integer of at least 1"):
            model.eval().sample(image, 1, tile=wrong)


def test_a_model_with_noise_of_its_own_is_refused():
    from probseg.models.base import ProbabilisticModel

    class Noisy(ProbabilisticModel):
        def __init__(self) -> None:
            super().__init__({"name": "noisy", "in_channels": 1, "classes": 2})
            self.backbone = Far(0)

    with pytest.raises(InputError, match="'noisy' draws noise for each pixel"):
        list(sample_tiles(Noisy().eval(), torch.rand(1, 1, 32, 32), 1, tile=TILE))


def test_no_network_sees_more_than_a_tile_and_its_halo():
    model = small("punet").eval()
    seen = []
    for network in (model.backbone.down[0], model.prior_encoder.blocks[0]):
        network.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel()))
    for _ in sample_tiles(model, torch.rand(1, 1, 400, 400), 1, tile=64):
        pass
    assert max(seen) <= 128 * 128
