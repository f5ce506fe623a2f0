"""``probseg evaluate``: score a trained model on a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.opening import (
    add_data,
    add_metrics,
    add_protocol,
    add_sections,
    check_file,
    checkpoint_of,
    chosen_metrics,
    open_data,
    parse_sections,
    split_data,
)
from probseg.cli.parser import Parser, add_stratified
from probseg.cli.preprocessing import MASK_OPTIONS, OPTIONS, add_as_is, check_agreement, check_same
from probseg.errors import OptionError
from probseg.options import check_integer

if TYPE_CHECKING:
    from probseg.datasets.formats.preprocessing import Size
    from probseg.interfaces import Dataset
    from probseg.metrics.scores import Scores
    from probseg.protocols import Protocol

SUMMARY = "score a trained model on data that several people annotated"
EXAMPLES = """
examples:
  %(prog)s run --data my-data
  %(prog)s model.safetensors --data contours --part test --metrics ged hungarian-iou -n 100
  %(prog)s benchmarks/out/cells/quick/lidc/csae/fold0-seed0-1716e0d8 \\
      --data lidc --root DATA

MODEL is a checkpoint, or the folder of save_pretrained, of probseg train or of a model of the
benchmark. The data are opened as those that the model learnt from were: their size, window and
crop are in its file. A group, such as a patient, is the unit of the intervals.
"""
_UNKNOWN = (
    "the model's file does not say what was done to the images that it learnt from; give the data "
    "the same size and window with --set, and --crop"
)
PARTS = ("all", "train", "validation", "test")


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``evaluate``."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a checkpoint or its folder")
    add_data(parser)
    parser.add_argument(
        "--part", choices=PARTS, default="test", help="of the split of probseg train (test)"
    )
    add_protocol(parser)
    parser.add_argument("--images", type=int, metavar="N", help="at most so many, drawn at random")
    parser.add_argument(
        "--crop",
        type=int,
        metavar="PIXELS",
        help="the middle only (default: as the images that the model learnt from)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of split and samples (0)")
    parser.add_argument(
        "-n", type=int, metavar="N", help="samples an image (16, or the most that --protocol names)"
    )
    add_stratified(parser)
    add_metrics(parser)
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write each image's values to a CSV file"
    )
    add_as_is(parser)
    add_sections(parser, ("data",))


def run(options: argparse.Namespace) -> int:
    """Print the scores, and write them if there is a file to write to."""
    check_integer("--seed", options.seed, low=0)
    if options.n is not None:
        check_integer("-n", options.n)
    protocol = _protocol(options)
    check_file(options.out)
    for name in ("images", "crop"):
        if (value := getattr(options, name)) is not None:
            check_integer(f"--{name}", value)
    given = parse_sections(options.set, ("data",))
    from rich.console import Console

    import probseg
    from probseg.datasets.roots import is_packed

    model: Any = probseg.load(checkpoint_of(options.model))
    learnt = None if options.as_is else model.preprocessing
    check_agreement(learnt, _asked(given["data"], options.crop))
    told = given["data"].keys() & set(MASK_OPTIONS)  # what the masks of these data mean
    alike = replace(learnt, mask_values=None) if learnt and told else learnt
    packed = is_packed(options.root or Path(options.data))  # and cannot be opened otherwise
    defaults = alike.options if alike and not packed else {}
    if protocol and not packed:
        defaults = {**defaults, **protocol.options}
    data = open_data(options.data, options.root, given["data"], **defaults)
    if protocol:
        prepared = protocol.prepare(data)
        data = _view(getattr(prepared.parts, options.part), options.images, None)
    else:
        if options.part != "all":
            data = getattr(split_data(data, options.seed), options.part)
        data = _view(data, options.images, options.crop or (learnt and learnt.crop))
    check_same(alike, data)
    if model.preprocessing is None:
        print(_UNKNOWN, file=sys.stderr)
    model.preprocessing = alike
    scores = probseg.evaluate(
        model,
        data,
        n=options.n or (max(protocol.samples) if protocol else 16),
        stratified=options.stratified,
        metrics=chosen_metrics(options) or (protocol.metrics if protocol else None),
        device=options.device,
        seed=options.seed,
    )
    if protocol:
        n = options.n or max(protocol.samples)
        others = [f"{n} samples"] * (n not in protocol.samples)
        others += ["stratified samples"] * options.stratified
        others += [f"{options.images} images"] * (options.images is not None)
        others += ["other options of the data"] * bool(given["data"])
        scores = stated(scores, protocol, options.part, prepared.remarks, others)
    if options.out:  # before anything is printed, as whoever reads that may go away
        scores.to_csv(options.out)
    console = Console()
    console.print(scores)
    if options.out:
        console.print(f"every image's values are in {options.out}", highlight=False, markup=False)
    return 0


def _protocol(options: argparse.Namespace) -> Protocol | None:
    """Return the protocol, if one is named.

    Raises:
        OptionError: Other options contradict it.
        UnknownNameError: There is none of that name.
    """
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
