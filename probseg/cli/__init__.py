"""The command ``probseg``: each of its commands has a file in this folder, and is listed below.

To add a command, write a file as ``check.py`` is one, with ``SUMMARY``, ``EXAMPLES``,
``add_arguments`` and ``run``, and list it here.
"""

from __future__ import annotations

from collections.abc import Sequence

from probseg._version import __version__
from probseg.cli import check, describe, evaluate, list, new_plugin, predict, score, show, train
from probseg.cli.command import Group, command_of, run_program

EXAMPLES = """
examples:
  probseg list                                  every part that is installed
  probseg list projectors                       those of one kind
  probseg show projector planar                 its options, its call, its source
  probseg check projector planar                whether it does what every projector must do
  probseg new-plugin radial --kind projector    a package of your own, with tests that pass
  probseg describe csae --set latent_dim=8      parameters and FLOPs of a model, part by part
  probseg train csae --data my-data --out run   from your images and masks to a model and scores
  probseg evaluate run --data my-data           scores of a model
  probseg predict run scan.png --out predicted  samples, mean, deviation and contours
  probseg score --samples predicted --annotations my-data/masks

A kind is a model, backbone, encoder, projector, divergence, decoder, dataset or metric, in the
singular or in the plural. probseg COMMAND --help explains each command. Completion of commands,
kinds and names: eval "$(register-python-argcomplete probseg)" in bash and zsh.

Exit status: 0 done, 1 something does not hold or cannot be read, 2 the arguments are wrong.
"""

_OF_PARTS = (list, show, check, new_plugin, describe)
_OF_MODELS = (train, evaluate, predict, score)
PROBSEG = Group(
    name="probseg",
    summary="probabilistic segmentation models, and the parts that they are composed of",
    commands=tuple(map(command_of, (*_OF_PARTS, *_OF_MODELS))),
    examples=EXAMPLES,
    version=f"probseg {__version__}",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``probseg`` and return its exit status."""
    return run_program(PROBSEG, arguments)
