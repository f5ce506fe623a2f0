"""A trained model, and data opened as those that it learnt from were."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.opening import (
    add_data,
    add_protocol,
    add_sections,
    checkpoint_of,
    is_packed_data,
    open_data,
    parse_sections,
    split_data,
)
from probseg.cli.parser import Parser
from probseg.cli.preprocessing import MASK_OPTIONS, OPTIONS, add_as_is, check_agreement, check_same
from probseg.cli.run_split import RunSplit, read_split
from probseg.errors import OptionError
from probseg.options import check_integer

if TYPE_CHECKING:
    from probseg.datasets.formats.preprocessing import Size
    from probseg.datasets.preprocessing import Preprocessing
    from probseg.interfaces import Dataset
    from probseg.metrics.scores import Scores
    from probseg.protocols import Protocol
    from probseg.protocols.protocol import Prepared

_UNKNOWN = (
    "the model's file does not say what was done to the images that it learnt from; give the data "
    "the same size and window with --set, and --crop"
)
PARTS = ("all", "train", "validation", "test")


def add_trained(parser: Parser, *, part: str) -> None:
    """Add the model, the data and how to open them.

    Args:
        parser: Of the command.
        part: The part of the split that is taken by default.
    """
    parser.add_argument("model", type=Path, metavar="MODEL", help="a checkpoint or its folder")
    add_data(parser)
    parser.add_argument(
        "--part", choices=PARTS, default=part, help=f"of the split of probseg train ({part})"
    )
    add_protocol(parser)
    parser.add_argument("--images", type=int, metavar="N", help="at most so many, drawn at random")
    parser.add_argument(
        "--crop",
        type=int,
        metavar="PIXELS",
        help="the middle only (default: as the images that the model learnt from)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of samples, and of a split not known (0)"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1")
    add_as_is(parser)
    add_sections(parser, ("data",))


@dataclass(frozen=True)
class Trained:
    """A model, the images to use it on, and the protocol that chose these, if one did."""

    model: Any
    data: Dataset
    part: str
    learnt: Preprocessing | None
    """What the model's file says was done to its images; the model has what was opened alike."""
    protocol: Protocol | None = None
    remarks: Sequence[str] = ()
    """Where the data are not the protocol's complete ones."""
    deviations: Sequence[str] = field(default_factory=list)
    """What is not as the protocol says."""

    @classmethod
    def opened(cls, options: argparse.Namespace) -> Trained:
        """Open the model and the data that the options of :func:`add_trained` name.

        Raises:
            OptionError: An option is out of range, or contradicts the protocol or the model.
            ProbsegError: The model or the data cannot be opened.
        """
        protocol = _checked_protocol(options)
        given = parse_sections(options.set, ("data",))

        import probseg

        model: Any = probseg.load(checkpoint_of(options.model))
        known = model.preprocessing
        learnt = None if options.as_is else known
        check_agreement(learnt, _asked(given["data"], options.crop))
        told = given["data"].keys() & set(MASK_OPTIONS)  # what the masks of these data mean
        alike = replace(learnt, mask_values=None) if learnt and told else learnt
        packed = is_packed_data(options.data, options.root)  # and cannot be opened otherwise
        defaults = alike.options if alike and not packed else {}
        if protocol and not packed:
            defaults = {**defaults, **protocol.options}
        data = open_data(options.data, options.root, given["data"], **defaults)
        remarks: Sequence[str] = ()
        others: list[str] = []
        if options.part != "all":
            split = read_split(options.model)
            _check_split(split, protocol, options.part)
        if protocol:
            prepared = protocol.prepare(data)
            data, remarks = getattr(prepared.parts, options.part), prepared.remarks
            others += deviations(prepared, given["data"])
        elif options.part != "all":
            how = split.options if split else {"seed": options.seed}
            data = getattr(split_data(data, **how), options.part)
        crop = None if protocol else options.crop or (learnt and learnt.crop)
        data = _view(data, options.images, crop)
        check_same(alike, data)
        if known is None:
            print(_UNKNOWN, file=sys.stderr)
        model.preprocessing = alike
        others += [f"{options.images} images"] * (options.images is not None)
        return cls(model, data, options.part, known, protocol, remarks, others)

    def stated(self, scores: Scores, *deviations: str) -> Scores:
        """Return scores that say by which protocol they came about, and with which deviations."""
        if self.protocol is None:
            return scores
        others = [*deviations, *self.deviations]
        return stated(scores, self.protocol, self.part, self.remarks, others)


def _checked_protocol(options: argparse.Namespace) -> Protocol | None:
    """Check options, and return the protocol if one is named.

    Raises:
        OptionError: A number is out of range, or options contradict the protocol.
        UnknownNameError: There is none of that name.
    """
    check_integer("--seed", options.seed, low=0)
    for name in ("images", "crop"):
        if (value := getattr(options, name)) is not None:
            check_integer(f"--{name}", value)
    if not options.protocol:
        return None
    from probseg import protocols

    protocol = protocols.get(options.protocol)
    if options.crop:
        raise OptionError(
            f"--protocol {protocol.name} says how images are cropped; leave --crop out"
        )
    if options.part == "all":
        raise OptionError("a protocol has the parts train, validation and test; choose one")
    return protocol


def _check_split(split: RunSplit | None, protocol: Protocol | None, part: str) -> None:
    """Check that a run is not used with a protocol that did not split its data, or without its own.

    Raises:
        OptionError: It is.
    """
    if split is None or split.protocol == (protocol.name if protocol else None):
        return
    own = f"give {split} as well" if split.protocol else "leave --protocol out"
    other = "copy its file out of the run's folder" if protocol else "take --part all"
    raise OptionError(
        f"the run was trained with {split}, so images that it learnt from may be in the part "
        f"{part!r} of {f'protocol {protocol.name}' if protocol else 'another split'}; {own}; "
        f"for data that the model never saw, {other}"
    )


def deviations(prepared: Prepared, options: Mapping[str, Any]) -> list[str]:
    """Return what a protocol does not say of its data.

    Args:
        prepared: The data.
        options: Those of ``--set`` that they were opened with.
    """
    return [*prepared.deviations] or ["other options of the data"] * bool(options)


def stated(
    scores: Scores,
    protocol: Protocol,
    part: str,
    remarks: Sequence[str],
    others: Sequence[str] = (),
) -> Scores:
    """Return scores that say by which protocol they came about.

    Args:
        scores: Of a part of its data.
        protocol: What they follow.
        part: Which one.
        remarks: Where the data are not the protocol's complete ones.
        others: What is not as the protocol says.
    """
    name = f"protocol {protocol.name} ({protocol.fingerprint})"
    but = f", but with {' and '.join(others)}" if others else ""
    told = {"protocol": protocol.name, "protocol_fingerprint": protocol.fingerprint, "part": part}
    return replace(
        scores,
        data=f"{name}, part {part}{but}; {scores.data}",
        about={**scores.about, **told, "not_of_the_protocol": list(others)},
        remarks=[*(f"{protocol.name}: {remark}" for remark in remarks), *scores.remarks],
    )


def _asked(options: Mapping[str, Any], crop: int | None) -> dict[str, tuple[str, Any]]:
    """Return what the options say on images, and how each is typed."""
    asked = {
        name: (f"--set data.{name}=", options[name])
        for name in OPTIONS
        if options.get(name) is not None
    }
    return {**asked, **({"crop": ("--crop ", crop)} if crop else {})}


def _view(data: Dataset, images: int | None, crop: int | Size | None) -> Dataset:
    """Return at most so many images, the same ones that the benchmark takes, and their middle."""
    from probseg.datasets.splits import thin
    from probseg.datasets.views import CentreCrop, Subset

    if images is not None:
        data = Subset(data, thin(range(len(data)), images, seed=0))
    return CentreCrop(data, crop) if crop else data
