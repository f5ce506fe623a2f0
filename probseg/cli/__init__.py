"""The command ``probseg``: each of its commands has a file in this folder, and is listed below.

They stand in the order of a user's day: data, models, then the parts that models are made of. To
add one, write a file as ``check.py`` is one, with ``SUMMARY``, ``EXAMPLES``, ``add_arguments`` and
``run``, and list it here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from probseg._version import __version__
from probseg.cli import (
    calibrate,
    check,
    describe,
    evaluate,
    list,
    new_plugin,
    predict,
    protocols,
    score,
    share,
    show,
    train,
)
from probseg.cli.command import Group, command_of, run_program
from probseg.cli.data import DATA
from probseg.registry import KINDS

EXAMPLES = """
examples:
  probseg data check my-data                    what your images and masks hold
  probseg train punet --data my-data --out run  from images and masks to a model and its scores
  probseg evaluate run --data my-data           scores of a model
  probseg calibrate run --data my-data --out calibrated.safetensors
  probseg predict run scan.png --out predicted  samples, mean, deviation and contours
  probseg score --samples predicted --annotations my-data/masks
  probseg protocols lidc-v1                     data, split and metrics that results can name
  probseg share run shared --licence mit        the model with its card, in a folder
  probseg list                                  every part that is installed
  probseg show projector planar                 its options, its call, its source
  probseg describe csae --set latent_dim=8      parameters and FLOPs of a model, part by part
  probseg new-plugin radial --kind projector    a package of your own, with tests that pass
  probseg check projector radial                whether it does what every projector must do

{kinds}
probseg COMMAND --help explains each command. Completion of commands, kinds and names:
eval "$(register-python-argcomplete probseg)" in bash and zsh.

Exit status: 0 done, 1 something does not hold or cannot be read, 2 the arguments are wrong,
130 interrupted.
"""


def _kinds() -> str:
    *kinds, last = (kind.replace("_", "-") for kind in KINDS)
    sentence = f"A kind is a {', '.join(kinds)} or {last}, in the singular or in the plural."
    return textwrap.fill(sentence, 100)


_OF_MODELS = (train, evaluate, calibrate, predict, score, protocols, share)
_OF_PARTS = (list, show, describe, new_plugin, check)
PROBSEG = Group(
    name="probseg",
    summary="probabilistic segmentation models, and the parts that they are composed of",
    commands=(DATA, *map(command_of, (*_OF_MODELS, *_OF_PARTS))),
    examples=EXAMPLES.format(kinds=_kinds()),
    version=f"probseg {__version__}",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``probseg`` and return its exit status."""
    return run_program(PROBSEG, arguments)
