"""Randomness that follows a generator and nothing else."""

import threading

import pytest
import torch
from small_models import batch, generator, small
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Distribution, Gamma, Independent, Normal, StudentT
from torch.nn import functional

from probseg.errors import InputError
from probseg.utils.seeding import seeded

CPU = torch.device("cpu")


def draws(source):
    with seeded(source, CPU):
        return torch.rand(4)


def test_equal_generators_give_equal_draws():
    assert torch.equal(draws(generator(1)), draws(generator(1)))
    assert not torch.equal(draws(generator(1)), draws(generator(2)))


def test_a_generator_goes_on():
    source = generator(1)
    first, second = draws(source), draws(source)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("fail", [False, True])
def test_the_global_state_is_left_as_it_was(fail):
    before = torch.get_rng_state()
    try:
        with seeded(generator(), CPU):
            torch.rand(3)
            if fail:
                raise ValueError
    except ValueError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_state_does_not_matter():
    torch.manual_seed(1)
    first = draws(generator())
    torch.manual_seed(2)
    assert torch.equal(draws(generator()), first)


def test_without_a_generator_the_global_state_is_used():
    torch.manual_seed(1)
    wanted = torch.rand(4)
    torch.manual_seed(1)
    assert torch.equal(draws(None), wanted)


def test_noise_is_the_generators_own():
    with seeded(generator(1), CPU):
        found = Normal(torch.zeros(4), 1.0).rsample(), torch.rand(4), torch.randint(9, (4,))
    own = generator(1)
    wanted = torch.randn(4, generator=own), torch.rand(4, generator=own)
    assert all(map(torch.equal, found[:2], wanted))
    assert torch.equal(found[2], torch.randint(9, (4,), generator=own))


class Unheard(Distribution):
    """A density of somebody's plugin, with a way of its own to draw."""

    arg_constraints = {}  # noqa: RUF012  # as torch.distributions declares it

    def __init__(self):
        super().__init__(torch.Size([2]), torch.Size([3]), validate_args=False)

    def rsample(self, shape=()):
        return torch.rand(*shape, 2, 3).sub_(0.5) + torch.empty(2, 3).exponential_()


DRAWS = {
    "student": lambda: StudentT(torch.ones(2)).rsample((3,)),
    "gamma": lambda: Gamma(torch.ones(2), 1.0).rsample((3,)),
    "unheard": lambda: Unheard().rsample((4,)),
    "like": lambda: torch.randn_like(torch.zeros(5)),
    "permutation": lambda: torch.randperm(20),
    "dropout": lambda: functional.dropout(torch.ones(50)),
    # takes no generator, so it is drawn from a fork
    "attention": lambda: functional.scaled_dot_product_attention(
        *torch.ones(3, 1, 1, 30, 8), attn_mask=torch.zeros(30, 30), dropout_p=0.5
    ),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_whoever_draws_follows_and_leaves_the_global_state_alone(draw):
    before = torch.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        torch.rand(1, generator=torch.default_generator)  # which is not read either
        state = torch.get_rng_state()
        with seeded(generator(seed), CPU):
            found.append(draw())
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert not torch.equal(torch.get_rng_state(), before)


def test_a_fork_inside_a_fork_ends():
    def draw():
        with seeded(generator(1), CPU), seeded(generator(2), CPU):
            found.append(torch.native_dropout(torch.ones(50), 0.5, True)[0])

    found = []
    for _ in range(2):
        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        thread.join(60)
    assert len(found) == 2 and torch.equal(*found)


def test_gradients_pass_through_what_is_drawn():
    scale = torch.tensor([1.0, 2.0], requires_grad=True)
    with seeded(generator(), CPU):
        sample = Independent(Normal(torch.zeros(2), scale), 1).rsample()
    (gradient,) = torch.autograd.grad(sample.sum(), scale)
    assert torch.allclose(gradient, sample.detach() / scale.detach())


def test_threads_with_their_own_generators_get_what_each_gets_alone():
    model, (image, label) = small("csae").eval(), batch()

    def run(seed):
        own = generator(seed)
        sampled = model.sample(image, 3, generator=own)
        loss = model.loss(image, label, generator=own)["divergence"]  # whose samples follow too
        return sampled, model.reconstruct(image, label, generator=own), loss

    wanted, found = [run(seed) for seed in range(4)], [[] for _ in range(4)]
    state = torch.get_rng_state()
    threads = [
        threading.Thread(target=lambda seed=seed: found[seed].extend(run(seed) for _ in range(5)))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.get_rng_state(), state)
    for alone, together in zip(wanted, found, strict=True):
        assert len(together) == 5
        assert all(all(map(torch.equal, alone, each)) for each in together)


class Restless(nn.Module):
    out_channels, stride = 3, 1

    def forward(self, image):
        return functional.dropout(image.expand(-1, 3, -1, -1), 0.5, self.training)


@pytest.mark.parametrize("name", ["punet", "deterministic"])
def test_dropout_in_a_network_follows_the_generator(name):
    model, (image, label) = small(name, backbone=Restless()), batch()
    state = torch.get_rng_state()
    terms = [model.loss(image, label, generator=generator(s))["cross_entropy"] for s in (1, 1, 2)]
    drawn = [model.sample(image, 2, generator=generator(s)) for s in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    for first, again, other in (terms, drawn):
        assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.skipif(torch.__version__ < "2.7", reason="its fake GPU asks for a driver")
def test_a_generator_on_the_cpu_draws_there_for_any_device():
    with FakeTensorMode(), seeded(generator(1), torch.device("cuda")):
        there = torch.zeros(4, device="cuda")
        drawn = there.normal_(), torch.rand(3, device="cuda"), torch.randn_like(there)
        assert torch.randn(4, out=there) is there
        assert torch.normal(there, there, out=torch.empty(0, device="cuda")).shape == (4,)
    assert {tensor.device.type for tensor in drawn} == {"cuda"}


def test_a_device_without_a_way_to_fork_its_state_is_no_obstacle():
    with seeded(generator(), torch.device("mps")):
        pass


def test_a_generator_on_another_device_is_refused():
    class Elsewhere(torch.Generator):
        device = torch.device("cuda", 1)

    with pytest.raises(InputError, match=r"generator is on cuda:1 and the model on cpu; .*'cpu'"):
        with seeded(Elsewhere(), CPU):
            pass


def test_none_is_as_good_as_no_generator():
    with seeded(generator(1), CPU):
        found = torch.rand(4, generator=None), torch.randint(9, (4,), generator=None)
    own = generator(1)
    assert torch.equal(found[0], torch.rand(4, generator=own))
    assert torch.equal(found[1], torch.randint(9, (4,), generator=own))
