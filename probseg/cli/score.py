"""``probseg score``: masks of any program against annotations."""

from __future__ import annotations

import argparse
from pathlib import Path

from probseg.cli.opening import as_typed, check_file
from probseg.cli.parser import Parser, parse_assignments
from probseg.errors import OptionError

SUMMARY = "score masks of any program against annotations, without a model"
EXAMPLES = """
examples:
  %(prog)s --samples predicted --annotations my-data/masks
  %(prog)s --samples predicted --annotations my-data/masks --metrics ged hungarian-iou
  %(prog)s --samples predicted --annotations my-data/masks --groups patients.csv --out scores.csv

Each folder has a folder of masks for each image, DIR/ID/*.png (or .tif, .npy, .npz, .nii.gz);
folders of one name belong together. A mask has the classes 0, 1, …; of two classes, 255 may stand
for 1, unless --values 255=ignore leaves such pixels of the annotations out. What probseg predict
wrote can be scored as it is.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``score``."""
    parser.add_argument(
        "--samples", type=Path, required=True, metavar="DIR", help="masks that a model predicted"
    )
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="DIR", help="masks that people drew"
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
        help="masks are grey or soft: what is above this value is foreground",
    )
    parser.add_argument(
        "--metrics", nargs="+", metavar="NAME", help="see probseg list metrics (default: the usual)"
    )
    parser.add_argument(
        "--groups", type=Path, metavar="FILE", help="CSV of id,group: intervals are over groups"
    )
    parser.add_argument(
        "--common", action="store_true", help="score the images that both folders have"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write each image's values to a CSV file"
    )


def run(options: argparse.Namespace) -> int:
    """Print the scores, and write them if there is a file to write to."""
    if not 2 <= options.classes <= 256:
        raise OptionError(f"--classes must be 2 to 256 with the background, not {options.classes}")
    check_file(options.out)
    from rich.console import Console

    from probseg.datasets.folder import read_groups
    from probseg.datasets.mask_folders import MaskFolders
    from probseg.metrics.mask_evaluation import evaluate_masks

    typed = {"classes": "--classes", "values": "--values", "threshold": "--threshold "}
    with as_typed("data", **typed):
        scores = evaluate_masks(
            MaskFolders(options.samples, classes=options.classes, threshold=options.threshold),
            MaskFolders(
                options.annotations,
                classes=options.classes,
                values=parse_assignments(options.values),
                threshold=options.threshold,
            ),
            metrics=options.metrics,
            groups=read_groups(options.groups) if options.groups else None,
            common=options.common,
        )
    if options.out:  # before anything is printed, as whoever reads that may go away
        scores.to_csv(options.out)
    console = Console()
    console.print(scores)
    if options.out:
        console.print(f"every image's values are in {options.out}", highlight=False, markup=False)
    return 0
