"""Sinkhorn divergences and exact optimal transport against closed forms and other solvers."""

import math
import os
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from geomloss import SamplesLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog
from scipy.special import logsumexp
from small_models import Cloud, normal
from torch.distributions import Independent, Normal

import probseg
from probseg.divergences.transport import ExactOT, Sinkhorn
from probseg.errors import OptionError
from probseg.testing import check

STACKED = partial(Sinkhorn, solver="stacked")
ALL = (Sinkhorn, STACKED, ExactOT)


def clouds(seed=0, count=16, images=3, latent=6, shift=1.0):
    torch.manual_seed(seed)
    x = torch.randn(count, images, latent).double()
    return x, torch.randn(count, images, latent).double() * 0.8 + shift


def costs(x, y):
    """Return half the squared distances between two clouds (n, L) and (m, L)."""
    return 0.5 * ((x[:, None] - y[None]) ** 2).sum(-1)


def transport(a, b, cost):
    """Solve optimal transport as a linear programme."""
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    solved = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    return solved.fun


def entropic(a, b, cost, temperature):
    """Return the entropic transport cost as its dual value, by plain Sinkhorn iterations."""
    f, g = np.zeros_like(a), np.zeros_like(b)
    for _ in range(200):
        f = -temperature * np.log(np.exp((g - cost) / temperature) @ b)
        g = -temperature * np.log(np.exp((f[:, None] - cost) / temperature).T @ a)
    return f @ a + g @ b


def sinkhorn(x, y, a, b, temperature):
    cross, own = entropic(a, b, costs(x, y), temperature), 0.0
    for z, c in ((x, a), (y, b)):
        own += entropic(c, c, costs(z, z), temperature)
    return cross - own / 2


def unit(n):
    return np.full(n, 1 / n)


@pytest.mark.parametrize("divergence", [*ALL, lambda: Sinkhorn(weights="density")])
def test_near_diracs_are_half_their_squared_distance_apart(divergence):
    means = torch.randn(2, 4, 6).double()
    found = divergence()(normal(means[0], 1e-4), normal(means[1], 1e-4))
    wanted = 0.5 * (means[0] - means[1]).square().sum(-1)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("divergence", ALL)
def test_equal_near_diracs_are_no_distance_apart(divergence):
    mean = torch.randn(4, 6).double()
    found = divergence()(normal(mean, 1e-5), normal(mean, 1e-5))
    torch.testing.assert_close(found, torch.zeros(4).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("divergence", ALL)
def test_the_same_points_are_at_zero(divergence):
    x, _ = clouds()
    found = divergence()(Cloud(x), Cloud(x.clone()))
    torch.testing.assert_close(found, torch.zeros(3).double(), rtol=0, atol=1e-6)


def test_exact_transport_is_the_best_assignment():
    x, y = clouds()
    found = ExactOT()(Cloud(x), Cloud(y))
    for image in range(3):
        cost = costs(x[:, image].numpy(), y[:, image].numpy())
        wanted = cost[linear_sum_assignment(cost)].mean()
        assert float(found[image]) == pytest.approx(wanted, rel=1e-9)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_density_weights_are_normalised_densities(seed):
    x, y = clouds(seed, count=6)
    log_a, log_b = torch.randn(2, 6, 3).double() * 2 + 50  # raw densities would explode
    found = ExactOT(samples=6, weights="density")(Cloud(x, log_a), Cloud(y, log_b))
    a, b = (np.exp(m - logsumexp(m, axis=0)) for m in (log_a.numpy(), log_b.numpy()))
    for image in range(3):
        cost = costs(x[:, image].numpy(), y[:, image].numpy())
        wanted = transport(a[:, image], b[:, image], cost)
        assert float(found[image]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("weights", ["uniform", "density"])
def test_sinkhorn_is_what_plain_iterations_give(weights):
    x, y = clouds(count=10, images=1)
    log_a, log_b = torch.randn(2, 10, 1).double()
    blur = 0.7
    divergence = Sinkhorn(samples=10, blur=blur, scaling=0.98, weights=weights)
    found = divergence(Cloud(x, log_a), Cloud(y, log_b))
    a, b = unit(10), unit(10)
    if weights == "density":
        a, b = (m[:, 0].softmax(0).numpy() for m in (log_a, log_b))
    wanted = sinkhorn(x[:, 0].numpy(), y[:, 0].numpy(), a, b, blur**2)
    assert float(found) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(
    ("weights", "scaling", "bound"),
    [
        ("uniform", 0.5, 0.1),
        ("uniform", 0.95, 0.02),
        ("density", 0.5, 0.25),
        ("density", 0.95, 0.04),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_sinkhorn_and_exact_transport_agree(weights, scaling, bound, shift):
    """On the same 16 points; most of what is left is GeomLoss's annealing, default 0.5."""
    x, y = clouds(shift=shift, images=6)
    log_a, log_b = torch.randn(2, 16, 6).double()
    pair = Cloud(x, log_a), Cloud(y, log_b)
    entropic = Sinkhorn(weights=weights, scaling=scaling)(*pair)
    exact = ExactOT(weights=weights)(*pair)
    torch.testing.assert_close(entropic, exact, rtol=bound, atol=0.0)


def test_samples_of_one_density_leave_a_floor():
    """16 samples of N(0, I_6) cost about 2.6, and 512 of them less than half of that."""
    base = normal(torch.zeros(40, 6).double(), 1.0)
    few = Sinkhorn()(base, base).mean()
    assert 2.2 < few < 3.0
    two = normal(torch.zeros(2, 6).double(), 1.0)
    assert Sinkhorn(samples=256)(two, two).mean() < few / 2


@pytest.mark.parametrize("of", ["points", "mass"])
def test_gradients_of_exact_transport_are_finite_differences(of):
    x, y = clouds(count=5, images=2, latent=3)
    log_a, log_b = torch.randn(2, 5, 2).double()
    solve = ExactOT(samples=5, weights="density")

    def value(at):
        q = Cloud(at, log_a) if of == "points" else Cloud(x, at)
        return solve(q, Cloud(y, log_b)).sum()

    at = (x if of == "points" else log_a).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(at), at)
    way, step = torch.randn_like(at), 1e-5
    with torch.no_grad():
        wanted = (value(at + step * way) - value(at - step * way)) / (2 * step)
    assert float((gradient * way).sum()) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize("divergence", ALL)
def test_the_gradient_at_near_diracs_is_their_distance(divergence):
    means = torch.randn(2, 4, 6).double().requires_grad_()
    total = divergence()(normal(means[0], 1e-4), normal(means[1], 1e-4)).sum()
    (gradient,) = torch.autograd.grad(total, means)
    apart = (means[0] - means[1]).detach()
    torch.testing.assert_close(gradient, torch.stack([apart, -apart]), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("solver", ["geomloss", "stacked"])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("n", [1, 16])
@pytest.mark.parametrize("apart", [0.0, 10.0, 1e6])
def test_coinciding_points_have_a_value_and_a_gradient(solver, p, n, apart):
    """All points of a cloud lie in one place, in single precision; the clouds may as well."""
    x = torch.zeros(n, 2, 3, requires_grad=True)
    transport = Sinkhorn(samples=n, solver=solver, p=p)
    found = transport(Cloud(x), Cloud(torch.full((n, 2, 3), apart)))
    length = math.sqrt(3) * apart
    wanted = torch.full((2,), length**2 / 2 if p == 2 else length)
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-4, atol=1e-3)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    pull = torch.full_like(x, 0.0 if apart == 0 else -apart if p == 2 else -1 / math.sqrt(3)) / n
    if (solver, apart, n) == ("geomloss", 1e6, 16):  # its logarithms of sums lose log n there
        assert (gradient / pull).min() > 0.9 and (gradient / pull).max() < n + 0.1
    else:
        torch.testing.assert_close(gradient, pull, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("divergence", ALL)
def test_images_do_not_mix(divergence):
    x, y = clouds()
    turned = torch.tensor([2, 0, 1])
    found = divergence()(Cloud(x), Cloud(y))
    assert found.shape == (3,)
    again = divergence()(Cloud(x[:, turned]), Cloud(y[:, turned]))
    torch.testing.assert_close(again, found[turned], rtol=1e-6, atol=1e-6)
    alone = divergence()(Cloud(x[:, :1]), Cloud(y[:, :1]))
    assert alone.shape == (1,)
    torch.testing.assert_close(alone, found[:1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("divergence", ALL)
@pytest.mark.parametrize("enabled", [True, False])
def test_the_grad_mode_is_left_as_it_was(divergence, enabled):
    pair = normal(torch.randn(2, 3), 1.0), normal(torch.randn(2, 3), 1.0)
    with torch.set_grad_enabled(enabled):
        divergence()(*pair)
        assert torch.is_grad_enabled() is enabled


def solved(divergence, points, log_masses):
    """Return the divergence of two clouds and its gradients in their points and masses."""
    leaves = [leaf.clone().requires_grad_() for leaf in (*points, *log_masses)]
    x, y, log_a, log_b = leaves
    found = divergence(Cloud(x, log_a), Cloud(y, log_b))
    return found.detach(), *torch.autograd.grad(found.sum(), leaves, allow_unused=True)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 20),
    images=st.integers(1, 4),
    latent=st.integers(1, 8),
    shift=st.floats(-10, 10),
    p=st.sampled_from([1, 2]),
    blur=st.floats(0.01, 3),
    scaling=st.floats(0.1, 0.9),
    diameter=st.floats(0.5, 200),
    weights=st.sampled_from(["uniform", "density"]),
    spread=st.floats(0, 400),
)
def test_the_stacked_solver_is_geomloss(
    seed, count, images, latent, shift, weights, spread, **scales
):
    points = clouds(seed, count, images, latent, shift)
    log_masses = torch.randn(2, count, images).double() * spread  # the least weigh nothing at all
    make = partial(Sinkhorn, samples=count, weights=weights, **scales)
    wanted = solved(make(), points, log_masses)
    found = solved(make(solver="stacked"), points, log_masses)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-8)


def test_in_single_precision_the_stacked_solver_is_as_accurate_as_geomloss():
    points, log_masses = clouds(images=32), torch.randn(2, 16, 32).double()
    exact = solved(Sinkhorn(weights="density"), points, log_masses)
    errors = []
    for solver in ("geomloss", "stacked"):
        divergence = Sinkhorn(weights="density", solver=solver)
        single = [[tensor.float() for tensor in pair] for pair in (points, log_masses)]
        found = solved(divergence, *single)
        errors.append([float((f - e).norm()) for f, e in zip(found, exact, strict=True)])
    for theirs, ours in zip(*errors, strict=True):
        assert ours < 2 * theirs


def test_sinkhorn_is_geomloss_with_the_settings_of_the_paper():
    x, y = clouds()
    solve = SamplesLoss("sinkhorn", p=2, diameter=100)
    wanted = solve(x.transpose(0, 1).contiguous(), y.transpose(0, 1).contiguous())
    torch.testing.assert_close(Sinkhorn()(Cloud(x), Cloud(y)), wanted)


def test_geomloss_solves_on_a_cpu_and_the_stacked_solver_elsewhere(monkeypatch):
    def refuse(*points, **scales):
        raise AssertionError("GeomLoss")

    monkeypatch.setattr("probseg.divergences.transport.geomloss", refuse)
    divergence = Sinkhorn()
    for device in ("cpu", "meta"):  # meta stands for any other device
        zero = torch.zeros(2, 6, device=device)
        one = Independent(Normal(zero, torch.ones_like(zero), validate_args=False), 1)
        if device == "cpu":
            with pytest.raises(AssertionError, match="GeomLoss"):
                divergence(one, one)
        else:
            assert divergence(one, one).shape == (2,)


def test_a_model_takes_the_stacked_solver_and_its_contract_holds():
    stacked = {"name": "sinkhorn", "solver": "stacked"}
    check("divergence", stacked)
    model = probseg.build("csae", divergence=stacked)
    assert model.spec["divergence"]["solver"] == "stacked"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"solver": "stack"}, "solver must be one of .*, not 'stack'; did you mean 'stacked'"),
        ({"p": 3}, "p must be one of 1, 2, not 3"),
        ({"blur": 0.0}, "blur must be a positive finite number, not 0"),
        ({"diameter": float("inf")}, "diameter must be a positive finite number, not inf"),
        ({"scaling": 1.0}, "scaling must be between 0 and 1"),
        ({"samples": 0}, "samples must be an integer of at least 1, not 0"),
        ({"weights": "density2"}, "did you mean 'density'"),
    ],
)
def test_an_option_out_of_range_is_refused(options, told):
    with pytest.raises(OptionError, match=told):
        Sinkhorn(**options)


@pytest.mark.parametrize("solver", ["geomloss", "stacked"])
def test_pykeops_is_not_imported_where_it_is_installed(solver, tmp_path):
    package = tmp_path / "pykeops"
    package.mkdir()
    (package / "__init__.py").write_text("print('pykeops was imported')")
    code = (
        "import sys, torch\n"
        "from torch.distributions import Independent, Normal\n"
        "from probseg.divergences.transport import Sinkhorn\n"
        f"divergence = Sinkhorn(solver={solver!r})\n"
        "q, p = (Independent(Normal(torch.full((2, 3), m), 1.0), 1) for m in (0.0, 1.0))\n"
        "assert divergence(q, p).isfinite().all()\n"
        "print('ours is done')\n"
        "import geomloss  # of somebody else, with all that it looks for\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split("\n")[:2] == ["ours is done", "pykeops was imported"]


def test_a_sinkhorn_divergence_travels_to_another_process():
    again = pickle.loads(pickle.dumps(Sinkhorn(blur=0.1)))
    q, p = normal(torch.zeros(2, 3), 1.0), normal(torch.ones(2, 3), 1.0)
    found = []
    for divergence in (Sinkhorn(blur=0.1), again):
        torch.manual_seed(0)
        found.append(divergence(q, p))
    assert torch.equal(*found)
