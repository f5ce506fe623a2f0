"""A hierarchical prior that learns from all annotators at once."""

import math

import pytest
import torch
from hierarchical_models import PYRAMID
from small_models import batch, generator, shaken, small, total

import probseg
from probseg.errors import OptionError
from probseg.models.set_training import FEWEST_STRATIFIED
from probseg.models.stratified import stratified_normal
from probseg.set_losses.energy import Energy

NAME = "hierarchical-energy"


def masks(count=2, annotators=3):
    return torch.randint(2, (count, annotators, 16, 16))


@pytest.mark.parametrize("name", [NAME, "energy"])
@pytest.mark.parametrize(("samples", "stratified"), [(2, False), (5, False), (8, True), (9, True)])
def test_the_loss_compares_samples_of_the_prior(name, stratified, samples):
    options = {"samples": samples, "stratified": stratified}
    model, image, labels = shaken(small(name, **options), 0.1).eval(), batch()[0], masks()
    labels[0, 1] = 255
    terms = model.loss(image, labels, generator=generator(), ignore_index=255)
    drawn = model.sample(image, samples, generator=generator(), stratified=stratified)
    wanted = Energy(stratified=stratified)(drawn, labels.where(labels != 255, -100)).mean()
    assert terms.keys() == {"set_loss"}
    torch.testing.assert_close(terms["set_loss"], wanted)


def test_every_scale_gets_a_gradient():
    model = shaken(small(NAME), 0.1)
    total(model.loss(batch()[0], masks())).backward()
    for head in model.decoder.heads:
        assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in head.parameters())
    assert all(p.grad is not None for p in model.parameters())


def test_the_gradient_is_that_of_finite_differences():
    model, image, labels = shaken(small(NAME), 0.1).double().eval(), batch()[0].double(), masks()
    weight = model.decoder.heads[0].convolution.weight

    def loss():
        return model.loss(image, labels, generator=generator())["set_loss"]

    loss().backward()
    place = weight.grad.abs().flatten().argmax()
    step, flat = 1e-5, weight.data.view(-1)
    values = []
    for sign in (1, -1):
        flat[place] += sign * step
        values.append(loss().item())
        flat[place] -= sign * step
    slope = (values[0] - values[1]) / (2 * step)
    assert weight.grad.flatten()[place].item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("set_loss", sorted(probseg.set_losses))
def test_it_learns_with_every_set_loss(set_loss):
    model, image = small(NAME, set_loss=set_loss), batch()[0]
    labels = torch.zeros(2, 2, 16, 16, dtype=torch.long)
    labels[:, :, 4:12, 4:12] = 1
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        values.append(total(model.loss(image, labels, generator=generator())))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 1}, "samples"),
        ({"scales": 4}, "scales=4 latents need a pyramid of 5 levels.*pass scales=3"),
        ({"latent_channels": 0}, "latent_channels"),
        ({"class_prior": [0.5, 0.3, 0.2]}, "class_prior"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        small(NAME, **options)


@pytest.mark.parametrize("name", [NAME, "energy"])
def test_a_ready_set_loss_for_samples_that_are_drawn_otherwise_is_refused(name):
    for stratified in (False, True):
        options = {"samples": 8, "stratified": stratified}
        kept = small(name, set_loss=Energy(stratified=stratified), **options).set_loss
        assert kept.stratified is stratified
        with pytest.raises(OptionError, match=f"for stratified={not stratified}.*give both"):
            small(name, set_loss=Energy(stratified=not stratified), **options)


def test_the_spread_of_stratified_samples_is_right_from_eight_on():
    """The mean over all pairs, of the sum of six numbers, against that of two draws, 2 / √π."""
    torch.manual_seed(0)
    shares = {}
    for count in (2, 4, FEWEST_STRATIFIED):
        drawn = stratified_normal(count, (20_000, 6), torch.device("cpu")).sum(-1) / 6**0.5
        apart = (drawn[:, None] - drawn).abs().mean().item()
        shares[count] = apart / (2 / math.pi**0.5)
    assert shares[2] == pytest.approx(2**-0.5, abs=0.01)
    assert shares[2] < shares[4] < 0.9 < shares[FEWEST_STRATIFIED] < 1


@pytest.mark.parametrize("name", [NAME, "energy"])
def test_a_few_stratified_samples_are_warned_of(name):
    with pytest.warns(UserWarning, match=r"7 stratified samples.*pass stratified=False, or samp"):
        small(name, samples=7, stratified=True)
    small(name, samples=7, stratified=False)
    small(name, samples=8, stratified=True)
    small(name, samples=2, stratified=True, set_loss="exact-ot")


@pytest.mark.parametrize("name", [NAME, "energy"])
def test_a_set_loss_that_draws_follows_the_generator(name):
    def noisy(samples, masks, weights=None):
        return samples.sum((0, 2, 3, 4)) + torch.rand(len(masks))

    model, image, labels = small(name, set_loss=noisy).eval(), batch()[0], masks()
    state = torch.get_rng_state()
    one, same, other = (model.loss(image, labels, generator=generator(i)) for i in (0, 0, 1))
    assert one["set_loss"] == same["set_loss"] != other["set_loss"]
    assert torch.equal(torch.get_rng_state(), state)


def test_its_description_builds_it_again():
    model = small(NAME, class_prior=(0.9, 0.1), norm="batch", latent_channels=2)
    again = probseg.build(**model.spec)
    assert again.spec == model.spec and again.spec["pyramid"]["name"] == PYRAMID["name"]
    assert again.all_annotators and not again.soft_labels
    again.load_state_dict(model.state_dict())
