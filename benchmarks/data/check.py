"""``check``: what a data set holds, beside what is expected, and which samples look wrong."""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import probseg
from benchmarks.arguments import choose
from benchmarks.data.opening import Source, add_source, annotator_names, sample_name
from benchmarks.tables import Column, Table, TableCell, number, to_terminal
from probseg.cli.command import Command
from probseg.cli.output import print_line
from probseg.cli.parser import Parser
from probseg.errors import MissingDataError, OptionError, ProbsegError
from probseg.utils.atomic_files import WriteError
from probseg.utils.progress import progress_bar

if TYPE_CHECKING:
    from benchmarks.data.survey import Survey

TABLE3 = Path(__file__).with_name("table3.toml")
SHOWN = 3  # samples that a finding names
EXAMPLES = """
examples:
  %(prog)s --data-root DATA
      every data set that lies in DATA
  %(prog)s qubiq-brain-growth --data-root DATA
  %(prog)s folder --data-root my/data --set size=256
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``check``."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all that are here")
    add_source(parser)


COMMAND = Command(
    name="check",
    summary="what a data set holds, beside what is expected",
    add_arguments=add_arguments,
    run="benchmarks.data.check:run",
    examples=EXAMPLES,
)


def run(options: argparse.Namespace) -> int:
    """Check data sets; return 1 if one is damaged, or was named and is missing.

    Raises:
        OptionError: A data set, the data root or an option is wrong.
        WriteError: The cache cannot be written.
    """
    source = Source.of(options)
    names = choose(options.names or probseg.datasets, probseg.datasets, kind="data set")
    sound = [check(name, source, required=name in options.names) for name in names]
    return int(not all(sound))


def check(name: str, source: Source, *, required: bool) -> bool:
    """Check one data set, print what there is to say and return whether it is sound.

    One that is missing is not, if it is ``required``.
    """
    try:
        return _report(name, source)
    except WriteError:
        raise
    except MissingDataError as error:
        print_line(f"not here: {name}: {error}\n", style="red" if required else "dim")
        return not required
    except OptionError as error:
        print_line(f"not checked: {name}: {error}\n", style="red")
    except ProbsegError as error:
        print_line(f"damaged: {name}: {error}\n", style="red")
    return False


def _report(name: str, source: Source) -> bool:
    from rich.console import Console

    from benchmarks.data.survey import survey
    from probseg.datasets.cache.dataset import PackedDataset
    from probseg.datasets.formats.files import shorten

    dataset = source.open(name, on_fault="skip")
    if isinstance(dataset, PackedDataset):
        dataset.verify()
    with progress_bar(f"checking {name}", len(dataset)) as advance:
        result = survey(dataset, advance)
    tables = [comparison_table(result, paper_numbers().get(name, {})), annotator_table(result)]
    if result.damaged or result.suspicious:
        tables.append(findings_table(result))
    console = Console()
    for table in tables:
        console.print(to_terminal(table))
    if skipped := getattr(dataset, "skipped", ()):
        print_line(f"left out, {len(skipped):,} in all:\n  {shorten(skipped)}", style="red")
    return not (result.damaged or skipped)


class Fact(NamedTuple):
    """One line about a data set."""

    what: str
    value: str
    paper: str = ""  # the paper's value, where Table 3 has one


def paper_numbers() -> dict[str, Mapping[str, Any]]:
    """Return the rows of the paper's Table 3 by the name of the data set, some with a note."""
    return tomllib.loads(TABLE3.read_text(encoding="utf-8"))


def comparison_table(survey: Survey, paper: Mapping[str, Any]) -> Table:
    """Return the table of facts, beside the paper's numbers where it has any."""
    columns = [
        Column[Fact]("what", lambda fact: fact.what, number=False),
        Column[Fact]("found", lambda fact: fact.value, number=False),
    ]
    if paper:
        columns += [
            Column[Fact]("paper, Table 3", lambda fact: fact.paper),
            Column[Fact]("", _differs, number=False),
        ]
    facts = [*_table3_facts(survey, paper), *_details(survey)]
    return Table.of(columns, facts, title=survey.dataset.name, caption=paper.get("note", ""))


def _differs(fact: Fact) -> TableCell:
    differs = fact.paper not in ("", fact.value)
    return TableCell("differs", mark="warning") if differs else TableCell("")


def _table3_facts(survey: Survey, paper: Mapping[str, Any]) -> Iterator[Fact]:
    dataset = survey.dataset
    values = {
        "samples": len(dataset),
        "groups": len(set(dataset.groups)),
        "size": survey.size,
        "annotators": dataset.annotators,
        "channels": dataset.channels,
    }
    for what, value in values.items():
        yield Fact(what, _show(value), _show(paper.get(what, "")))


def _show(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "×".join(map(str, value))


def _details(survey: Survey) -> Iterator[Fact]:
    measures, groups = survey.measures, Counter(survey.dataset.groups).values()
    yield Fact("samples a group", _span(min(groups), max(groups)))
    counts = sorted(Counter(measures.present.sum(1).tolist()).items(), reverse=True)
    annotators = ", ".join(f"{annotators} in {count:,}" for annotators, count in counts)
    yield Fact("annotators a sample", annotators)
    yield Fact("classes", str(survey.dataset.classes))
    lowest, highest = measures.lowest.min(), measures.highest.max()
    yield Fact("intensities", _span(f"{lowest:.3g}", f"{highest:.3g}"))
    if (spacing := _spacing(survey)) is not None:
        yield Fact("spacing", spacing)
    masks, empty = int(measures.present.sum()), int(measures.empty.sum())
    yield Fact("empty masks", f"{empty:,} of {masks:,} ({empty / max(masks, 1):.1%})")
    drawn = measures.area[measures.present & ~measures.empty]
    yield Fact("area of the others", f"{drawn.mean():.2%} of the image" if len(drawn) else "–")
    yield Fact("mean pairwise IoU", f"{measures.iou.nanmean():.3f} (two empty masks score 1)")
    yield Fact("", f"{measures.iou_drawn.nanmean():.3f} (pairs of two empty masks left out)")


def _span(low: object, high: object) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _spacing(survey: Survey) -> str | None:
    import numpy as np

    spacing = np.asarray(getattr(survey.dataset, "spacing", np.empty((0, 2))))
    finite = spacing[np.isfinite(spacing).all(axis=1)]
    if not len(finite):
        return None
    return f"{_span(f'{finite.min():.3g}', f'{finite.max():.3g}')} mm in {len(finite):,} samples"


def annotator_table(survey: Survey) -> Table:
    """Return the table of how much each annotator annotated, and how far from the others."""
    measures, names = survey.measures, annotator_names(survey.dataset)
    columns = [
        Column[int]("annotator", lambda index: names[index]),
        Column[int]("annotated", lambda index: f"{measures.present[:, index].sum():,}"),
        Column[int]("empty", lambda index: f"{measures.empty[:, index].sum():,}"),
        Column[int](
            "mean IoU with the others",
            lambda index: number(float(measures.iou_others[:, index].nanmean())),
        ),
    ]
    return Table.of(columns, range(len(names)), title="annotators")


def findings_table(survey: Survey) -> Table:
    """Return the table of damaged and suspicious samples."""
    samples = survey.damaged | survey.suspicious

    def name(what: str) -> TableCell:
        return TableCell(what, mark="worse" if what in survey.damaged else "")

    def examples(what: str) -> str:
        return "\n".join(sample_name(survey.dataset, index) for index in samples[what][:SHOWN])

    columns = [
        Column[str]("what", name, number=False),
        Column[str]("samples", lambda what: f"{len(samples[what]):,}"),
        Column[str]("such as", examples, number=False),
    ]
    return Table.of(columns, samples, title="worth a look")
