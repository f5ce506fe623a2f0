"""Options on images of commands that use a trained model, and whether they fit to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from probseg.cli.parser import Parser
from probseg.errors import DataError, OptionError

if TYPE_CHECKING:
    from probseg.datasets.formats.preprocessing import Size
    from probseg.datasets.preprocessing import Preprocessing

OPTIONS = ("size", "resize", "normalise", "window")  # of data sets
MASK_OPTIONS = ("values", "threshold", "invert", "soft")
_WAY_OUT = "--as-is takes the images so on purpose"


def add_as_is(parser: Parser) -> None:
    """Add ``--as-is``."""
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="do not do to the images what was done to those that the model learnt from",
    )


def parse_size(size: str | None) -> Size | None:
    """Return height and width for ``--size PIXELS`` or ``--size HEIGHT,WIDTH``.

    Raises:
        OptionError: They are no such numbers.

    >>> parse_size("64"), parse_size("64,96")
    ((64, 64), (64, 96))
    """
    if size is None:
        return None
    words = size.split(",")
    if not all(word.strip().isdecimal() for word in words) or len(words) > 2:
        raise OptionError(f"--size must be PIXELS or HEIGHT,WIDTH, such as 128, not {size!r}")
    from probseg.datasets.formats.preprocessing import check_size

    edges = [int(word) for word in words]
    try:
        return check_size(edges if len(edges) == 2 else edges[0])
    except OptionError as error:
        raise OptionError(f"--{error}") from error


def parse_window(window: str | None) -> tuple[float, float] | None:
    """Return the numbers of ``--window LOW,HIGH``.

    Raises:
        OptionError: The window is not two ascending numbers.

    >>> parse_window("-1000,400")
    (-1000.0, 400.0)
    """
    if window is None:
        return None
    try:
        low, high = (float(word) for word in window.split(","))
    except ValueError:
        low = high = float("nan")
    if not -float("inf") < low < high < float("inf"):
        raise OptionError(
            f"--window must be LOW,HIGH with the lower first, such as -1000,400, not {window!r}"
        )
    return low, high


def check_agreement(learnt: Preprocessing | None, given: Mapping[str, tuple[str, Any]]) -> None:
    """Check that options are what was done to the images of a model, as far as that is known.

    Args:
        learnt: What was done to them.
        given: By the name of an option, how it is typed and its value.

    Raises:
        OptionError: One is not; the message has both values.
    """
    for name, (typed, value) in given.items():
        known = learnt and _known(learnt, name)
        if known is not None and _comparable(name, value) != known:
            raise OptionError(
                f"{typed}{_shown(value)}, but the model learnt from {_images(learnt, name)} "
                f"({learnt}); leave it out, or {_WAY_OUT}"
            )


def check_same(learnt: Preprocessing | None, data: Any) -> None:
    """Check that a data set gives a model images like those that it learnt from.

    Raises:
        DataError: It does not; the message has both values.
    """
    from probseg.datasets.batches import data_title
    from probseg.datasets.preprocessing import preprocessing_of

    given = preprocessing_of(data)
    if not learnt or not given:
        return
    if differences := learnt.differences(given) + learnt.mask_differences(given):
        raise DataError(
            f"the model learnt from other images than data set {data_title(data)} has: "
            f"{'; '.join(differences)}; {_WAY_OUT}"
        )


def _images(learnt: Preprocessing | None, name: str) -> str:
    """Return in words what a model learnt from, as far as an option says it."""
    if name == "crop" and learnt and learnt.size and not learnt.crop:
        return "whole images of {}x{}".format(*learnt.size)
    return f"images with {name}={_shown(learnt and _known(learnt, name))}"


def _known(learnt: Preprocessing, name: str) -> object:
    if name == "crop":
        return learnt.shape
    if name == "window" and learnt.normalise:
        return learnt.window or learnt.normalise
    return getattr(learnt, name)


def _comparable(name: str, value: Any) -> object:
    if name == "size":
        from probseg.datasets.formats.preprocessing import check_size

        return check_size(value)
    if name == "crop":
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        same = len(value) == 2 and value[0] == value[1]
        return f"{value[0]:g}" if same else ",".join(f"{one:g}" for one in value)
    return str(value)
