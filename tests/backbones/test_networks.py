"""The paper's networks: U-Net and encoder."""

import pytest
import torch
from small_models import NET
from torch import nn

from probseg.backbones.unet import UNet
from probseg.encoders.axis_aligned import AxisAligned


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_the_unet_has_the_paper_s_layers():
    net = UNet(1)
    widths = [32] * 3 + [64] * 3 + [128] * 3 + [192] * 3 + [128] * 3 + [64] * 3 + [32] * 3
    assert [c.out_channels for c in convolutions(net)] == widths
    assert (net.out_channels, net.stride) == (32, 8)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    inner = [c.in_channels for c in net.up.children() for c in convolutions(c)[:1]]
    assert inner == [192 + 128, 128 + 64, 64 + 32]


def test_biases_are_small_and_weights_are_he_s():
    for convolution in convolutions(UNet(8))[1:]:
        assert 0 < convolution.bias.abs().max() <= 2e-3
        fan_in = convolution.in_channels * 9
        assert convolution.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("instance", nn.InstanceNorm2d)],
)
def test_normalisation_follows_every_convolution(norm, kind):
    net = UNet(1, channels=(8, 12), convolutions=2, norm=norm)
    found = sum(isinstance(m, kind) for m in net.modules())
    assert found == len(convolutions(net)) == 6
    assert net(torch.randn(2, 1, 8, 8)).shape == (2, 8, 8, 8)


def test_one_level_is_a_stack_of_convolutions():
    net = UNet(3, channels=[5], convolutions=2)
    image = torch.randn(1, 3, 7, 9)
    assert net.stride == 1
    torch.testing.assert_close(net(image), net.down[0](image))


def test_a_two_level_unet_is_pool_convolve_upsample_concatenate():
    net = UNet(1, **NET)
    image = torch.randn(2, 1, 8, 8)
    skip = net.down[0](image)
    deep = net.down[1](nn.AvgPool2d(2)(skip))
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)(deep)
    torch.testing.assert_close(net(image), net.up[0](torch.cat([skip, up], dim=1)))


def test_the_encoder_is_a_global_mean_and_a_linear_head():
    encoder = AxisAligned(1, 6, **NET)
    image = torch.randn(2, 1, 8, 8)
    density, context = encoder(image)
    pooled = encoder.blocks[1](nn.AvgPool2d(2)(encoder.blocks[0](image))).mean(dim=(2, 3))
    torch.testing.assert_close(context, pooled)
    mean, raw = encoder.head(pooled).chunk(2, dim=1)
    torch.testing.assert_close(density.base_dist.loc, mean)
    torch.testing.assert_close(density.base_dist.scale, (5 * torch.tanh(raw / 5)).exp())
    assert density.batch_shape == (2,) and density.event_shape == (6,)
    assert context.shape == (2, encoder.context_features) == (2, 8)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e3, 1e6, -1e6])
def test_the_scale_is_bounded(value):
    encoder = AxisAligned(1, 6, **NET, log_scale_bound=2.0)
    density, _ = encoder(torch.full((1, 1, 8, 8), value))
    log_scale = density.base_dist.scale.log()
    assert log_scale.abs().max() <= 2.0 + 1e-5


def test_the_scale_has_a_gradient_near_its_start():
    encoder = AxisAligned(1, 6, **NET)
    density, _ = encoder(torch.randn(2, 1, 8, 8))
    density.base_dist.scale.log().sum().backward()
    assert (encoder.head.weight.grad[6:].abs().sum(1) > 0).all()
    assert not encoder.head.weight.grad[:6].any()


def test_any_size_goes_in():
    encoder = AxisAligned(1, 2, channels=(4, 4, 4), convolutions=1)
    for height, width in ((1, 1), (1, 5), (7, 3)):
        density, _ = encoder(torch.randn(1, 1, height, width))
        assert density.mean.isfinite().all()
