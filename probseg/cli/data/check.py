"""``probseg data check``: what data hold, beside what is expected, and what looks wrong."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple

from probseg.cli.opening import (
    FEWEST_GROUPS,
    add_data,
    add_sections,
    check_data,
    open_data,
    parse_sections,
    typed,
)
from probseg.cli.output import print_line, print_rows
from probseg.cli.parser import Parser
from probseg.errors import MissingDataError, OptionError, ProbsegError
from probseg.options import named_parameters
from probseg.registry import registry

if TYPE_CHECKING:
    from torch import Tensor

    from probseg.datasets.survey import Survey
    from probseg.interfaces import Dataset

SUMMARY = "tell what data hold, and which samples deserve a look"
EXAMPLES = """
examples:
  %(prog)s my-data
  %(prog)s my-data --set data.size=256 data.classes=3
  %(prog)s lidc qubiq-brain-growth --root DATA
      beside the numbers of the paper's Table 3
  %(prog)s --root DATA
      every data set that lies in DATA, and how to get the others

Exit status 1: something is missing or cannot be read, or a model would learn or be scored wrongly:
inverted masks, annotators who are copies, images that a few extreme pixels flatten, an image in two
groups, NaN. Whatever else is told may be right.
"""
_EXAMPLES = 3  # samples or files that are named
TABLE3 = Path(__file__).with_name("table3.toml")


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``check``."""
    add_data(parser, "data", nargs="*")
    add_sections(parser, ("data",))


def run(options: argparse.Namespace) -> int:
    """Check data sets; return 1 if one is damaged, or was named and is missing."""
    given = parse_sections(options.set, ("data",))["data"]
    chosen = options.data or _names(options.root)
    for data in chosen:
        check_data(data, options.root)
    wanted = bool(options.data)
    sound = all([_check(data, options.root, given, wanted=wanted) for data in chosen])
    if sound and len(options.data) == 1:
        root = ["--root", str(options.root)] if options.root else []
        data = shlex.join([*options.data, *root, *(["--set", *options.set] if given else [])])
        print_line(f"next: probseg data preview --out sheet.png {data}")
        print_line(_training(open_data(options.data[0], options.root, given), data))
    return int(not sound)


def _training(dataset: Dataset, data: str) -> str:
    """Return the command that trains on a data set, or why none does."""
    if (groups := len(set(dataset.groups))) < FEWEST_GROUPS:
        return (
            f"      training needs {FEWEST_GROUPS} groups or more, such as patients, not {groups}"
        )
    return f"      probseg train punet --out run --data {data}"


def _names(root: Path | None) -> list[str]:
    """Return the names of all data sets; without a root, of those that need none."""
    datasets = registry("datasets")
    if root is not None or os.environ.get("PROBSEG_DATA"):
        return list(datasets)
    print_line("there is no --root DIR, and no $PROBSEG_DATA: only data sets that need none\n")
    return [name for name in datasets if "root" not in named_parameters(datasets[name])]


def _check(data: str, root: Path | None, given: Mapping[str, Any], *, wanted: bool) -> bool:
    """Check one data set, print what there is to say and return whether it is sound.

    One that is missing is not, if it is ``wanted``.
    """
    from probseg.datasets.cache.source import FaultyFiles
    from probseg.utils.atomic_files import WriteError

    try:
        return _report(data, open_data(data, root, given, on_fault="skip"))
    except WriteError:
        raise
    except MissingDataError as error:
        print_line(f"not here: {data}: {error}\n", style="red" if wanted else "dim")
        return not wanted
    except OptionError as error:
        print_line(f"not checked: {data}: {error}\n", style="red")
    except FaultyFiles as error:
        print_line(f"damaged: {data}")
        _print_faults(error.lines)
        print_line("")
    except ProbsegError as error:
        print_line(f"damaged: {data}: {error}\n", style="red")
    return False


def _report(data: str, dataset: Dataset) -> bool:
    from probseg.datasets.cache.dataset import PackedDataset
    from probseg.datasets.survey import survey
    from probseg.utils.progress import progress_bar

    if isinstance(dataset, PackedDataset):
        dataset.verify()
    with progress_bar(f"checking {data}", len(dataset)) as advance:
        result = survey(dataset, advance)
    print_line(f"{data} · {dataset.provenance}", "bold")
    _print_facts(result)
    _print_annotators(result)
    skipped = getattr(dataset, "skipped", ())
    _print_faults(skipped)
    _print_findings(result)
    print_line("")
    return result.sound and not skipped


class Fact(NamedTuple):
    """One line about a data set."""

    what: str
    value: str
    paper: str = ""  # the paper's value, where Table 3 has one
    differs: str = ""


def paper_numbers() -> dict[str, Mapping[str, Any]]:
    """Return the rows of the paper's Table 3 by the name of the data set, some with a note."""
    import tomllib

    return tomllib.loads(TABLE3.read_text(encoding="utf-8"))


def _print_facts(survey: Survey) -> None:
    paper = paper_numbers().get(survey.dataset.name, {})
    facts = list(_table3_facts(survey, paper))
    if paper:
        print_rows(facts, ("what", "value", "paper, Table 3", ""))
        print_line(f"{paper['note']}\n" if "note" in paper else "")
        facts = []
    print_rows([fact[:2] for fact in [*facts, *_details(survey)]], ("what", "value"))


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
        here, there = _show(value), _show(paper.get(what, ""))
        yield Fact(what, here, there, "" if there in ("", here) else "differs")


def _show(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "×".join(map(str, value))


def _details(survey: Survey) -> Iterator[Fact]:
    measures, groups = survey.measures, Counter(survey.dataset.groups).values()
    yield Fact("samples a group", _span(min(groups), max(groups)))
    counts = sorted(Counter(measures.present.sum(1).tolist()).items(), reverse=True)
    annotators = ", ".join(f"{annotators} in {count:,}" for annotators, count in counts)
    yield Fact("annotators a sample", annotators)
    yield Fact("classes", str(survey.dataset.classes))
    if getattr(survey.dataset, "soft", False):
        yield Fact("masks", "soft: probabilities, counted below as the nearest class")
    if (labelled := measures.labelled[measures.present].mean()) < 1:
        yield Fact("pixels that nobody labelled", f"{1 - labelled:.2%} of the masks")
    lowest, highest = measures.lowest.min(), measures.highest.max()
    yield Fact("intensities", _span(f"{lowest:.3g}", f"{highest:.3g}"))
    if (spacing := _spacing(survey)) is not None:
        yield Fact("spacing", spacing)
    masks, empty = int(measures.present.sum()), int(measures.empty.sum())
    yield Fact("empty masks", f"{empty:,} of {masks:,} ({empty / max(masks, 1):.1%})")
    drawn = measures.area[measures.present & ~measures.empty]
    yield Fact("area of the others", f"{drawn.mean():.2%} of the image" if len(drawn) else "–")
    iou, iou_drawn = (_number(values.nanmean()) for values in (measures.iou, measures.iou_drawn))
    yield Fact("mean pairwise IoU", f"{iou} (two empty masks score 1)")
    yield Fact("", f"{iou_drawn} (pairs of two empty masks left out)")


def _number(value: Tensor) -> str:
    return f"{value:.3f}".replace("nan", "–")


def _span(low: object, high: object) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _spacing(survey: Survey) -> str | None:
    import numpy as np

    spacing = np.asarray(getattr(survey.dataset, "spacing", np.empty((0, 2))))
    finite = spacing[np.isfinite(spacing).all(axis=1)]
    if not len(finite):
        return None
    return f"{_span(f'{finite.min():.3g}', f'{finite.max():.3g}')} mm in {len(finite):,} samples"


def _print_annotators(survey: Survey) -> None:
    """Print how much each annotator annotated, and how far they are from the others."""
    from probseg.datasets.annotators import annotator_names

    measures = survey.measures
    print_line("")
    print_rows(
        [
            (
                name,
                f"{measures.present[:, index].sum():,}",
                f"{measures.empty[:, index].sum():,}",
                _number(measures.iou_others[:, index].nanmean()),
            )
            for index, name in enumerate(annotator_names(survey.dataset))
        ],
        ("annotator", "annotated", "empty", "mean IoU with the others"),
    )


def _print_findings(survey: Survey) -> None:
    """Print what is damaged, what a model would learn wrongly from, and what may be right."""
    from probseg.datasets.findings import Finding
    from probseg.datasets.views import sample_name

    damaged = [Finding(what, samples, wrong=True) for what, samples in survey.damaged.items()]
    findings = [*damaged, *survey.findings]
    for heading, style, wrong in (("wrong", "red", True), ("worth a look", "yellow", False)):
        chosen = [finding for finding in findings if finding.wrong is wrong]
        if chosen:
            print_line(f"\n{heading}:", style)
        for what, samples, remedy, _ in chosen:
            names = [sample_name(survey.dataset, index) for index in samples[:_EXAMPLES]]
            _print_finding(what, _counted(len(samples), names, "image"), remedy)


def _print_faults(lines: Sequence[str]) -> None:
    """Print what is wrong with files that could not be read, those of one kind together."""
    kinds: dict[str, tuple[str, list[str]]] = {}
    for line in lines:
        file, _, reason = line.partition(": ")
        kind = re.sub(r"-?\d[\d.e+-]*|(?<=link to )\S+", "#", reason.replace(file, "#"))
        kinds.setdefault(kind, (reason, []))[1].append(file)
    if kinds:
        print_line(f"\nleft out, {len(lines):,} in all:", "red")
    for reason, files in kinds.values():
        _print_finding(typed(reason, "data"), _counted(len(files), files[:_EXAMPLES], "file"), "")


def _print_finding(what: str, where: str, remedy: str) -> None:
    print_line(f"  {what}{where and f': {where}'}")
    if remedy:
        options = ", ".join(re.findall(r"--set \S*[^\s,;.]", typed(remedy, "data")))
        print_line(indent(f"{remedy}{options and f' ({options})'}", "    "), "dim")


def _counted(count: int, names: Sequence[str], one: str) -> str:
    """Return how many there are, and the names of some: ``"3 images, such as a, b"``."""
    if not count:
        return ""
    such_as = ", such as" if count > len(names) else ":"
    return f"{count:,} {one}{'' if count == 1 else 's'}{such_as} {', '.join(names)}"
