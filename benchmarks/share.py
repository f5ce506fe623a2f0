"""``python -m benchmarks.share``: write a trained model of a run, with its card, into a folder."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.jobs.results import Result, read_result
from probseg.cli.command import Command, run_program
from probseg.cli.parser import Parser
from probseg.errors import DataError
from probseg.options import listing

if TYPE_CHECKING:
    from probseg.sharing.cards import Card

RESULT = "result.json"
EXAMPLES = """
example:
  %(prog)s benchmarks/out/cells/quick/contours/csae/fold0-seed0-a81b345f shared/csae --licence mit

The folder holds model.safetensors, config.json and README.md, the model's card. Read it with
probseg.from_pretrained; model.push_to_hub(…) brings it to a hub.

Exit status: 0 done, 1 the cell cannot be read or the folder not written, 2 the command makes no
sense.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("cell", type=Path, help="folder of a finished cell")
    parser.add_argument("folder", type=Path, help="to write, or to write anew")
    parser.add_argument("--title", metavar="TEXT", help="of the card")
    parser.add_argument("--licence", metavar="ID", help="of the model, such as mit (unknown)")
    parser.add_argument("--intended-use", metavar="TEXT", help="what it is for and not for")


COMMAND = Command(
    name="python -m benchmarks.share",
    summary="write a trained model of a run, with its card, into a folder to share",
    add_arguments=add_arguments,
    run="benchmarks.share:run",
    examples=EXAMPLES,
)


main = partial(run_program, COMMAND)


def run(options: argparse.Namespace) -> int:
    """Write the folder and return exit status 0."""
    import probseg

    texts = {name: getattr(options, name) for name in ("title", "licence", "intended_use")}
    card = card_of(read_result(_result_file(options.cell)))
    card = replace(card, **{name: text for name, text in texts.items() if text})
    probseg.from_pretrained(options.cell).save_pretrained(options.folder, card=card)
    print(f"wrote {options.folder}; read its README.md before you publish it")
    return 0


def card_of(result: Result) -> Card:
    """Return the card that a cell's result gives.

    Raises:
        DataError: The cell did not finish, or trained nothing.
    """
    from probseg.sharing.cards import Card

    cell, data, training, origin = result.cell, result.data, result.training, result.provenance
    if data is None or training is None:
        raise DataError(f"the result {result.key} is of no model that was trained to its end")
    variant = next(iter(result.means))
    revision = f"revision {origin.git.revision}" if origin.git.revision else "unknown revision"
    return Card(
        title=f"{cell.row} on {cell.dataset}",
        dataset=cell.dataset,
        data=(
            f"{data.provenance}. {data.train} images to train on, {data.validation} to choose "
            f"the weights, {data.test} to test; {data.channels} channels, {data.classes} "
            f"classes, {data.annotators} annotators; {data.split}; seen as {dict(cell.data)}. "
            f"Fingerprint {data.fingerprint}. The data keep their own terms."
        ),
        metrics={n: v for n, v in result.means[variant].items() if v is not None},
        measured_on=(
            f"Means over {data.test} test images of {cell.dataset} "
            f"({variant} samples, {data.split}, fold {cell.fold}); the benchmark's "
            "documentation says what each is and which way is better."
        ),
        provenance={
            "trained": f"{training.steps} steps, the best weights after {training.best_step}",
            "profile and seed": f"{cell.profile}, {cell.seed}",
            "finished": result.timings.finished or "unknown",
            "code": f"{revision}{', with changes' if origin.git.dirty else ''}",
            "versions": ", ".join(f"{n} {v}" for n, v in origin.versions.items()),
            "machine": str(origin.machine.get("device", "unknown")),
            "result": f"{result.key}, digest {result.digest}",
        },
    )


def _result_file(cell: Path) -> Path:
    """Return the result of a cell.

    Raises:
        DataError: There is none; cells below the folder are named.
    """
    if (cell / RESULT).is_file():
        return cell / RESULT
    below = sorted(str(path.parent) for path in cell.glob("**/model.safetensors"))
    hint = f"; cells with a model are: {listing(below)}" if below else ""
    raise DataError(f"{cell} is no folder of a finished cell: it has no {RESULT}{hint}")


if __name__ == "__main__":
    sys.exit(main())
