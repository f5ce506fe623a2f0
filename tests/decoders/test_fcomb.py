"""The decoder against the network that it is a faster form of."""

import pytest
import torch
from torch import nn

from probseg.decoders.fcomb import FComb


def concatenating(decoder, latent_dim):
    """Return the network of 1x1 convolutions on (features, tiled z) with the same weights."""
    first = decoder.from_features
    joint = nn.Conv2d(first.in_channels + latent_dim, first.out_channels, 1)
    with torch.no_grad():
        columns = torch.cat([first.weight[..., 0, 0], decoder.from_latent.weight], dim=1)
        joint.weight.copy_(columns[..., None, None])
        joint.bias.copy_(first.bias)
    hidden = [layer for convolution in decoder.hidden for layer in (convolution, nn.ReLU())]
    network = nn.Sequential(joint, nn.ReLU(), *hidden, decoder.logits)

    def forward(features, z):
        tiled = z[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return network(torch.cat([features, tiled], dim=1))

    return forward


@pytest.mark.parametrize("layers", [1, 3])
def test_the_split_convolution_is_the_concatenated_one(layers):
    decoder = FComb(5, 3, 4, features=7, layers=layers)
    features, z = torch.randn(2, 5, 6, 8), torch.randn(2, 3)
    found = decoder(features, z)
    assert found.shape == (2, 4, 6, 8)
    torch.testing.assert_close(found, concatenating(decoder, 3)(features, z))


def test_it_has_the_paper_s_layers():
    decoder = FComb(32, 6, 2)
    convolutions = [m for m in decoder.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(32, 32)] * 3 + [(32, 2)]


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 3)])
def test_many_samples_at_once_equal_one_by_one(shape):
    decoder = FComb(5, 3, 2)
    features, z = torch.randn(2, 5, 6, 8), torch.randn(*shape, 2, 3)
    found = decoder(features, z)
    assert found.shape == (*shape, 2, 2, 6, 8)
    one_by_one = torch.stack([decoder(features, one) for one in z.flatten(0, -3)])
    torch.testing.assert_close(found.flatten(0, -5), one_by_one)


def test_the_class_prior_is_the_bias_of_the_logits():
    decoder = FComb(5, 3, 3, class_prior=(8, 1, 1))
    wanted = torch.tensor([0.8, 0.1, 0.1])
    torch.testing.assert_close(decoder.logits.bias.softmax(0), wanted)
    nothing = decoder.logits.weight.data.zero_()
    assert not nothing.any()
    logits = decoder(torch.randn(1, 5, 2, 2), torch.randn(1, 3))
    torch.testing.assert_close(logits.softmax(1)[0, :, 0, 0], wanted)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("samples", "size"), [(1, (6, 8)), (5, (6, 8)), (3, (90, 100))])
def test_samples_without_gradients_equal_those_with(layers, samples, size):
    decoder = FComb(5, 3, 4, features=7, layers=layers)
    features, z = torch.randn(2, 5, *size), torch.randn(samples, 2, 3)
    one_by_one = torch.stack([concatenating(decoder, 3)(features, one) for one in z])
    with torch.no_grad():
        for memory_format in (torch.contiguous_format, torch.channels_last):
            found = decoder(features.contiguous(memory_format=memory_format), z)
            torch.testing.assert_close(found, one_by_one)


def test_samples_without_gradients_are_of_the_decoder_s_precision():
    features, z = torch.randn(2, 5, 6, 8).double(), torch.randn(3, 2, 3).double()
    decoder = FComb(5, 3, 2).double()
    with torch.no_grad():
        found = decoder(features, z)
    torch.testing.assert_close(found, decoder(features, z), rtol=1e-12, atol=1e-12)


def test_samples_under_bf16_are_decoded_in_single_precision():
    decoder = FComb(5, 3, 2)
    features, z = torch.randn(2, 5, 6, 8), torch.randn(3, 2, 3)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = decoder(features, z)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, decoder(features, z), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("samples", "size"), [(1, (6, 8)), (5, (6, 8)), (6, (33, 41))])
def test_gradients_of_many_samples_equal_those_of_one_by_one(layers, samples, size):
    """In double precision, as a sum over some thousand pixels in single depends on the machine."""
    decoder = FComb(5, 3, 4, features=7, layers=layers).double()
    features, z = torch.randn(2, 5, *size).double(), torch.randn(samples, 2, 3).double()
    features, z = (
        tensor.requires_grad_() for tensor in (features.to(memory_format=torch.channels_last), z)
    )
    weight = torch.randn(samples, 2, 4, *size).double()
    inputs = (features, z, *decoder.parameters())
    found = torch.autograd.grad((decoder(features, z) * weight).sum(), inputs)
    alone = torch.stack([decoder(features, one) for one in z])
    expected = torch.autograd.grad((alone * weight).sum(), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_of_many_samples_by_finite_differences():
    decoder = FComb(3, 2, 2, features=4, layers=3).double()
    features = torch.randn(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    z = torch.randn(5, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(decoder, (features, z))


def test_gradients_of_a_bf16_decoder_are_of_its_type():
    decoder = FComb(5, 3, 2).bfloat16()
    features = torch.randn(2, 5, 6, 8).bfloat16().requires_grad_()
    decoder(features, torch.randn(3, 2, 3).bfloat16()).float().square().mean().backward()
    assert all(p.grad.dtype == torch.bfloat16 for p in (features, *decoder.parameters()))
