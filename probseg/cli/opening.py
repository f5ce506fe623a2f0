"""Data sets by the name or the folder that a user gives."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.parser import Parser, add_set, parse_assignments
from probseg.errors import (
    CheckpointError,
    DataError,
    MissingDataError,
    OptionError,
    ProbsegError,
)
from probseg.options import did_you_mean, listing, named_parameters, unknown
from probseg.registry import registry

if TYPE_CHECKING:
    from probseg.datasets.views import Parts
    from probseg.interfaces import Dataset, Metric

CHECKPOINTS = ("model.safetensors", "best.safetensors")
FEWEST_GROUPS = 4  # three folds and a test set
_OPTION = re.compile(
    r"""\b(root|cache|size|normalise|window|palette|resample_masks|classes|on_fault|out|threshold"""
    r"""|soft|invert)=(?:"(\w+)"|\((\w+), (\w+)\)|(\d[\d.]*\d|\d|True))?(?=[ ;,.)]|$)"""
)
_MAPPING = re.compile(r"""\bvalues=\{([^ :]+): "?(\w+)"?\}""")


def add_data(parser: Parser, name: str = "--data", **options: Any) -> None:
    """Add ``--data``, or an argument of another ``name`` for the same, and ``--root``."""
    if name.startswith("-"):
        options["required"] = True
    either = "a folder of images/ and masks/, or the name of a data set (probseg list datasets)"
    parser.add_argument(
        name, type=os.path.expanduser, metavar="FOLDER|NAME", help=either, **options
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="where a named data set lies (or $PROBSEG_DATA)"
    )


def add_sections(parser: Parser, names: tuple[str, ...]) -> None:
    """Add ``--set SECTION.KEY=VALUE``, to be read by :func:`parse_sections`."""
    add_set(parser, f"options of the {listing(names)}, such as data.size=128")


def parse_sections(assignments: list[str], names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return the options of each section.

    Raises:
        OptionError: A section is unknown, or its value is no option of it.

    >>> parse_sections(["data.size=64"], ("data", "model"))
    {'data': {'size': 64}, 'model': {}}
    """
    given = parse_assignments(assignments)
    for name, value in given.items():
        if name not in names or not isinstance(value, Mapping):
            raise OptionError(f"--set takes SECTION.KEY=VALUE; {unknown('section', name, names)}")
    return {name: dict(given.get(name, {})) for name in names}


def open_data(data: str, root: Path | None, options: Mapping[str, Any], **defaults: Any) -> Dataset:
    """Open the data set of a name, or of a folder.

    Args:
        data: The name or the folder.
        root: Where a named data set lies.
        options: Those of the data set.
        **defaults: Options that are given to a data set that takes them.

    Raises:
        OptionError: It is neither.
        ProbsegError: It cannot be opened.
    """
    check_data(data, root)
    datasets = registry("datasets")
    name = data if data in datasets else "folder"
    if name != data:
        defaults["root"] = data
    elif root is not None:
        defaults["root"] = root
    takes = named_parameters(datasets[name])
    chosen = {option: value for option, value in defaults.items() if option in takes}
    with as_typed("data", root="--data" if name != data else "--root", cache="$PROBSEG_CACHE"):
        try:
            dataset: Dataset = datasets.create(name, **{**chosen, **options})
        except MissingDataError as error:
            if name == data:
                raise
            raise MissingDataError(
                f"{error}; or if named data sets lie there: probseg data check --root {data}"
            ) from error
    return dataset


def is_packed_data(data: str, root: Path | None) -> bool:
    """Return whether a folder, or where a named data set lies, is a packed data set."""
    from probseg.datasets.roots import is_packed

    return is_packed(root) if data in registry("datasets") else is_packed(data)


def check_data(data: str, root: Path | None) -> None:
    """Check that there is a data set of a name, or a folder, and that the root exists.

    Raises:
        OptionError: They do not.
    """
    if data not in registry("datasets") and not Path(data).exists():
        folders = (f"{path}" for path in Path(data).parent.glob("[!.]*/"))
        hint = did_you_mean(data, [*folders, *registry("datasets")])
        raise OptionError(
            f"there is no folder {data}, and no data set of that name{hint or ';'} "
            "probseg list datasets shows the names"
        )
    if root is not None and not root.exists():
        raise OptionError(f"--root {root} does not exist; give the folder of the data sets")


def split_data(data: Dataset, seed: int, **options: Any) -> Parts:
    """Split a data set as ``probseg train`` does, or by other options of :func:`probseg.split`.

    Raises:
        DataError: It has too few groups.
    """
    from probseg.datasets.batches import data_title
    from probseg.datasets.views import split

    groups = len(set(data.groups))
    if groups < FEWEST_GROUPS:
        raise DataError(
            f"{data_title(data)} has {counted(data)}, such as patients; training, "
            f"validation and test need {FEWEST_GROUPS} groups or more, as each is in one part only "
            "(groups.csv of a folder says which images are of one group)"
        )
    return split(data, seed=seed, **options)


def add_protocol(parser: Parser) -> None:
    """Add ``--protocol``."""
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="part and crop the data as it says (probseg protocols)",
    )


def counted(data: Dataset) -> str:
    """Return how many images and groups there are: ``"12 images of 1 group"``."""
    counts = {"image": len(data), "group": len(set(data.groups))}
    return " of ".join(f"{n} {one}{'' if n == 1 else 's'}" for one, n in counts.items())


def add_metrics(parser: Parser) -> None:
    """Add ``--metrics`` and ``--conventions``, to be read by :func:`chosen_metrics`."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--metrics", nargs="+", metavar="NAME", help="see probseg list metrics (default: the usual)"
    )
    either.add_argument(
        "--conventions",
        action="store_true",
        help="GED, HM-IoU and Dice by each of the conventions that papers use",
    )


def chosen_metrics(options: argparse.Namespace) -> Mapping[str, Metric] | list[str] | None:
    """Return the metrics that a user asks for."""
    if not options.conventions:
        given: list[str] | None = options.metrics
        return given
    from probseg.metrics.conventions import CONVENTIONS

    return CONVENTIONS


def check_file(out: Path | None, option: str = "--out", example: str = "scores.csv") -> None:
    """Check, before any work is done, that a file can be written.

    Raises:
        OptionError: It is a folder.
    """
    if out is not None and out.is_dir():
        raise OptionError(f"{option} {out} is a folder; give a file, such as {out / example}")


def checkpoint_of(path: Path) -> Path:
    """Return the checkpoint in a folder of a run or of a model, or the path itself.

    Raises:
        CheckpointError: The folder has none.
    """
    if not path.is_dir():
        return path
    for name in CHECKPOINTS:
        if (path / name).is_file():
            return path / name
    why = f"holds no {' or '.join(CHECKPOINTS)}; give a checkpoint or its folder"
    if (path / "run.json").is_file():
        why = "is a run without a validation round; its command of probseg train goes on with it"
    raise CheckpointError(f"{path} {why}")


@contextmanager
def as_typed(section: str, **arguments: str) -> Iterator[None]:
    """Name options in an error's message as they are typed: ``size=`` is ``--set data.size=``.

    Args:
        section: That of ``--set`` where options are set.
        **arguments: Options that have another argument of the command.
    """
    try:
        yield
    except ProbsegError as error:
        error.args = (typed(str(error), section, **arguments), *error.args[1:])
        raise


def typed(message: str, section: str, **arguments: str) -> str:
    """Return a message with its options as :func:`as_typed` names them.

    >>> typed('pass size= or values={255: "ignore"}', "data")
    'pass --set data.size= or --set data.values.255=ignore'
    """

    def option(match: re.Match[str]) -> str:
        name, quoted, low, high, plain = match.groups()
        word = arguments.get(name, f"--set {section}.{name}=")
        return f"{word}{f'[{low},{high}]' if low else quoted or (plain or '').lower()}"

    values = f"{arguments['values']} " if "values" in arguments else f"--set {section}.values."
    return _OPTION.sub(option, _MAPPING.sub(rf"{values}\1=\2", message))
