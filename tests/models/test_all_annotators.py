"""Latent models that learn from all annotators of an image at once."""

from __future__ import annotations

import pytest
import torch
from geomloss import SamplesLoss
from small_models import ENCODER, RECIPES, UNET, batch, generator, shaken, small, total
from torch import nn
from torch.distributions import MultivariateNormal
from torch.nn import functional

import probseg
from probseg.errors import InputError, OptionError

NAMES = (*RECIPES, "spu-net")
ON_ALL = {"weight": 1.0, "on": "annotators"}


def masks(count=2, annotators=4, classes=2, size=16):
    return torch.randint(classes, (count, annotators, size, size))


def everybody(name, **options):
    return small(name, all_annotators=True, **options)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    "options", [{}, {"top_k": 0.2}, {"reduction": "pixel-mean"}, {"flow_context": "own"}]
)
def test_of_one_annotator_it_is_the_loss_of_one_label(name, options):
    one, several = small(name, **options), everybody(name, **options)
    several.load_state_dict(one.state_dict())
    image, label = batch()
    label[0, 3] = 255
    given = {"ignore_index": 255}
    wanted = one.loss(image, label, generator=generator(), **given)
    found = several.loss(image, label[:, None], generator=generator(), **given)
    assert found.keys() == wanted.keys()
    for term, value in wanted.items():
        torch.testing.assert_close(found[term], value)


def test_of_one_annotator_spu_net_compares_the_projected_densities():
    one = small("punet", beta=0.0, divergence={"name": "sinkhorn", "samples": 1}, gamma=10.0)
    several = small("spu-net")
    several.load_state_dict(one.state_dict())
    image, label = batch()
    wanted = one.loss(image, label, generator=generator())
    found = several.loss(image, label[:, None], generator=generator())
    assert found.keys() == wanted.keys() == {"cross_entropy", "divergence"}
    for term, value in wanted.items():
        torch.testing.assert_close(found[term], value)


def recorded(model, run):
    """Return what ``run`` gives, the latents and logits that were decoded, and calls by network."""
    seen, calls, handles = [], {}, []
    names = ("backbone", "prior_encoder", "posterior_encoder", "decoder")
    names = {getattr(model, name): name for name in names}

    def keep(network, given, out):
        calls.setdefault(names[network], []).append(len(given[0]))
        if network is model.decoder:
            seen.append((given[1].detach(), out.detach()))

    for network in names:
        handles.append(network.register_forward_hook(keep))
    result = run()
    for handle in handles:
        handle.remove()
    return result, *seen[0], calls


@pytest.mark.parametrize("reduction", ["pixel-sum", "pixel-mean"])
def test_terms_are_means_over_those_present_and_images_count_the_same(reduction):
    model = shaken(everybody("punet", beta=3.0, reduction=reduction), 0.1)
    image, labels = batch()[0], masks()
    present = torch.tensor([[True, False, False, True], [True, True, True, True]])
    labels[~present] = 255
    terms, latent, logits, calls = recorded(
        model, lambda: model.loss(image, labels, generator=generator(), ignore_index=255)
    )
    once = {"backbone": [2], "prior_encoder": [2], "posterior_encoder": [8], "decoder": [2]}
    assert calls == once
    assert latent.shape == (4, 2, 6) and logits.shape == (4, 2, 2, 16, 16)
    entropies, divergences = [], []
    for b in range(2):
        those = [a for a in range(4) if present[b, a]]
        each = [
            functional.cross_entropy(logits[a, b][None], labels[b, a][None], reduction="sum")
            for a in those
        ]
        entropies.append(torch.stack(each).mean())
        pairs = [model.densities(image[[b]], labels[b, [a]])[0] for a in those]
        kls = [torch.distributions.kl_divergence(pair.q, pair.p)[0] for pair in pairs]
        divergences.append(torch.stack(kls).mean())
    pixels = 256 if reduction == "pixel-mean" else 1
    torch.testing.assert_close(terms["cross_entropy"], torch.stack(entropies).mean() / pixels)
    torch.testing.assert_close(terms["kl"], 3 * torch.stack(divergences).mean())


@pytest.mark.parametrize("name", NAMES)
def test_who_is_absent_changes_no_gradient(name):
    """Whatever stands where somebody is absent, also of statistics of the batch."""
    net = {"norm": "batch"}
    model = small(name, all_annotators=True, backbone={**UNET, **net}, encoder={**ENCODER, **net})
    image, labels = batch()[0], masks()
    labels[0, 1:3] = 255
    terms = model.loss(image, labels, generator=generator(), ignore_index=255)
    total(terms).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    seen = []
    handle = model.posterior_encoder.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    model.loss(image, labels, ignore_index=255)
    handle.remove()
    assert set(seen[0][:, 1:].unique().tolist()) == {-0.5, 0.5}
    assert not (seen[0][:, 1:] == -0.5).all(1).any()  # no label is empty


def test_an_image_without_any_label_is_penalised_and_not_decoded():
    model, image = everybody("punet"), batch(1)[0]
    none = torch.full((1, 3, 16, 16), 255)
    terms = model.loss(image, none, ignore_index=255, generator=generator())
    assert terms["cross_entropy"] == 0 and terms["kl"] > 0
    one = model.loss(image, none[:, :1], ignore_index=255, generator=generator())
    torch.testing.assert_close(one["kl"], terms["kl"])


def test_spu_net_is_geomloss_between_a_sample_of_each_annotator_and_as_many_of_the_prior():
    model, image, labels = shaken(small("spu-net", gamma=5.0), 0.1), batch()[0], masks()
    clouds = []
    penalty = model.penalties["divergence"].divergence
    inner = penalty._geomloss
    penalty._geomloss = lambda a, x, b, y: clouds.append((a, x, b, y)) or inner(a, x, b, y)
    penalty.solver = "geomloss"
    terms = model.loss(image, labels, generator=generator())
    ((a, x, b, y),) = clouds
    assert x.shape == y.shape == (2, 4, 6) and (a == 0.25).all() and (b == 0.25).all()
    # each image's cloud holds a sample of each of its own annotators, and no other's
    for image_of, cloud in enumerate(x.detach()):
        q = [model.posterior(image[[image_of]], labels[image_of, [k]]) for k in range(4)]
        likely = torch.stack([one.log_prob(cloud) for one in q])  # (A, n)
        assert (likely.max(0).values > -40).all()
    solve = SamplesLoss("sinkhorn", p=2, blur=0.05, scaling=0.5, diameter=100)
    wanted = torch.stack([solve(*clouds_of) for clouds_of in zip(x, y, strict=True)]).mean()
    torch.testing.assert_close(terms["divergence"], 5 * wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("divergence", ["kl", "sinkhorn", "exact-ot"])
def test_every_divergence_compares_all_annotators(name, divergence):
    model = everybody(name, penalties={"all": {"divergence": divergence, **ON_ALL}})
    labels = masks()
    labels[0, 1] = 255
    terms = model.loss(batch()[0], labels, ignore_index=255)
    total(terms).backward()
    assert terms.keys() == {"cross_entropy", "all"}
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert model.posterior_encoder.head.weight.grad.abs().sum() > 0


class Correlated(nn.Module):
    """An encoder of somebody's whose density has no closed form with a Normal."""

    context_features = 4

    def __init__(self, channels):
        super().__init__()
        self.head = nn.Linear(channels, 4)

    def forward(self, image):
        mean = self.head(image.mean((2, 3)))
        return MultivariateNormal(mean, torch.eye(4) + 0.1), mean


def test_priors_of_other_kinds_are_repeated():
    pair = {"prior": Correlated(1), "posterior": ENCODER}
    model = everybody("punet", encoder=pair, latent_dim=4)
    terms = model.loss(batch()[0], masks())
    assert terms["kl"].isfinite()
    total(terms).backward()
    assert model.prior_encoder.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_other_methods_take_one_label(name):
    model, (image, label) = everybody(name).eval(), batch()
    assert model.posterior(image, label).batch_shape == (2,)
    assert model.reconstruct(image, label).shape == (2, 2, 16, 16)
    assert model.densities(image, label)[1].q.rsample().shape == (2, 6)
    assert model.sample(image, 3).shape == (3, 2, 2, 16, 16)
    with pytest.raises(InputError, match=r"one label is label\[:, None\]"):
        model.loss(image, label)
    with pytest.raises(InputError, match=r"one annotation of each image, such as label\[:, i\]"):
        model.posterior(image, masks())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("csae", {"divergence_on": "annotators"}, "'divergence' compares on 'annotators' and nee"),
        ("punet", {"kl_on": "annotators"}, r"pass all_annotators=True, or compare on 'projected'"),
        ("punet", {"penalties": {"x": {"divergence": "kl", **ON_ALL}}}, "the penalty 'x' compares"),
        ("csae", {"divergence_on": "anotators"}, "did you mean 'annotators'"),
        ("spu-net", {"all_annotators": False}, "pass all_annotators=True"),
        (
            "spu-net",
            {"projector": "planar", "flow_context": "posterior"},
            "pass flow_context='image', or compare on 'projected'",
        ),
        ("spu-net", {"penalties": {}, "divergence_on": "base"}, "penalties or divergence_on"),
        ("spu-net", {"kl": "kl", "kl_on": "base"}, "kl, kl_on of spu-net would not be used.*beta"),
        ("punet", {"divergence_on": "base"}, "divergence_on of punet would not.*pass gamma too"),
    ],
)
def test_what_needs_all_annotators_says_so(name, options, message):
    with pytest.raises(OptionError, match=message):
        small(name, **options)


def test_the_remedies_work():
    several = small("csae", divergence_on="annotators", all_annotators=True)
    assert total(several.loss(batch()[0], masks())).isfinite()
    weighed = small("spu-net", kl={"name": "kl", "free_bits": 0.1}, beta=1.0)
    assert weighed.loss(batch()[0], masks()).keys() == {"cross_entropy", "kl", "divergence"}
    one = small("spu-net", all_annotators=False, divergence_on="projected", divergence="sinkhorn")
    assert total(one.loss(*batch())).isfinite()
    with pytest.raises(OptionError, match="or give a number of samples"):
        small("spu-net", divergence_on="projected").loss(batch()[0], masks())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_described_saved_and_loaded(name, tmp_path):
    model = everybody(name, variability=0.5, top_k=0.1)
    model.save(tmp_path / "model.safetensors")
    again = probseg.load(tmp_path / "model.safetensors")
    assert again.spec == model.spec and again.all_annotators and not again.soft_labels
    assert again.variability.weight == 0.5
    labels, image = masks(), batch()[0]
    first, second = (one.loss(image, labels, generator=generator()) for one in (model, again))
    assert all(first[term].equal(second[term]) for term in first)


def test_old_descriptions_learn_from_one():
    spec = small("csae").spec
    new = ("all_annotators", "variability", "variability_samples", "divergence_on", "top_k")
    old = {name: value for name, value in spec.items() if name not in new}
    model = probseg.build(**old)
    assert model.spec == spec and not model.all_annotators and model.soft_labels


def test_a_model_learns_a_batch_by_heart():
    model, labels = small("spu-net", gamma=1.0), torch.zeros(2, 3, 8, 8, dtype=torch.long)
    labels[0, :, 2:6, 2:6] = labels[1, :, :, 5:] = 1
    image = 0.5 * torch.randn(2, 1, 8, 8) + labels[:, :1]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        total(model.loss(image, labels)).backward()
        optimizer.step()
    assert (model.sample(image, 3).argmax(2) == labels[:, 0]).float().mean() > 0.95
