"""Weights of the loss's terms: schedules, and the multiplier that a reconstruction's cost sets."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import small
from torch import nn
from training_toys import Discs, make_model, quick

from probseg.errors import CheckpointError, OptionError
from probseg.models.cross_entropy import CrossEntropy
from probseg.training import TrainingSettings, fit
from probseg.training.annealing import Annealing, tell_long_annealing
from probseg.training.geco import Geco
from probseg.training.term_weights import TermWeights

TERMS = ("cross_entropy", "kl", "divergence")

# Schedules


def test_weights_rise_linearly_and_stay():
    annealing = TermWeights({"kl": Annealing(4), "divergence": Annealing(0)})
    factors = [annealing.weights(step, TERMS).get("kl", 1.0) for step in range(6)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert all("divergence" not in annealing.weights(step, TERMS) for step in range(3))


@given(
    schedules=st.dictionaries(
        st.sampled_from(TERMS), st.tuples(st.integers(0, 40), st.integers(1, 5)), min_size=1
    ),
    step=st.integers(0, 500),
)
def test_each_cycle_rises_and_stays_as_long_and_the_last_one_for_good(schedules, step):
    weights = TermWeights({n: Annealing(*one) for n, one in schedules.items()}).weights(step, TERMS)
    assert weights.keys() <= schedules.keys()
    for name, (steps, cycles) in schedules.items():
        course = ([(i + 1) / steps for i in range(steps)] + [1.0] * steps) * cycles
        assert weights.get(name, 1.0) == (course[step] if step < len(course) else 1)


def test_an_annealed_step_is_a_step_with_a_smaller_beta(train, validation):
    def one_step(beta, **more):
        torch.manual_seed(0)
        model = small("punet", beta=beta)
        result = fit(model, train, validation, quick(max_steps=1, **more))
        return model, result.history[0]

    annealed, record = one_step(8.0, annealing=4)
    lower, expected = one_step(2.0)
    for one, other in zip(annealed.parameters(), lower.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert record["train/loss"] == pytest.approx(expected["train/loss"])
    # the term itself is told, and validation has the full weight throughout
    assert record["train/kl"] == pytest.approx(4 * expected["train/kl"])
    assert record["validation/kl"] == pytest.approx(4 * expected["validation/kl"])


def test_a_term_can_be_annealed_by_name(train, validation, tmp_path):
    settings = quick(annealing={"kl": np.int64(6)})
    whole = fit(make_model(), train, validation, settings)
    fit(make_model(), train, validation, quick(max_steps=3, annealing={"kl": 6}), out=tmp_path)
    again = fit(make_model(), train, validation, settings, out=tmp_path)
    assert [r["train/kl"] for r in again.history] == [r["train/kl"] for r in whole.history]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"annealing": 5},
            "annealing takes 5 steps to its full weight (annealing=5, annealing_cycles=1), and "
            "training ends after max_steps=4",
        ),
        ({"annealing": 5}, "set annealing to 4 or less, or max_steps to 5 or more"),
        ({"annealing": {"kl": 9, "no": 3}}, "annealing of 'kl' takes 9 steps"),
        ({"annealing": 2, "annealing_cycles": 2}, "annealing takes 6 steps"),
        ({"annealing": 2, "annealing_cycles": 2}, "annealing to 1 or less, or max_steps to 6 or"),
        ({"annealing": 1, "annealing_cycles": 3}, "to the end; set max_steps to 5 or more"),
    ],
)
def test_annealing_that_outlasts_the_training_is_told_with_the_remedy(caplog, settings, message):
    chosen = quick(max_steps=4, **settings)
    tell_long_annealing(
        chosen.annealing, cycles=chosen.annealing_cycles, max_steps=chosen.max_steps
    )
    assert message in caplog.text and caplog.text.count("WARNING") == 1


@pytest.mark.parametrize(
    "settings", [{}, {"annealing": 4}, {"annealing": 1, "annealing_cycles": 2}]
)
def test_annealing_that_ends_in_time_is_not(caplog, settings):
    tell_long_annealing(
        settings.get("annealing", 0), cycles=settings.get("annealing_cycles", 1), max_steps=4
    )
    assert not caplog.records


def test_fit_tells_of_annealing_that_outlasts_it(train, validation, caplog):
    fit(make_model(), train, validation, quick(annealing={"kl": 9}, max_steps=2))
    assert "annealing of 'kl' takes 9 steps to its full weight" in caplog.text


@given(steps=st.integers(0, 7), cycles=st.integers(1, 4))
def test_the_weight_is_one_for_good_after_the_rise_and_not_before(steps, cycles):
    annealing = Annealing(steps, cycles)
    assert all(annealing.weight(annealing.rise + more) == 1 for more in range(-1, 20))
    if steps > 1:
        assert annealing.weight(annealing.rise - 2) < 1


# The multiplier


@given(
    costs=st.lists(st.floats(0, 50), min_size=1, max_size=12),
    kappa=st.floats(0.01, 2),
    rate=st.sampled_from([0.001, 0.01, 0.3, 1]),
    decay=st.sampled_from([0, 0.9, 0.999]),
)
def test_the_multiplier_is_the_product_of_exponentials_of_averages(costs, kappa, rate, decay):
    geco = Geco(kappa, rate=rate, decay=decay)
    average, log = None, 0.0
    for step, cost in enumerate(costs):
        now = min(cost / kappa - 1, 1)
        average = now if average is None else decay * average + (1 - decay) * now
        log = min(max(log + rate * average, math.log(1e-4)), math.log(1e4))
        told = geco.update(step, torch.tensor(cost))
        assert told.item() == pytest.approx(average, abs=1e-5)
        assert geco.multiplier.item() == pytest.approx(math.exp(log), rel=1e-4)


@pytest.mark.parametrize(("cost", "bound"), [(9.0, 1e4), (0.0, 1e-4), (math.inf, 1e4)])
def test_the_multiplier_stays_within_bounds(cost, bound):
    geco = Geco(0.05, rate=1.0)
    for step in range(30):
        geco.update(step, torch.tensor(cost))
    assert geco.multiplier.item() == pytest.approx(bound, rel=1e-4)


@pytest.mark.parametrize("reduction", ["pixel-sum", "pixel-mean"])
@pytest.mark.parametrize("kappa", [0.2, 0.6])
def test_a_toy_rests_where_its_reconstruction_costs_kappa(reduction, kappa):
    """One logit x of a pixel of class 1: the cost is log(1 + e^-x), and the penalty is x²."""
    x = nn.Parameter(torch.zeros(()))
    cross_entropy = CrossEntropy(reduction)
    weights = TermWeights({}, Geco(kappa, rate=0.05, decay=0.9), cross_entropy.pixels)
    optimizer = torch.optim.Adam([x], lr=0.05)
    label = torch.ones(1, 4, 4, dtype=torch.long)
    for step in range(500):
        logits = torch.stack([torch.zeros(1, 4, 4), x.expand(1, 4, 4)], dim=1)
        terms = {"cross_entropy": cross_entropy(logits, label), "penalty": x.square()}
        factors = weights.weights(step, terms)
        optimizer.zero_grad()
        sum(factors.get(name, 1.0) * term for name, term in terms.items()).backward()
        optimizer.step()
        with torch.no_grad():
            told = weights.update(step, terms, (4, 4))
    answer = -math.log(math.expm1(kappa))
    assert x.item() == pytest.approx(answer, rel=0.02)
    assert told["geco_constraint"].item() == pytest.approx(0, abs=0.02)
    # there λ n d(cost)/dx = -d(penalty)/dx
    pull = cross_entropy.pixels(4, 4) / (1 + math.exp(answer))
    assert told["geco_multiplier"].item() == pytest.approx(2 * answer / pull, rel=0.05)


def punet(**options):
    torch.manual_seed(0)
    return small("punet", latent_dim=2, **options)


def test_the_first_step_is_that_of_the_plain_loss_and_the_next_one_is_weighted(train, validation):
    def steps(count, **more):
        model = punet()
        settings = quick(max_steps=count, validate_every=1, **more)
        return model, fit(model, train, validation, settings).history

    (plain, [first]), (weighted, [told]) = steps(1), steps(1, geco=0.01)
    assert all(map(torch.equal, plain.parameters(), weighted.parameters()))
    assert {name: told[name] for name in first if name != "seconds"} == {
        name: value for name, value in first.items() if name != "seconds"
    }
    assert (told["train/geco_multiplier"], told["train/geco_constraint"]) == (1, 1)
    _, history = steps(2, geco=0.01)
    second = history[1]
    assert second["train/geco_multiplier"] == pytest.approx(math.exp(0.01))
    ours = math.exp(0.01) * second["train/cross_entropy"] + second["train/kl"]
    assert second["train/loss"] == pytest.approx(ours)
    plain_sum = second["validation/cross_entropy"] + second["validation/kl"]
    assert second["validation/loss"] == pytest.approx(plain_sum)


def test_a_constraint_is_of_the_pixels_that_count(train, validation):
    for options, pixels in ({}, 256), ({"reduction": "pixel-mean"}, 1):
        settings = quick(max_steps=1, validate_every=1, geco=1.0)
        [record] = fit(punet(**options), train, validation, settings).history
        cost = record["train/cross_entropy"] / pixels
        assert record["train/geco_constraint"] == pytest.approx(min(cost - 1, 1), abs=1e-5)


def test_a_run_in_two_parts_is_the_run_at_once(train, validation, tmp_path):
    chosen = {"geco": 0.3, "annealing": 4, "annealing_cycles": 2}
    whole, parts = punet(), punet()
    expected = fit(whole, train, validation, quick(**chosen))
    for steps in (6, 12):
        result = fit(parts, train, validation, quick(max_steps=steps, **chosen), out=tmp_path)
    assert all(map(torch.equal, whole.state_dict().values(), parts.state_dict().values()))
    for one, other in zip(result.history, expected.history, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    identity = json.loads((tmp_path / "run.json").read_text())
    assert (identity["geco"], identity["annealing_cycles"]) == (0.3, 2)
    with pytest.raises(CheckpointError, match=r"geco is 0\.3, not 0\.2"):
        fit(parts, train, validation, quick(**chosen | {"geco": 0.2}), out=tmp_path)


def test_runs_without_the_settings_have_neither_them_nor_a_state(train, validation, tmp_path):
    fit(punet(), train, validation, quick(max_steps=3), out=tmp_path)
    identity = json.loads((tmp_path / "run.json").read_text())
    assert not [name for name in identity if name.startswith(("geco", "annealing"))]
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(name.startswith("model.") for name in state)


def test_images_taken_one_by_one_choose_the_weights_of_the_whole_batch(train, validation):
    """The noise is another, so what is compared is what does not depend on it."""

    class Quiet(type(make_model())):
        cross_entropy = CrossEntropy("pixel-sum")

        def loss(self, image, label, **options):
            q, p = self.posterior(image, label), self.prior(image)
            kl = torch.distributions.kl_divergence(q, p).mean()
            logits = self.head(torch.cat([image.expand(-1, 8, -1, -1), _field(q, image)], 1))
            return {"cross_entropy": self.cross_entropy(logits, label), "kl": kl}

    def _field(q, image):
        return q.mean[:, :, None, None].expand(-1, -1, *image.shape[2:])

    def history(**more):
        torch.manual_seed(0)
        return fit(Quiet(), train, validation, quick(geco=0.2, learning_rate=1e-3, **more)).history

    for one, other in zip(history(), history(micro_batch=1), strict=True):
        for name in set(one) - {"seconds"}:
            assert one[name] == pytest.approx(other[name], rel=1e-3), name


@pytest.mark.parametrize("chosen", [{}, {"geco": 0.1, "annealing": 5}])
def test_other_processes_get_them(chosen):
    weights = TermWeights.of(TrainingSettings(**chosen), punet())
    assert pickle.loads(pickle.dumps(weights)).pixels(3, 4) == weights.pixels(3, 4)


@pytest.mark.slow
def test_two_processes_choose_the_weights_of_one(tmp_path):
    """Uneven shares; the second half only, after one process."""
    settings = {"batch_size": 5, "micro_batch": 2, "max_steps": 6, "validate_every": 3}
    settings |= {"geco": 0.3, "geco_rate": 0.2, "geco_decay": 0.5}
    data = Discs(22), Discs(7, seed=1)
    alone, together = punet(), punet()
    one = fit(alone, *data, quick(**settings), progress=False)
    fit(together, *data, quick(**settings | {"max_steps": 3}), out=tmp_path, progress=False)
    two = fit(together, *data, quick(**settings, devices=2), out=tmp_path, progress=False)
    for expected, record in zip(one.history, two.history, strict=True):
        assert set(record) == set(expected)
        for name in set(expected) - {"seconds"}:
            assert record[name] == pytest.approx(expected[name], rel=1e-4), name


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"geco": 0}, "geco must be a positive finite number, not 0"),
        ({"geco": "0.05"}, "geco must be a positive finite number"),
        ({"geco": 0.05, "geco_rate": 2}, "geco_rate is a share, at most 1, not 2"),
        ({"geco": 0.05, "geco_decay": 1.0}, r"geco_decay must be below 1, not 1\.0"),
        ({"geco_rate": 0.1}, r"no effect without geco; set geco, such as geco=0\.05"),
        ({"annealing_cycles": 0}, "annealing_cycles must be an integer of at least 1"),
        ({"annealing_cycles": 2}, "annealing, which takes no steps; set annealing to some"),
        ({"annealing_cycles": 2, "annealing": {"kl": 0}}, "set annealing to some"),
    ],
)
def test_settings_that_choose_no_weights_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        TrainingSettings(**change)


class Named(type(make_model())):
    cross_entropy = CrossEntropy("pixel-sum")

    def loss(self, image, label, **options):
        return {"error": super().loss(image, label, **options)["cross_entropy"]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_model, "ToyModel does not say .* make it by self.cross_entropy = CrossEntropy"),
        (lambda: small("energy"), "EnergyModel does not say .* train it without geco, or a model "),
        (Named, "the loss has error; train without geco"),
        (
            lambda: small("deterministic"),
            "penalties, and the loss has none; .* or build a latent model with a penalty",
        ),
    ],
)
def test_a_model_that_has_nothing_to_weigh_is_refused(make, message, train, validation):
    with pytest.raises(OptionError, match=message):
        fit(make(), train, validation, quick(geco=0.05))


def test_what_the_refusal_advises_helps(train, validation):
    model = make_model()
    model.cross_entropy = CrossEntropy("pixel-sum")
    assert fit(model, train, validation, quick(geco=0.05, max_steps=3)).steps == 3


@pytest.mark.parametrize("all_annotators", [False, True])
def test_pixels_that_nobody_labelled_do_not_loosen_the_constraint(all_annotators):
    """Of a sum and of a mean over pixels it is the same, also where annotators are absent."""
    data = Discs(8)
    data.ignore_index = 255
    data.masks[:, :, 4:] = 255
    if all_annotators:
        data.masks[:4, 1] = 255  # absent
    told = []
    for reduction in ("pixel-sum", "pixel-mean"):
        torch.manual_seed(0)
        options = {"all_annotators": all_annotators, "reduction": reduction, "beta": 1e-6}
        model = small("punet", **options)
        run = quick(max_steps=1, validate_every=1, geco=0.5, learning_rate=1e-9, augment=False)
        told.append(fit(model, data, data, run, progress=False).history[0])
    summed, mean = (record["train/geco_constraint"] for record in told)
    assert summed == pytest.approx(mean, abs=1e-4)
    assert mean == pytest.approx(min(told[1]["train/cross_entropy"] / 0.5 - 1, 1), abs=1e-4)
