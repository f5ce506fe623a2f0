"""``check``: what was found in a data set, beside what is expected of it."""

from __future__ import annotations

import argparse

from rich.console import Console

import probseg
from benchmarks.data.catalogue import entry
from benchmarks.data.opening import check_choices, open_named
from probseg.errors import MissingDataError, OptionError, ProbsegError
from probseg.utils.atomic_files import WriteError
from probseg.utils.progress import progress_bar


def run(options: argparse.Namespace) -> int:
    """Check the data sets asked for; return 1 if one is damaged, or asked for and not there.

    Raises:
        OptionError: One is unknown, or there is no such data root.
        WriteError: The cache cannot be written.
    """
    names = check_choices(options, options.names or probseg.datasets)
    console = Console()
    sound = [check(name, options, console) for name in names]
    return int(not all(sound))


def check(name: str, options: argparse.Namespace, console: Console) -> bool:
    """Check one data set, print what there is to say and return whether it is sound."""
    try:
        return _report(name, options, console)
    except WriteError:
        raise
    except MissingDataError as error:
        asked = name in options.names
        style = "red" if asked else "dim"
        _tell(f"not here: {name}: {error}\n", style, console)
        return not asked
    except OptionError as error:
        _tell(f"not checked: {name}: {error}\n", "red", console)
        return False
    except ProbsegError as error:
        _tell(f"damaged: {name}: {error}\n", "red", console)
        return False


def _report(name: str, options: argparse.Namespace, console: Console) -> bool:
    from benchmarks.data import survey_tables as tables
    from benchmarks.data.survey import survey
    from probseg.datasets.cache.dataset import PackedDataset

    dataset = open_named(name, options, on_fault="skip")
    if isinstance(dataset, PackedDataset):
        dataset.verify()
    with progress_bar(f"checking {name}", len(dataset)) as advance:
        found = survey(dataset, advance)
    for table in (
        tables.comparison(found, entry(name)),
        tables.annotators(found),
        tables.findings(found),
    ):
        if table is not None:
            console.print(table)
    _tell(tables.left_out(found), "red", console)
    return not (found.damaged or found.skipped)


def _tell(text: str, style: str, console: Console) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
