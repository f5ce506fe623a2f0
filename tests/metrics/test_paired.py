"""Paired tests against scipy, brute force, simulation and what must not matter."""

from itertools import product

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from probseg.metrics.intervals import draws, mean_interval
from probseg.metrics.paired import compare, holm, rank_biserial

VALUES = st.floats(-4, 4).map(lambda v: round(v, 2))
PAIRS = st.integers(2, 30).flatmap(lambda n: arrays(float, (2, n), elements=VALUES))


OLD = tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def groups_of(n: int) -> np.ndarray:
    return np.array([f"p{i // 2}" for i in range(n)])


@settings(max_examples=30, deadline=None)
@given(PAIRS)
def test_swapping_the_sides_flips_the_sign_and_nothing_else(pair) -> None:
    groups = groups_of(pair.shape[1])
    one, other = compare(*pair, groups), compare(*pair[::-1], groups)
    assert other.difference == pytest.approx(-one.difference, abs=1e-12)
    assert other.rank_biserial == pytest.approx(-one.rank_biserial, abs=1e-12)
    assert other.p == pytest.approx(one.p)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-9, nan_ok=True)
    assert -1 <= one.rank_biserial <= 1
    assert 0 <= one.p <= 1


@settings(max_examples=20, deadline=None)
@given(PAIRS)
def test_identical_sides_have_no_effect(pair) -> None:
    same = compare(pair[0], pair[0], groups_of(pair.shape[1]))
    assert (same.difference, same.rank_biserial, same.p) == (0, 0, 1)


def test_p_is_that_of_every_sign_tried() -> None:
    differences = np.array([0.3, -0.1, 0.8, 1.1, 0.45, -0.2, 0.9])
    ranks = stats.rankdata(np.abs(differences))
    observed = abs((np.sign(differences) * ranks).sum())
    sums = [abs(np.dot(signs, ranks)) for signs in product((-1, 1), repeat=len(ranks))]
    brute = np.mean([total >= observed - 1e-9 for total in sums])
    assert compare(differences, np.zeros(7), groups_of(7)).p == pytest.approx(brute)


@pytest.mark.parametrize("n", [2, 5, 10, 14, 30])
@pytest.mark.parametrize("digits", [0, 9])  # with ties and zeros, and without
def test_p_is_that_of_scipy(n, digits, rng) -> None:
    if OLD and digits == 0 and n < 14:
        pytest.skip("before 1.15, scipy took the normal approximation of few images with ties")
    differences = rng.normal(0.5, size=n).round(digits)
    p = stats.wilcoxon(differences).pvalue
    assert compare(differences, np.zeros(n), groups_of(n)).p == pytest.approx(p)


def test_the_effect_is_favourable_less_unfavourable_ranks() -> None:
    # ranks 1, 2, 3.5, 3.5 of −1, 2, 3, −3; zeros do not count
    assert rank_biserial(np.array([-1.0, 2.0, 3.0, -3.0, 0.0])) == pytest.approx((5.5 - 4.5) / 10)
    assert rank_biserial(np.array([0.1, 5.0])) == 1


def test_the_interval_is_scipys_bootstrap_of_patients(rng) -> None:
    groups = np.array([f"p{i}" for i in rng.integers(0, 40, size=150)])
    values = rng.normal(size=150) + 0.5 * np.array([int(g[1:]) % 3 for g in groups])
    names = np.unique(groups)
    sums = np.array([values[groups == g].sum() for g in names])
    counts = np.array([(groups == g).sum() for g in names])
    wanted = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        method="percentile",
        n_resamples=9999,
        **{"random_state" if OLD else "rng": np.random.default_rng(1)},
    ).confidence_interval
    width = wanted.high - wanted.low
    assert mean_interval(values, groups) == pytest.approx(wanted, abs=0.08 * width)


def test_images_of_one_patient_count_as_one(rng) -> None:
    patients = rng.normal(size=30)
    repeated = np.repeat(patients, 10)
    alone = mean_interval(patients, np.arange(30).astype(str))
    groups = np.repeat(np.arange(30), 10).astype(str)
    low, high = mean_interval(repeated, groups)
    assert (low, high) == pytest.approx(sorted(alone), abs=0.15)
    naive = mean_interval(repeated, np.arange(300).astype(str))
    assert high - low > 2 * (naive[1] - naive[0])


def test_one_patient_gives_no_interval() -> None:
    assert np.isnan(mean_interval(np.ones(4), np.array(["p"] * 4))).all()


def test_every_resample_draws_as_many_patients_as_there_are() -> None:
    assert (draws(9).sum(1) == 9).all()
    assert draws(9).mean(0) == pytest.approx(np.ones(9), abs=0.1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_holm_rejects_what_his_step_down_procedure_rejects(ps) -> None:
    adjusted = holm(ps)
    for level in (0.01, 0.05, 0.2):
        rejected = set()
        for step, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
            if ps[index] * (len(ps) - step) > level:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected
