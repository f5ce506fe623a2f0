from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probseg.datasets.splits import Split, natural, split
from probseg.errors import DataError, OptionError

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
GROUPS = st.builds(  # patients with one to nine images each, in any order
    lambda sizes, seed: [
        f"p{patient}"
        for patient in np.random.default_rng(seed).permutation(np.repeat(range(len(sizes)), sizes))
    ],
    st.lists(st.integers(1, 9), min_size=7, max_size=30),
    st.integers(0, 99),
)


@FEW
@given(groups=GROUPS, seed=st.integers(0, 2**32), fold=st.integers(0, 2))
def test_no_patient_is_on_two_sides(groups: list[str], seed: int, fold: int) -> None:
    part = split(groups, seed=seed, fold=fold)
    sides = [{groups[i] for i in side} for side in (part.train, part.validation, part.test)]
    assert sum(map(len, sides)) == len(set.union(*sides))


@FEW
@given(
    groups=GROUPS,
    seed=st.integers(0, 2**32),
    folds=st.integers(2, 4),
    by=st.sampled_from(["patient", "image"]),
    share=st.sampled_from([0.1, 0.2, 0.4]),
)
def test_every_sample_tests_or_validates_in_one_fold(
    groups: list[str], seed: int, folds: int, by: str, share: float
) -> None:
    options = {"seed": seed, "folds": folds, "by": by, "test": share}
    parts = [split(groups, fold=fold, **options) for fold in range(folds)]  # type: ignore[arg-type]
    sides = [*(part.validation for part in parts), parts[0].test]
    assert sorted(index for side in sides for index in side) == list(range(len(groups)))
    for part in parts:
        everybody = sorted([*part.train, *part.validation, *part.test])
        assert everybody == list(range(len(groups))) and part.test == parts[0].test


def test_the_first_fifth_tests_in_natural_order() -> None:
    groups = [f"p{n}" for n in range(50, 0, -1)]  # p10 sorts after p9, not after p1
    assert {groups[i] for i in split(groups).test} == {f"p{n}" for n in range(1, 11)}
    assert split(groups, by="image").test == tuple(range(10))


def test_folds_are_even_and_seeded() -> None:
    groups = [f"p{n}" for n in range(100)]
    folds = [split(groups, fold=k) for k in range(3)]
    assert sorted(len(part.validation) for part in folds) == [26, 27, 27]
    assert split(groups) == split(groups)
    assert split(groups, seed=1).validation != split(groups).validation
    assert split(groups, seed=1).test == split(groups).test


@FEW
@given(groups=GROUPS, seed=st.integers(0, 2**32))
def test_json_round_trip(groups: list[str], seed: int) -> None:
    part = split(groups, seed=seed)
    assert Split.from_json(part.to_json()) == part


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"train": [1], "validation": [2], "test": [3]}'])
def test_json_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        Split.from_json(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "patients"}, "did you mean 'patient'"),
        ({"fold": 3}, "fold 0 to folds - 1, not 3 and 3"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"test": 1.0}, "share"),
        ({"folds": 9}, "too few"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        split([f"p{n}" for n in range(10)], **options)  # type: ignore[arg-type]


def test_it_prints() -> None:
    text = str(split([f"p{n}" for n in range(10)], fold=1))
    assert text == "fold 2 of 3 by patient, seed 0: 5 train, 3 validation, 2 test"


def test_natural_order() -> None:
    names = ["b", "a10", "a9", "a", "10", "9"]
    assert sorted(names, key=natural) == ["a", "a9", "a10", "b", "9", "10"]


def test_digits_that_are_no_numbers_sort_as_letters() -> None:
    assert sorted(["²", "a²", "a10", "a9"], key=natural) == ["a9", "a10", "a²", "²"]


def test_numbers_sort_by_value_whatever_their_length() -> None:
    names = ["0", "2", "02", "3", "10", "0010", "11", "9" * 5000, "1" * 5001]
    assert sorted(reversed(names), key=natural) == names
