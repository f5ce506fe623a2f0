"""Plain types that annotations name."""

import inspect
from collections.abc import Callable, Sequence

import pytest

from probseg.options import annotation_of, fits


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
