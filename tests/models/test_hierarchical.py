"""Hierarchical models: the bound, what samples share, and what conditions what."""

import pytest
import torch
from hierarchical_models import (
    HIERARCHICAL,
    NET,
    PYRAMID,
    WITH_PYRAMID,
    small_hierarchical,
)
from small_models import batch, generator, shaken, total
from torch import nn
from torch.distributions import kl_divergence
from torch.nn import functional

import probseg
from probseg.datasets.views import subset
from probseg.errors import ExportError, InputError, OptionError
from probseg.models import hierarchical_sampling
from probseg.models.hierarchical_decoder import DecoderLevel, LatentHead, as_map
from probseg.sharing.export import to_program
from probseg.training.settings import TrainingSettings
from probseg.training.term_weights import TermWeights
from probseg.utils.tensors import one_hot


def model_of(name="hierarchical", **options):
    return shaken(small_hierarchical(name, **options), 0.1).eval()


@pytest.mark.parametrize("block", ["plain", "residual"])
@pytest.mark.parametrize("latent", [0, 2])
@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_level_is_a_convolution_of_the_concatenation_and_a_block(block, latent, norm):
    level = shaken(DecoderLevel(3, 5, latent, block=block, depth=2, norm=norm)).double().eval()
    skip, below, z = (torch.randn(2, n, *size).double() for n, size in level_sizes(latent))
    coarse = torch.cat([below, z], dim=1)
    upsampled = functional.interpolate(coarse, scale_factor=2, mode="nearest")
    wanted = level.block(level.convolution(torch.cat([skip, upsampled], dim=1)))
    torch.testing.assert_close(level(skip, below, z if latent else None), wanted)
    if latent:
        shares = level.of_skip(skip) + level.of_coarse(below) + level.of_latent(z)
        torch.testing.assert_close(level.finish(shares), wanted)


def level_sizes(latent):
    return (3, (8, 12)), (5, (4, 6)), (latent, (4, 6))


def test_the_scale_of_a_latent_is_bounded():
    head = shaken(LatentHead(3, 2, 1.5), 100.0)
    density = head(1e6 * torch.randn(4, 3, 2, 5))
    assert density.batch_shape == (4,) and density.event_shape == (20,)
    logs = density.stddev.log()
    assert logs.abs().max() <= 1.5 + 1e-5 and logs.std() > 0.5


def test_with_one_scale_the_loss_is_the_bound_of_the_punet():
    model, (image, label) = model_of(scales=1), batch()
    terms = model.loss(image, label, generator=generator())
    assert terms.keys() == {"cross_entropy", "kl_0"}
    ((q, p),) = model.latents(image, label)
    assert q.event_shape == (4,)  # 2 x 2 positions of the coarsest level
    torch.testing.assert_close(terms["kl_0"], kl_divergence(q, p).mean())
    mean, scale = q.mean, q.stddev
    noise = torch.randn(mean.shape, generator=generator())
    wanted = decoded(model, image, [mean + scale * noise])
    cross_entropy = functional.cross_entropy(wanted, label, reduction="none").sum((1, 2)).mean()
    torch.testing.assert_close(terms["cross_entropy"], cross_entropy)


def decoded(model, image, latents):
    """The logits of given latents, through plain concatenations."""
    features = model.pyramid(image)
    top = features[-1]
    for index, (level, skip) in enumerate(zip(model.decoder.levels, features[-2::-1], strict=True)):
        given = [as_map(latents[index], top)] if index < len(latents) else []
        coarse = torch.cat([top, *given], dim=1)
        upsampled = functional.interpolate(coarse, scale_factor=2, mode="nearest")
        top = level.block(level.convolution(torch.cat([skip, upsampled], dim=1)))
    return model.logits(top)


@pytest.mark.parametrize("name", WITH_PYRAMID)
@pytest.mark.parametrize("latent_channels", [1, 3])
def test_samples_are_those_of_single_passes_with_the_same_noise(name, latent_channels):
    model, (image, _) = model_of(name, latent_channels=latent_channels), batch()
    samples = model.sample(image, 3, generator=generator())
    sizes = [latent_channels * positions for positions in (4, 16, 64)]
    noise = torch.randn(3, 2, sum(sizes), generator=generator())
    for sample, one in zip(samples, noise, strict=True):
        latents, top, features = [], None, model.pyramid(image)
        top = features[-1]
        for scale, given in enumerate(one.split(sizes, dim=-1)):
            prior = model.decoder.heads[scale](top)
            latents.append(prior.mean + prior.stddev * given)
            top = model.decoder.up(scale, features, top, as_map(latents[-1], top))
        wanted = decoded(model, image, latents).softmax(1)
        torch.testing.assert_close(sample, wanted, atol=1e-5, rtol=1e-4)


def test_memory_is_bounded_and_samples_do_not_depend_on_it(monkeypatch):
    model, image = model_of(), torch.randn(2, 1, 13, 21)
    wanted = model.sample(image, 7, generator=generator())
    assert wanted.shape == (7, 2, 2, 13, 21)
    decoded_at_once = []
    monkeypatch.setitem(hierarchical_sampling.AT_ONCE, "cpu", 3 * 2 * 4 * 16 * 24 * 4)
    model.logits.register_forward_hook(lambda m, given, out: decoded_at_once.append(len(out) // 2))
    found = model.sample(image, 7, generator=generator())
    assert decoded_at_once == [3, 3, 1]
    torch.testing.assert_close(found, wanted)


def test_features_of_an_image_are_computed_once_for_all_samples():
    model, calls = model_of(), []
    model.pyramid.register_forward_hook(lambda *_: calls.append(1))
    model.posterior_pyramid.register_forward_hook(lambda *_: calls.append(2))
    model.sample(batch()[0], 9)
    assert calls == [1]


def test_fine_latents_are_conditioned_on_coarse_ones_of_the_posterior():
    model, (image, label) = model_of(), batch()
    first, second = (model.latents(image, label, generator=generator(seed)) for seed in (1, 2))
    assert [pair.p.event_shape.numel() for pair in first] == [4, 16, 64]
    for one, other in zip(first[0], second[0], strict=True):
        torch.testing.assert_close(one.mean, other.mean)  # nothing is below the coarsest
    for scale in (1, 2):
        for one, other in zip(first[scale], second[scale], strict=True):
            assert (one.mean - other.mean).abs().max() > 1e-4
    noise = torch.randn(2, 4, generator=generator(1))
    coarse = first[0].q.mean + first[0].q.stddev * noise
    features = model.pyramid(image)
    top = model.decoder.up(0, features, features[-1], as_map(coarse, features[-1]))
    torch.testing.assert_close(first[1].p.mean, model.decoder.heads[1](top).mean)


def test_the_posterior_sees_the_label_and_the_prior_does_not():
    model, (image, label) = model_of(), batch()
    pairs, others = model.latents(image, label)[0], model.latents(image, 1 - label)[0]
    assert (pairs.q.mean - others.q.mean).abs().max() > 1e-4
    torch.testing.assert_close(pairs.p.mean, others.p.mean)


def test_the_kl_of_each_scale_has_its_own_weight():
    model, (image, label) = model_of(beta=[1.0, 0.0, 3.0]), batch()
    terms = model.loss(image, label, generator=generator())
    assert list(terms) == ["cross_entropy", "kl_0", "kl_2"]
    pairs = model.latents(image, label, generator=generator())
    for scale, weight in ((0, 1.0), (2, 3.0)):
        wanted = weight * kl_divergence(*pairs[scale]).mean()
        torch.testing.assert_close(terms[f"kl_{scale}"], wanted)
    annealed = TermWeights.of(TrainingSettings(max_steps=4, annealing=10), model)
    assert annealed.weights(0, terms) == {"kl_0": 0.1, "kl_2": 0.1}


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_pixels_that_nobody_labelled_count_for_nothing(name):
    model, (image, label) = model_of(name), batch()
    hidden = torch.rand(label.shape) < 0.3
    losses = [
        model.loss(image, label.masked_fill(hidden, v), ignore_index=v, generator=generator())
        for v in (255, -1)
    ]
    for term, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][term])
    everywhere = model.loss(image, torch.full_like(label, 255), ignore_index=255)
    assert everywhere["cross_entropy"] == 0
    soft = one_hot(label, 2).float().masked_fill(hidden[:, None], 255)
    of_soft = model.loss(image, soft, ignore_index=255, generator=generator())
    torch.testing.assert_close(total(of_soft), total(losses[0]))


def test_the_hardest_pixels():
    model, (image, label) = model_of(top_k=0.02), batch()
    assert model.cross_entropy.pixels(16, 16) == 6
    states = torch.get_rng_state()
    terms = [model.loss(image, label, generator=generator()) for _ in range(2)]
    assert torch.equal(terms[0]["cross_entropy"], terms[1]["cross_entropy"])
    assert torch.equal(states, torch.get_rng_state())
    assert terms[0]["cross_entropy"] < model_of().loss(image, label)["cross_entropy"]


def test_class_frequencies_are_the_first_bias():
    bias = small_hierarchical(class_prior=[3, 1]).logits.bias
    torch.testing.assert_close(bias, torch.tensor([0.75, 0.25]).log())


class Seen:
    """A divergence that remembers the densities it was given."""

    def __init__(self):
        self.pairs = []

    def __call__(self, q, p):
        self.pairs.append((q, p))
        return torch.full(q.batch_shape, 2.0)


def test_projected_densities_of_each_scale_are_compared_with_their_own_weight():
    seen, (image, label) = Seen(), batch()
    model = model_of("hierarchical-csae", divergence=seen, gamma=[1.0, 2.0, 3.0])
    terms = model.loss(image, label, generator=generator())
    assert [float(terms[f"divergence_{scale}"]) for scale in range(3)] == [2.0, 4.0, 6.0]
    base = model.latents(image, label, generator=generator())
    for (q, p), pair in zip(seen.pairs, base, strict=True):
        for projected, of in ((q, pair.q), (p, pair.p)):
            torch.testing.assert_close(projected.base_dist.mean, of.mean)
    features = model.pyramid(image)
    context = features[-1].mean((2, 3))
    z = base[0].q.mean + base[0].q.stddev * torch.randn(2, 4, generator=generator())
    wanted, _ = model.projectors[0].transform(z, context)
    assert (wanted - z).abs().max() > 1e-3
    top = model.decoder.up(0, features, features[-1], as_map(wanted, features[-1]))
    torch.testing.assert_close(base[1].p.mean, model.decoder.heads[1](top).mean)


@pytest.mark.parametrize("shape", [(13, 21), (32, 16)])
def test_images_of_any_size_are_sampled_without_the_flows(shape):
    model = model_of("hierarchical-csae")
    bare = probseg.build(**{**model.spec, "projector": "identity"}).eval()
    bare.load_state_dict(model.state_dict(), strict=False)
    image = torch.randn(2, 1, *shape)
    samples = [one.sample(image, 3, generator=generator()) for one in (model, bare)]
    assert torch.equal(*samples) and bare.image_size is None


def test_an_image_of_another_size_is_refused_with_a_remedy_that_works():
    model = model_of("hierarchical-csae", image_size=[16, 24])
    image, label = batch(2, 24, 32)
    for call in (model.loss, model.reconstruct, model.latents):
        with pytest.raises(InputError, match=r"of 16 x 24 pixels, and these have 24 x 32") as told:
            call(image, label)
    assert "build it with image_size=[24, 32]" in str(told.value)
    again = probseg.build(**{**model.spec, "image_size": [24, 32]})
    assert total(again.loss(image, label)).isfinite()
    assert total(model.loss(*batch(2, 15, 20))).isfinite()  # as many latents once padded


def test_the_size_is_that_of_the_data():
    data = probseg.datasets.create("ambiguous-shapes", samples=4, size=24)
    small = {"pyramid": PYRAMID, "scales": 3}
    model = probseg.build("hierarchical-csae", like=data, **small)
    assert model.image_size == (24, 24) and model.spec["image_size"] == [24, 24]
    given = probseg.build("hierarchical-csae", like=subset(data, [0]), image_size=16, **small)
    assert given.image_size == (16, 16)
    assert probseg.build("punet", like=data).in_channels == data.channels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": 4}, "scales=4 latents need a pyramid of 5 levels.*pass scales=3"),
        ({"scales": 0}, "scales must be an integer of at least 1"),
        ({"beta": [1.0]}, "must be a number, or 3 numbers"),
        ({"beta": -1.0}, "beta must be a non-negative"),
        ({"gamma": 2.0}, "gamma=2.0 has no divergence"),
        ({"divergence": "sinkhorn"}, "would not be used, since the weight is gamma=0"),
        ({"projector": "planar"}, "pass image_size, such as image_size=64"),
        ({"projector": nn.Identity()}, "3 projectors.*one ready object"),
        ({"projector": "planar", "image_size": [16]}, r"a number or \[H, W\]"),
        ({"projector": "planar", "image_size": 0}, "image_size must be an integer"),
        ({"pyramid": nn.Identity()}, "two pyramids"),
        ({"pyramid": {"name": "unet", "width": 4}}, "pyramid 'unet' has no option 'width'"),
        ({"pyramid": {"prior": PYRAMID, "posterior": "unet"}}, "4 levels and the posterior's 7"),
        ({"block": "dense"}, "block must be one of 'plain', 'residual'"),
        ({"depth": 0}, "depth must be an integer"),
        ({"norm": "layer"}, "norm must be one of"),
        ({"log_scale_bound": 0.0}, "log_scale_bound must be a positive"),
        ({"top_k": 2.0}, "top_k is a share"),
        ({"backbone": "unet"}, "has no option 'backbone'"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(OptionError, match=message):
        small_hierarchical(**options)


def test_two_pyramids_of_one_depth():
    wide = {**PYRAMID, "channels": [5, 5, 5, 5]}
    model = small_hierarchical(pyramid={"prior": PYRAMID, "posterior": wide})
    assert model.spec["pyramid"]["posterior"]["channels"] == [5, 5, 5, 5]
    assert total(model.loss(*batch())).isfinite()
    again = probseg.build(**model.spec)
    again.load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", WITH_PYRAMID)
def test_what_needs_one_latent_vector_is_refused(name):
    model = model_of(name)
    with pytest.raises(InputError, match=r"cannot be sampled in tiles.*leave tile out"):
        model.sample(torch.rand(1, 1, 32, 32), 1, tile=16)
    with pytest.raises(InputError, match=r"add a batch axis with image\[None\]"):
        model.sample(torch.rand(1, 32, 32), 1, tile=16)
    with pytest.raises(ExportError, match="only latent-variable models have a sampler"):
        to_program(model)
    for absent in ("prior", "posterior", "decode", "densities"):
        assert not hasattr(model, absent)


def test_half_precision_as_a_whole_and_by_autocast():
    model, (image, label) = model_of("hierarchical-csae"), batch()
    with torch.autocast("cpu", torch.bfloat16):
        pairs, terms = model.latents(image, label), model.loss(image, label)
    assert all(one.mean.dtype == torch.float32 for pair in pairs for one in pair)
    assert total(terms).isfinite()
    narrow = model.bfloat16()
    assert narrow.sample(image.bfloat16(), 2).dtype == torch.float32
    assert narrow.double().sample(image.double(), 2).dtype == torch.float64


@pytest.mark.slow
@pytest.mark.parametrize("pyramid", ["residual", "smp"])
def test_published_pyramids(pyramid):
    model = probseg.build("hierarchical", pyramid=pyramid, block="residual", norm="batch")
    image, label = batch(2, 64, 64)
    total(model.loss(image, label)).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model.eval().sample(image, 2).isfinite().all()


def test_the_default_has_few_latents_at_the_coarse_scales():
    model = probseg.build("hierarchical-csae")
    assert model.image_size == (64, 64) and len(NET["channels"]) == 4
    image = torch.randn(1, 1, 64, 64)
    pairs = model.latents(image, torch.zeros(1, 64, 64).long())
    assert [pair.q.event_shape.numel() for pair in pairs] == [1, 4, 16, 64]


def test_a_pyramid_with_normalisation_may_end_in_one_pixel_of_small_images():
    pyramid = {"name": "unet", "channels": [4] * 7, "convolutions": 1, "norm": "instance"}
    model = probseg.build("hierarchical", pyramid=pyramid, depth=1)
    terms = model.loss(torch.rand(1, 1, 128, 128), torch.zeros(1, 128, 128, dtype=torch.long))
    assert all(term.isfinite() for term in terms.values())
