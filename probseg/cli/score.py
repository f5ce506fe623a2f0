"""``probseg score``: masks of any program against annotations."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.opening import add_metrics, as_typed, check_file, chosen_metrics
from probseg.cli.parser import Parser, parse_assignments
from probseg.errors import OptionError
from probseg.utils.imports import require

if TYPE_CHECKING:
    from rich.console import Console

    from probseg.datasets.mask_folders import MaskFolders
    from probseg.metrics.score_comparison import ScoreComparison
    from probseg.metrics.scores import Scores

_WIDE = 120  # characters of a terminal that shows wide tables
_FILE_WIDTH = 200
SUMMARY = "score masks of any program against annotations, and compare programs"
EXAMPLES = """
examples:
  %(prog)s --samples predicted --annotations my-data/masks
  %(prog)s --samples predicted --annotations my-data/masks --metrics ged hungarian-iou
  %(prog)s --samples predicted --annotations my-data/masks --groups patients.csv --out scores.csv
  %(prog)s --samples ours theirs=other/masks --annotations my-data/masks --report scores.html

Each folder has a folder of masks for each image, DIR/ID/*.png (or .tif, .npy, .npz, .nii.gz);
folders of one name belong together. A mask has the classes 0, 1, …; of two classes, 255 may stand
for 1, unless --values 255=ignore leaves such pixels of the annotations out. What probseg predict
wrote can be scored as it is. Several folders of samples are compared on the same images, with
paired tests.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``score``."""
    parser.add_argument(
        "--samples",
        nargs="+",
        action="extend",
        required=True,
        metavar="[NAME=]DIR",
        help="masks that a model predicted; several are compared (name: the folder's)",
    )
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="DIR", help="masks that people drew"
    )
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="samples are probabilities from 0 to 1 (or grey, 0 to 255), not masks",
    )
    parser.add_argument("--classes", type=int, default=2, metavar="K", help="with background (2)")
    parser.add_argument(
        "--values",
        nargs="+",
        default=[],
        metavar="VALUE=CLASS",
        help="what values in annotations mean; 255=ignore leaves out what nobody labelled",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="masks are grey or soft: what is above this value is foreground (not --probabilities)",
    )
    add_metrics(parser)
    parser.add_argument(
        "--groups", type=Path, metavar="FILE", help="CSV of id,group: intervals are over groups"
    )
    parser.add_argument(
        "--common", action="store_true", help="score the images that all folders have"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write each image's values to a CSV file"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write a page of HTML, with pictures"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="ID.png … that the report draws masks on"
    )


def run(options: argparse.Namespace) -> int:
    """Print the scores, and write them if there is a file to write to."""
    if not 2 <= options.classes <= 256:
        raise OptionError(f"--classes must be 2 to 256 with the background, not {options.classes}")
    check_file(options.out)
    check_file(options.report, "--report", "scores.html")
    if options.out and options.report and options.out.resolve() == options.report.resolve():
        raise OptionError(f"--out and --report are both {options.out}; give two files")
    folders = named_folders(options.samples)
    if options.report:
        for package in ("jinja2", "matplotlib"):
            require(package, extra="plot", for_="probseg score --report")
    elif options.images:
        raise OptionError("--images is for the pictures of --report; give --report FILE as well")
    from rich.console import Console

    from probseg.datasets.folder import read_groups
    from probseg.datasets.image_folder import ImageFolder
    from probseg.datasets.mask_folders import MaskFolders
    from probseg.metrics.mask_evaluation import compare_masks, evaluate_masks

    images = ImageFolder(options.images) if options.images else None
    typed = {"classes": "--classes", "values": "--values", "threshold": "--threshold "}
    with as_typed("data", **typed):
        systems = {name: _samples(folder, options) for name, folder in folders.items()}
        annotations = MaskFolders(
            options.annotations,
            classes=options.classes,
            values=parse_assignments(options.values),
            threshold=options.threshold,
        )
        how: dict[str, Any] = {
            "metrics": chosen_metrics(options),
            "groups": read_groups(options.groups) if options.groups else None,
            "common": options.common,
            "reliability": options.report is not None,
        }
        scores: dict[str, Scores]
        result: Scores | ScoreComparison
        if len(systems) == 1:
            ((name, samples),) = systems.items()
            result = evaluate_masks(samples, annotations, **how)
            scores = {name: result}
        else:
            result = compare_masks(systems, annotations, **how)
            scores = dict(result.scores)
    if options.out:  # before anything is printed, as whoever reads that may go away
        result.to_csv(options.out)
    console = Console()
    if not console.is_terminal:  # a file or another program, which has no width
        console = Console(width=_FILE_WIDTH)
    _print(result, console)
    if options.report:
        from probseg.reports.score_report import Masks, write_score_report

        write_score_report(scores, Masks(systems, annotations, images), options.report)
    if options.out:
        console.print(f"every image's values are in {options.out}", highlight=False, markup=False)
    if options.report:
        console.print(f"pictures and tables are in {options.report}", highlight=False, markup=False)
    return 0


def _samples(folder: Path, options: argparse.Namespace) -> MaskFolders:
    from probseg.datasets.mask_folders import MaskFolders
    from probseg.datasets.probability_folders import ProbabilityFolders

    if options.probabilities:
        return ProbabilityFolders(folder, classes=options.classes)
    return MaskFolders(
        folder,
        classes=options.classes,
        threshold=options.threshold,
        takes=("classes", "threshold"),  # --values is for annotations
    )


def named_folders(given: Sequence[str]) -> dict[str, Path]:
    """Return the folders of ``[NAME=]DIR`` by name.

    A folder without a name has its own; of two with the same, both have the whole path.

    Raises:
        OptionError: Two have the same name, or a name has no folder.

    >>> list(named_folders(["ours", "theirs=other/masks"]))
    ['ours', 'theirs']
    >>> list(named_folders(["a/masks", "b/masks"]))
    ['a/masks', 'b/masks']
    """
    split = [_split(one) for one in given]
    short = Counter(name or folder.name for name, folder in split)
    names = [
        name or (folder.name if folder.name and short[folder.name] == 1 else str(folder))
        for name, folder in split
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise OptionError(
            f"--samples has {twice[0]} twice; give each folder once, with a name of its own: "
            "NAME=DIR"
        )
    return dict(zip(names, (folder for _, folder in split), strict=True))


def _split(given: str) -> tuple[str, Path]:
    name, sign, folder = given.partition("=")
    named = sign and name and "/" not in name and not Path(given).exists()
    if named and not folder:
        raise OptionError(f"--samples {given} names no folder; write NAME=DIR")
    return (name, Path(folder)) if named else ("", Path(given))


def _print(result: Scores | ScoreComparison, console: Console) -> None:
    from probseg.metrics.scores import Scores
    from probseg.reports.score_tables import long_means_table, means_table, tests_table
    from probseg.reports.tables import to_terminal

    if isinstance(result, Scores):
        console.print(result)
        return
    narrow = console.width < _WIDE
    means = long_means_table if narrow else means_table
    console.print(to_terminal(means(result.scores)))
    console.print(to_terminal(tests_table(result.tests, short=narrow)))
    for remark in result.remarks:
        console.print(remark, highlight=False, markup=False)
    for name, scores in result.scores.items():
        for remark in (*_problems(scores), *scores.remarks):
            console.print(f"{name}: {remark}", highlight=False, markup=False)


def _problems(scores: Scores) -> list[str]:
    return [f"{metric} has no value: {reason}" for metric, reason in scores.problems.items()]
