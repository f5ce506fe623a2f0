"""``probseg share``: a trained model with its card, as a folder to share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.opening import checkpoint_of
from probseg.cli.output import print_line
from probseg.cli.parser import Parser
from probseg.errors import OptionError

if TYPE_CHECKING:
    from probseg.datasets.views import Parts
    from probseg.metrics.scores import Scores
    from probseg.sharing.cards import Card

SUMMARY = "write a trained model with its card into a folder to share"
EXAMPLES = """
examples:
  %(prog)s run shared --licence mit
  %(prog)s run shared --licence cc-by-4.0 --title "Lesions by five readers" \\
      --intended-use "Research on disagreement; not for diagnosis."
  %(prog)s model.safetensors shared

RUN is the folder of probseg train or of a model that python -m benchmarks.run trained: its data and
scores go on the card. What nobody said, the card says to be unknown. The folder holds
model.safetensors, config.json and README.md, the card; probseg.from_pretrained reads it.
"""
_TEXTS = {"title": "--title", "licence": "--licence", "intended_use": "--intended-use"}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``share``."""
    parser.add_argument("model", type=Path, metavar="RUN|MODEL", help="a checkpoint or its folder")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="to write, or to write anew")
    parser.add_argument("--title", metavar="TEXT", help="of the card")
    parser.add_argument("--licence", metavar="ID", help="of the model, such as mit")
    parser.add_argument("--intended-use", metavar="TEXT", help="what it is for and not for")


def run(options: argparse.Namespace) -> int:
    """Write the folder, say what its card lacks, and return exit status 0."""
    from probseg.sharing.cards import FACTS, read_card
    from probseg.sharing.checkpoint import load
    from probseg.sharing.hub import CONFIG, save_pretrained

    checkpoint, folder = checkpoint_of(options.model), options.folder
    if checkpoint.with_name(CONFIG).is_file():
        raise OptionError(
            f"{checkpoint.parent} is a folder to share already; edit its card, README.md, and copy "
            "the folder"
        )
    model = load(checkpoint)
    given = {name: getattr(options, name) for name in _TEXTS}
    facts = read_card(checkpoint.with_name(FACTS))
    card = replace(facts, **{name: text for name, text in given.items() if text})
    save_pretrained(model, folder, card=card)
    print_line(f"{folder} holds the model and its card, {folder / 'README.md'}")
    if lacking := [name for name in ("data", "metrics") if not getattr(card, name)]:
        where = checkpoint.resolve().parent
        print_line(
            f"no {' and '.join(lacking)} on the card: {where} has no {FACTS}, which probseg train "
            "writes at its end"
        )
    if lacking := [option for name, option in _TEXTS.items() if not getattr(card, name)]:
        print_line(f"the card can say more with {', '.join(lacking)}")
    print_line(f"\nread the card; next, to publish it:\n  hf upload NAME/MODEL {folder}")
    return 0


def card_of(scores: Scores, parts: Parts, settings: Mapping[str, Any]) -> Card:
    """Return the card of a model that was trained on parts of a data set, and scored."""
    from probseg.datasets.batches import data_title
    from probseg.sharing.cards import Card

    test = parts.test
    data = data_title(test)
    sizes = ", ".join(f"{len(part)} {name}" for name, part in parts._asdict().items())
    return Card(
        title=f"{scores.subject} on {data}",
        dataset=data,
        data=(
            f"{test.provenance}. Images: {sizes}, split by group; {test.channels} channels, "
            f"{test.classes} classes, up to {test.annotators} annotators. The data keep their own "
            "terms."
        ),
        metrics={name: mean for name, mean in scores.mean().items() if isfinite(mean)},
        measured_on=(
            f"Means over {len(scores.groups)} test images of {len(set(scores.groups))} groups, "
            f"{scores.samples} samples each."
            + "".join(f" Beware: {one}." for one in scores.remarks)
        ),
        provenance={"training": ", ".join(f"{key}={value}" for key, value in settings.items())},
    )
