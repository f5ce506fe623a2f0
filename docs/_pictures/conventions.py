"""The table of docs/numbers.md: one model's samples of LIDC by every convention.

    python -m docs._pictures.conventions RUN DATA

RUN is the folder of a model that the benchmark trained on lidc, DATA where the data lie.
"""

import json
import sys
from pathlib import Path

import probseg
from benchmarks.jobs.data import open_dataset, prepare
from benchmarks.suite.settings import DataSettings
from probseg.metrics.conventions import CONVENTIONS
from probseg.reports.tables import Column, Table, interval, number, to_markdown

IMAGES, SAMPLES = 512, 100
OUT = Path(__file__).parents[1] / "assets" / "conventions.md"


def main(cell: Path, root: Path) -> None:
    """Score the model of a cell, and write the table."""
    config = json.loads((cell / "result.json").read_text(encoding="utf-8"))["config"]
    settings = DataSettings(**{**config["data"], "images": IMAGES})
    data = prepare(open_dataset("lidc", root=root), settings, 0).test
    model = probseg.load(cell / "model.safetensors")
    rows = {
        n: probseg.evaluate(model, data, n, metrics=CONVENTIONS).summary() for n in (16, SAMPLES)
    }
    columns = [
        Column("convention", lambda name: name, number=False),
        *(
            column
            for n, scores in rows.items()
            for column in (
                Column(f"{n} samples", lambda name, s=scores: number(s[name].mean)),
                Column("95 % interval", lambda name, s=scores: interval(*s[name][1:3])),
            )
        ),
        Column("images", lambda name: number(rows[16][name].images, "d")),
    ]
    steps = config["training"]["max_steps"]
    caption = (
        f"*The same samples of `{config['row']}` ({steps:,} steps, profile {config['profile']}), "
        f"of {IMAGES:,} test images of LIDC-IDRI. Intervals are over patients. Printed by "
        "`python -m docs._pictures.conventions RUN DATA`, RUN being a folder of a model that the "
        "benchmark trained.*"
    )
    table = to_markdown(Table.of(columns, list(CONVENTIONS)))
    OUT.write_text(f"{table}\n\n{caption}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
