"""Plain types that annotations name."""

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from probseg.errors import OptionError
from probseg.options import (
    annotation_of,
    check_choice,
    check_integer,
    check_number,
    check_options,
    fits,
    to_plain,
)


@pytest.mark.parametrize(
    ("value", "annotation", "wanted"),
    [
        (2, "int", True),
        (2.0, "int", False),
        (True, "int", False),
        (True, "bool", True),
        (1, "bool", False),
        (2, "float", True),
        ("2", "float", False),
        (None, "str | None", True),
        (3, "str | None", False),
        ((4, 8), "Sequence[int]", True),
        ([4, "8"], "Sequence[int]", False),
        (4, "collections.abc.Sequence[int]", False),
        ((0.5, 0.5), "tuple[float, ...] | None", True),
        ([[1], [2]], "list[list[int]]", True),
        ([[1], 2], "list[list[int]]", False),
        (object(), "Part", True),
        (object(), "", True),
        (print, "Callable[..., int]", True),
    ],
)
def test_fits(value, annotation, wanted):
    assert fits(value, annotation) is wanted


def test_annotations_are_read_as_strings_or_as_types():
    def part(a: int, b: "float", c: Sequence[int], d: Callable[..., int], e=None):
        """Take options."""

    found = [annotation_of(p) for p in inspect.signature(part).parameters.values()]
    assert found[:2] == ["int", "float"] and found[4] == ""
    assert not fits(3, found[2]) and fits([3], found[2]) and fits(print, found[3])


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(3), 3),
        ("a", "a"),
        (None, None),
    ],
)
def test_numbers_of_numpy_are_numbers(value, plain):
    assert to_plain(value) == plain and type(to_plain(value)) is type(plain)


def part(a: int, b: float = 1.0, c: bool = True, d: Sequence[int] | None = None, e: object = None):
    """Take options."""


def test_options_of_numpy_become_pythons():
    values = np.array([1, 2])
    given = {"a": np.int32(2), "b": np.int64(3), "c": np.False_, "d": values, "e": values}
    plain = check_options(part, given, owner="a part")
    assert plain["e"] is values  # who asks for an array gets it
    assert [type(plain[name]) for name in "abcd"] == [int, int, bool, list]
    assert check_options(part, {"a": 1, "d": (np.int64(4), 5)}, owner="a part")["d"] == (4, 5)


@pytest.mark.parametrize(
    "wrong", [{"a": np.float64(2.0)}, {"a": np.True_}, {"a": 1, "d": np.array([0.5])}]
)
def test_what_does_not_fit_is_named_as_it_was_given(wrong):
    with pytest.raises(OptionError, match="of a part must be"):
        check_options(part, wrong, owner="a part")


def test_checks_return_pythons_numbers():
    assert type(check_integer("n", np.int64(2))) is int
    assert type(check_number("x", np.float32(2))) is float
    check_choice("c", np.True_, (True, False))
    for wrong in (np.float64(2), np.True_, np.array([2])):
        with pytest.raises(OptionError):
            check_integer("n", wrong)
