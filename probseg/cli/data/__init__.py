"""``probseg data``: check, look at and pack data that several people annotated."""

from __future__ import annotations

from probseg.cli.command import Group, command_of
from probseg.cli.data import check, pack, preview

EXAMPLES = """
examples:
  %(prog)s check my-data                             what it holds, and what deserves a look
  %(prog)s preview my-data --out sheet.png           images with everybody's contours
  %(prog)s pack my-data --out packed/my-data         one folder, for every command that takes --data
  %(prog)s check --root DATA                         every data set that lies in DATA

my-data has images/ID.png, and masks/ID/ANNOTATOR.png for each of its annotators (or .tif, .npy,
.nii.gz). A data set is packed into a cache ($PROBSEG_CACHE, else ~/.cache/probseg) when it is first
read.
"""

DATA = Group(
    name="data",
    summary="check, look at and pack data that several people annotated",
    commands=(command_of(check), command_of(preview), command_of(pack)),
    examples=EXAMPLES,
)
