"""The published models against formulas written by hand, and whatever users do to them."""

import math

import pytest
import torch
from geomloss import SamplesLoss
from scipy.optimize import linear_sum_assignment
from small_models import RECIPES, batch, generator, shaken, small, total
from torch.nn import functional

import probseg
from probseg.interfaces import LatentModel, Model
from probseg.models.deterministic import DeterministicModel

ALL = (*RECIPES, "deterministic")


def decoded(model, run):
    """Return what ``run`` gives, and the latent sample and the logits that it decoded."""
    seen = []
    handle = model.decoder.register_forward_hook(lambda _, given, out: seen.append((given[1], out)))
    try:
        return run(), *seen[-1]
    finally:
        handle.remove()


def gaussian_kl(q, p):
    m, s, n, t = q.base_dist.loc, q.base_dist.scale, p.base_dist.loc, p.base_dist.scale
    return ((t / s).log() + (s.square() + (m - n).square()) / (2 * t.square()) - 0.5).sum(-1)


def cross_entropy_by_hand(logits, label):
    log_probabilities = logits - logits.exp().sum(1, keepdim=True).log()
    images = []
    for scores, classes in zip(log_probabilities, label, strict=True):
        rows, columns = torch.meshgrid(*map(torch.arange, classes.shape), indexing="ij")
        images.append(-scores[classes, rows, columns].sum())
    return torch.stack(images).mean()


def own_samples(model, image, label, seed):
    """Draw as the loss does: one sample to decode, then the clouds of posterior and prior."""
    base, projected = model.densities(image, label)
    torch.manual_seed(seed)
    z = projected.q.rsample()
    return base, z, projected.q.rsample((16,)), projected.p.rsample((16,))


# What the loss is made of


@pytest.mark.parametrize("name", RECIPES)
def test_cross_entropy_is_summed_over_pixels_and_averaged_over_the_batch(name):
    model, (image, label) = small(name, classes=3), batch(3, 10, 14, classes=3)
    terms, _, logits = decoded(model, lambda: model.loss(image, label))
    torch.testing.assert_close(
        terms["cross_entropy"], cross_entropy_by_hand(logits[..., :10, :14], label)
    )


def test_the_mean_over_pixels_is_the_other_reduction():
    model, (image, label) = small("punet", reduction="pixel-mean"), batch(2, 8, 12)
    terms, _, logits = decoded(model, lambda: model.loss(image, label))
    wanted = cross_entropy_by_hand(logits, label) / (8 * 12)
    torch.testing.assert_close(terms["cross_entropy"], wanted)


@pytest.mark.parametrize("name", RECIPES)
def test_doubling_the_sides_quadruples_the_cross_entropy_only(name):
    model = small(name, latent_dim=2)
    terms = []
    for side in (128, 256):
        image = torch.full((1, 1, side, side), 0.7)
        label = torch.ones(1, side, side, dtype=torch.long)
        with torch.no_grad():
            terms.append(model.loss(image, label, generator=generator()))
    small_image, large_image = terms
    ratio = large_image["cross_entropy"] / small_image["cross_entropy"]
    assert float(ratio) == pytest.approx(4, rel=0.05)
    for key in small_image.keys() - {"cross_entropy"}:
        assert float(large_image[key]) == pytest.approx(float(small_image[key]), rel=0.1, abs=0.05)


def test_punet_is_cross_entropy_and_analytic_kl():
    model, (image, label) = shaken(small("punet", beta=3.0), 0.1), batch(3)
    terms, z, _ = decoded(model, lambda: model.loss(image, label, generator=generator()))
    q, p = model.posterior(image, label), model.prior(image)
    assert terms.keys() == {"cross_entropy", "kl"}
    torch.testing.assert_close(terms["kl"], 3.0 * gaussian_kl(q, p).mean())
    assert ((z - q.base_dist.loc) / q.base_dist.scale).abs().max() < 5  # drawn from q


def test_2p_planar_is_cross_entropy_and_the_kl_of_the_flow():
    model, (image, label) = small("2p-planar", beta=3.0), batch(3)
    shaken(model.posterior_projector)
    torch.manual_seed(1)
    terms, z, _ = decoded(model, lambda: model.loss(image, label))
    assert terms.keys() == {"cross_entropy", "kl"}
    base, projected = model.densities(image, label)
    assert projected.p is base.p and projected.q is not base.q
    # by hand: one sample is decoded, the next one is penalised
    torch.manual_seed(1)
    z0, z1 = base.q.rsample(), base.q.rsample()
    step = projected.q.transforms[0]
    torch.testing.assert_close(z, step(z0))
    zk = step(z1)
    log_det = step.log_abs_det_jacobian(z1, zk)
    wanted = (base.q.log_prob(z1) - log_det - base.p.log_prob(zk)).mean()
    torch.testing.assert_close(terms["kl"], 3.0 * wanted)


def test_csae_is_cross_entropy_analytic_kl_and_sinkhorn():
    model, (image, label) = small("csae", beta=3.0, gamma=5.0), batch(3)
    shaken(model.posterior_projector)
    torch.manual_seed(1)
    terms, z, _ = decoded(model, lambda: model.loss(image, label))
    base, wanted_z, x, y = own_samples(model, image, label, seed=1)
    assert terms.keys() == {"cross_entropy", "kl", "divergence"}
    torch.testing.assert_close(z, wanted_z)
    torch.testing.assert_close(terms["kl"], 3.0 * gaussian_kl(base.q, base.p).mean())
    sinkhorn = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, diameter=100)
    images = [sinkhorn(x[:, i].contiguous(), y[:, i].contiguous()) for i in range(3)]
    torch.testing.assert_close(terms["divergence"], 5.0 * torch.stack(images).mean(), rtol=1e-4,
                               atol=1e-4)  # fmt: skip


def test_csae_with_exact_transport():
    model, (image, label) = small("csae", divergence="exact-ot", gamma=5.0), batch(3)
    torch.manual_seed(1)
    terms = model.loss(image, label)
    _, _, x, y = own_samples(model, image, label, seed=1)
    images = []
    for i in range(3):
        cost = (x[:, None, i] - y[None, :, i]).square().sum(-1).detach() / 2
        images.append(cost[linear_sum_assignment(cost)].mean())
    torch.testing.assert_close(terms["divergence"].detach(), 5.0 * torch.stack(images).mean())


@pytest.mark.parametrize(("option", "term"), [("beta", "kl"), ("gamma", "divergence")])
def test_weights_scale_their_term_and_no_other(option, term):
    image, label = batch()
    light, heavy = small("csae", **{option: 0.5}), small("csae", **{option: 2.0})
    heavy.load_state_dict(light.state_dict())
    first, second = (m.loss(image, label, generator=generator()) for m in (light, heavy))
    for key in first:
        factor = 4.0 if key == term else 1.0
        torch.testing.assert_close(second[key], factor * first[key])


def test_a_weight_of_zero_leaves_the_term_out():
    image, label = batch()
    assert small("csae", gamma=0.0).loss(image, label).keys() == {"cross_entropy", "kl"}
    assert small("csae", beta=0.0).loss(image, label).keys() == {"cross_entropy", "divergence"}
    bare = small("csae", beta=0.0, gamma=0.0, divergence=None)
    assert bare.loss(image, label).keys() == {"cross_entropy"}


def test_the_kl_may_lie_on_the_projected_space_of_both():
    """One flow for both, so the KL is that of the base densities, estimated."""
    kl = {"name": "kl", "samples": 4000}
    model = small("csae", kl=kl, kl_on="projected", beta=1.0, gamma=0.0, divergence=None)
    shaken(model.posterior_projector, 0.2)
    image, label = batch(1, 8, 8)
    with torch.no_grad():
        found = model.loss(image, label)["kl"]
    base, _ = model.densities(image, label)
    assert float(found) == pytest.approx(gaussian_kl(*base).item(), rel=0.1)


def test_every_network_but_an_unread_one_learns():
    for name in ALL:
        model, (image, label) = small(name), batch()
        total(model(image, label)).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# Where the flow's context comes from


@pytest.mark.parametrize(
    ("flow_context", "leaks"), [("image", False), ("own", True), ("posterior", True)]
)
@pytest.mark.parametrize("shared", [True, False])
def test_the_label_passes_through_the_flow_unless_its_context_is_the_image(
    flow_context, leaks, shared
):
    """With base densities that know no label, only the flow can carry it to the projection."""
    model = small("csae", flow_context=flow_context, shared_flow=shared)
    shaken(model.posterior_projector)
    for encoder in (model.prior_encoder, model.posterior_encoder):
        torch.nn.init.zeros_(encoder.head.weight)
        torch.nn.init.zeros_(encoder.head.bias)
    image, label = batch()
    draws = []
    for labels in (label, 1 - label):
        base, projected = model.densities(image, labels)
        assert torch.equal(base.q.mean, base.p.mean)
        torch.manual_seed(1)
        draws.append((projected.q.sample(), projected.p.sample()))
    (q1, p1), (q2, p2) = draws
    assert torch.equal(q1, q2) is not leaks
    assert torch.equal(p1, p2) is (flow_context != "posterior")
    if shared and flow_context != "own":
        torch.testing.assert_close(q1, _again(model, image, label))


def _again(model, image, label):
    """A shared flow with a shared context projects equal base densities to equal ones."""
    torch.manual_seed(1)
    return model.densities(image, label)[1].p.sample()


def test_2p_planar_s_prior_is_not_projected():
    model = small("2p-planar")
    assert model.flow_context == "posterior"
    base, projected = model.densities(*batch())
    assert projected.p is base.p


def test_the_posterior_sees_the_label_and_the_prior_does_not():
    model, (image, label) = small("punet"), batch()
    assert not torch.equal(
        model.posterior(image, label).mean, model.posterior(image, 1 - label).mean
    )
    assert model.posterior_encoder.blocks[0][0].in_channels == 1 + 2
    seen = []
    model.posterior_encoder.register_forward_hook(lambda _, given, out: seen.append(given[0]))
    model.posterior(image, label)
    torch.testing.assert_close(seen[0][:, 1:], torch.stack([0.5 - label, label - 0.5], dim=1))
    torch.testing.assert_close(seen[0][:, :1], image)


# Samples


@pytest.mark.parametrize("name", RECIPES)
def test_sampling_ignores_the_projectors(name):
    model, (image, _) = small(name), batch()
    before = model.sample(image, 4, generator=generator())
    shaken(model.prior_projector)
    shaken(model.posterior_projector)
    assert torch.equal(model.sample(image, 4, generator=generator()), before)


def test_samples_decode_the_base_prior():
    model, (image, _) = small("csae"), batch()
    with torch.no_grad():
        p = model.prior(image)
    torch.manual_seed(1)
    samples, z, logits = decoded(model, lambda: model.sample(image, 4))
    torch.manual_seed(1)
    torch.testing.assert_close(z, p.sample((4,)))
    torch.testing.assert_close(samples, logits.exp() / logits.exp().sum(2, keepdim=True))


def test_samples_of_the_projected_prior_decode_f_of_z():
    model, (image, _) = small("csae"), batch()
    shaken(model.prior_projector)
    torch.manual_seed(1)
    _, z, _ = decoded(model, lambda: model.sample(image, 4, projected=True))
    with torch.no_grad():
        p, context = model.prior_encoder(image)
    torch.manual_seed(1)
    wanted = model.prior_projector.transform(p.sample((4,)).flatten(0, 1), context.repeat(4, 1))[0]
    torch.testing.assert_close(z.flatten(0, 1), wanted.detach())


def test_reconstruct_decodes_the_projected_posterior():
    model, (image, label) = small("csae", classes=3), batch(2, 9, 7, classes=3)
    shaken(model.posterior_projector)
    torch.manual_seed(1)
    found, z, logits = decoded(model, lambda: model.reconstruct(image, label))
    _, wanted, _, _ = own_samples(model, image, label, seed=1)
    torch.testing.assert_close(z, wanted.detach())
    assert found.shape == (2, 3, 9, 7) and not found.requires_grad
    torch.testing.assert_close(found, logits[..., :9, :7].softmax(1))


@pytest.mark.parametrize("name", ALL)
def test_equal_generators_give_equal_results_and_the_global_state_is_left_alone(name):
    model, (image, label) = small(name), batch()
    before = torch.get_rng_state()
    first, second = (model.sample(image, 3, generator=generator()) for _ in range(2))
    assert torch.equal(first, second)
    first, second = (model.loss(image, label, generator=generator()) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    if name != "deterministic":
        first, second = (model.reconstruct(image, label, generator=generator()) for _ in range(2))
        assert torch.equal(first, second)
        other = model.sample(image, 3, generator=generator(4))
        assert not torch.equal(other, model.sample(image, 3, generator=generator()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", RECIPES)
def test_the_models_follow_the_protocols(name):
    model = small(name)
    assert isinstance(model, Model) and isinstance(model, LatentModel)
    assert not isinstance(small("deterministic"), LatentModel)
    density = model.prior(batch()[0])
    assert (density.batch_shape, density.event_shape) == ((2,), (6,))


# Any size, type and number


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("count", "height", "width", "channels", "classes"),
    [(1, 1, 1, 1, 2), (1, 16, 16, 1, 2), (2, 7, 13, 4, 5), (3, 1, 9, 2, 3)],
)
def test_any_size_and_number(name, count, height, width, channels, classes):
    model = small(name, in_channels=channels, classes=classes)
    image, label = batch(count, height, width, channels=channels, classes=classes)
    total(model.loss(image, label)).backward()
    samples = model.sample(image, 3)
    assert samples.shape == (3, count, classes, height, width)
    torch.testing.assert_close(samples.sum(2), torch.ones(3, count, height, width))
    assert (samples >= 0).all() and not samples.requires_grad


@pytest.mark.parametrize("latent_dim", [1, 2, 11])
def test_any_latent_dimension(latent_dim):
    model, (image, label) = small("csae", latent_dim=latent_dim), batch()
    assert model.prior(image).event_shape == (latent_dim,) == (model.latent_dim,)
    assert all(term.isfinite() for term in model.loss(image, label).values())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_any_floating_type(name, dtype):
    model, (image, label) = small(name).to(dtype), batch(2, 9, 9)
    for given in (image, image.to(dtype), image.double()):
        terms = model.loss(given, label)
        total(terms).backward()
        assert all(term.isfinite() for term in terms.values())
        samples = model.sample(given, 2)
        torch.testing.assert_close(samples.float().sum(2), torch.ones(2, 2, 9, 9))
        assert samples.dtype in (torch.float32, torch.float64)


def test_double_precision_agrees_with_single():
    model, (image, _) = small("csae"), batch()
    p = model.prior(image).base_dist
    single = p.loc.clone(), p.scale.clone()
    p = model.double().prior(image.double()).base_dist
    assert p.loc.dtype == torch.float64
    torch.testing.assert_close(p.loc.float(), single[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(p.scale.float(), single[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("given", [torch.float32, torch.float64, torch.bfloat16])
def test_autocast(name, given):
    model, (image, label) = small(name), batch(2, 9, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = model.loss(image.to(given), label)
        samples = model.sample(image.to(given), 2)
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    total(terms).backward()
    assert samples.dtype == torch.float32
    torch.testing.assert_close(samples.sum(2), torch.ones(2, 2, 9, 9))
    if name != "deterministic":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model.prior(image).base_dist.scale
        torch.testing.assert_close(found, model.prior(image).base_dist.scale, rtol=0.05, atol=0.05)


# What users do to models


def hostile(kind):
    image, label = batch(2, 16, 16)
    return {
        "large": image * 1e6,
        "constant": torch.full_like(image, 1e3),
        "zero": torch.zeros_like(image),
        "one pixel": functional.pad(torch.full((2, 1, 1, 1), 1e6), (8, 7, 8, 7)),
    }[kind], label


# it warns of the very scales that are tried here
@pytest.mark.filterwarnings("ignore::probseg.utils.model_inputs.ScaleWarning")
@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", ["large", "constant", "zero", "one pixel"])
def test_hostile_images_do_not_break_training(name, kind):
    model, (image, label) = small(name), hostile(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        loss = total(model.loss(image, label))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
        optimizer.step()
        assert loss.isfinite()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert model.sample(image, 2).isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_one_batch_is_learned_by_heart(name):
    model = small(name, **({} if name == "deterministic" else {"beta": 1.0}))
    label = torch.zeros(2, 8, 8, dtype=torch.long)
    label[0, 2:6, 2:6] = label[1, :, 5:] = 1
    image = 0.5 * torch.randn(2, 1, 8, 8) + label[:, None]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        total(model.loss(image, label)).backward()
        optimizer.step()
    found = model.sample(image, 3).argmax(2)
    assert (found == label).float().mean() > 0.95


def test_the_deterministic_baseline_is_a_softmax_of_one_network():
    model = small("deterministic", classes=3, class_prior=(0.8, 0.1, 0.1))
    assert isinstance(model, DeterministicModel)
    image, label = batch(2, 8, 8, classes=3)
    logits = model.logits(model.backbone(image))
    samples = model.sample(image, 4)
    torch.testing.assert_close(samples, logits.softmax(1).expand(4, -1, -1, -1, -1).detach())
    terms = model.loss(image, label)
    assert terms.keys() == {"cross_entropy"}
    torch.testing.assert_close(terms["cross_entropy"], cross_entropy_by_hand(logits, label))
    torch.testing.assert_close(model.logits.bias.softmax(0), torch.tensor([0.8, 0.1, 0.1]))


def test_the_class_prior_starts_the_cross_entropy_at_the_entropy():
    """With no other weight in the last layer, CE a pixel is -log of the class's frequency."""
    decoder = {"name": "fcomb", "class_prior": [0.9, 0.1]}
    model, (image, label) = small("punet", decoder=decoder), batch(1, 8, 8)
    torch.nn.init.zeros_(model.decoder.logits.weight)
    found = model.loss(image, torch.ones_like(label))["cross_entropy"].item()
    assert found == pytest.approx(-64 * math.log(0.1), rel=1e-5)


class Noisy(torch.nn.Module):
    """A backbone of somebody's, which draws in evaluation mode too."""

    def __init__(self, network):
        super().__init__()
        self.network, self.stride, self.out_channels = network, 1, network.out_channels

    def forward(self, image):
        return functional.dropout(self.network(image), 0.5, training=True)


def test_networks_that_draw_in_evaluation_mode_follow_the_generator():
    model, (image, _) = small("punet").eval(), batch(2, 8, 8)
    model.backbone = Noisy(model.backbone)
    before = torch.get_rng_state()
    samples = [model.sample(image, 2, generator=generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(samples[0], samples[1]) and not torch.equal(samples[0], samples[2])
    assert torch.equal(torch.get_rng_state(), before)


KL = {"divergence": "kl", "weight": 10.0, "on": "base"}
TRANSPORT = {"divergence": {"name": "sinkhorn", "samples": 4}, "weight": 10.0, "on": "projected"}


def test_penalties_say_what_beta_and_gamma_say():
    image, label = torch.rand(2, 1, 16, 16), torch.zeros(2, 16, 16).long()
    losses = []
    for options in (
        {"penalties": {"kl": KL, "divergence": TRANSPORT}},
        {"beta": 10.0, "gamma": 10.0, "divergence": TRANSPORT["divergence"]},
    ):
        torch.manual_seed(0)
        model = probseg.build("csae", **options)
        losses.append(model.loss(image, label, generator=torch.Generator().manual_seed(1)))
    assert losses[0].keys() == losses[1].keys() == {"cross_entropy", "kl", "divergence"}
    for name, value in losses[0].items():
        assert torch.equal(value, losses[1][name])


def test_any_number_of_penalties_is_built_described_and_loaded(tmp_path):
    exact = {"divergence": "exact-ot", "weight": 0.5, "on": "base"}
    penalties = {"kl": KL, "ot": TRANSPORT, "third": exact}
    model = probseg.build("csae", penalties=penalties)
    terms = model.loss(torch.rand(2, 1, 16, 16), torch.zeros(2, 16, 16).long())
    assert terms.keys() == {"cross_entropy", *penalties}
    assert model.spec["penalties"]["third"]["divergence"]["name"] == "exact-ot"
    assert not {"beta", "gamma", "kl", "kl_on", "divergence"} & set(model.spec)
    model.save(tmp_path / "model.safetensors")
    again = probseg.load(tmp_path / "model.safetensors")
    assert again.spec == model.spec and again.penalties.keys() == penalties.keys()
    alone = probseg.build("csae", penalties={})
    assert alone.loss(torch.rand(2, 1, 16, 16), torch.zeros(2, 16, 16).long()).keys() == {
        "cross_entropy"
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalties": {"kl": KL}, "beta": 1.0}, "takes penalties or beta, not both"),
        ({"penalties": {"kl": {**KL, "wieght": 1}}}, r"penalties\['kl'\].*did you mean 'weight'"),
        ({"penalties": {"kl": {"divergence": "kl"}}}, "lacks on, weight"),
        ({"penalties": {"kl": {**KL, "on": "bass"}}}, "on of penalties.*did you mean 'base'"),
        ({"penalties": {"kl": {**KL, "weight": -1}}}, "the weight of penalties.*positive"),
        ({"penalties": {"kl": {**KL, "divergence": "kll"}}}, "did you mean 'kl'"),
        ({"penalties": {"cross_entropy": KL}}, "cannot be called 'cross_entropy'"),
        ({"penalties": {"kl": 3}}, "must have divergence, on, weight"),
        ({"penalties": 3}, "penalties must map names to penalties, not 3"),
    ],
)
def test_penalties_that_make_no_sense_are_named(options, message):
    with pytest.raises(
        (probseg.errors.OptionError, probseg.errors.UnknownNameError), match=message
    ):
        probseg.build("csae", **options)
