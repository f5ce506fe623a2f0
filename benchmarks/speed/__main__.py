"""``python -m benchmarks.speed``: compare the speed of probseg with that of alternatives."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.arguments import add_data_root, check_data_root, choose
from probseg.cli.command import Command, run_program
from probseg.cli.parser import Parser
from probseg.errors import MissingDataError, OptionError
from probseg.options import check_integer

if TYPE_CHECKING:
    from benchmarks.speed.comparison import Settings
    from benchmarks.speed.report import Report

# torch is imported only once something is measured: --help and mistakes answer at once.

TOPICS = {
    "train": "a training step: forward, loss, backward, optimizer",
    "sample": "many samples of an image",
    "families": "a training step and samples of every family, with the suite's small networks",
    "evaluate": "metrics of samples and annotations",
    "sinkhorn": "what a divergence takes of a training step",
    "data": "packing and reading LIDC (lidc_slices.zip in --data-root)",
    "start": "importing, building, --help",
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="default: all of them")
    parser.add_argument("--gpu", action="store_true", help="measure on CUDA")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="turns each (7)")
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes, to see that it works; no use as figures"
    )
    add_data_root(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/out/speed"), metavar="DIR", help="%(default)s"
    )


COMMAND = Command(
    name="python -m benchmarks.speed",
    summary="measure probseg and its alternatives in turns on this machine; write speed.json and "
    "speed.md. Alternatives: pip install 'probseg[peers]'",
    add_arguments=add_arguments,
    run="benchmarks.speed.__main__:run",
    examples="topics:\n" + "\n".join(f"  {name:<10}{what}" for name, what in TOPICS.items()),
)


main = partial(run_program, COMMAND)


def run(options: argparse.Namespace) -> int:
    """Measure the topics and return exit status 0; the report is written anew after every table.

    Raises:
        MissingDataError: The data of a topic that was asked for are not on this disk.
        OptionError: An option makes no sense here.
    """
    topics = choose(options.topics or TOPICS, TOPICS, kind="topic")
    check_integer("--rounds", options.rounds)
    check_data_root(options.data_root)
    if options.out.exists() and not options.out.is_dir():
        raise OptionError(f"--out {options.out} is a file; give a folder")
    import torch
    from rich.console import Console

    from benchmarks.speed.comparison import Settings
    from benchmarks.speed.report import Report, write_report
    from benchmarks.speed.timing import measure_machine

    if options.gpu and not torch.cuda.is_available():
        raise OptionError("--gpu: torch sees no CUDA device on this machine")
    device = "cuda" if options.gpu else "cpu"
    flags = [name for name in ("gpu", "small") if getattr(options, name)]
    command = " ".join([COMMAND.name, *topics, *(f"--{flag}" for flag in flags)])
    with Console(stderr=True).status("measuring what the machine can do") as status:
        settings = Settings(
            machine=measure_machine(device, small=options.small),
            device=device,
            rounds=options.rounds,
            small=options.small,
            data_root=options.data_root,
            watch=status.update,
        )
        report = Report(command=command, machine=settings.machine)
        for topic in topics:
            try:
                _measure(topic, settings, report, options.out)
            except MissingDataError as error:
                if topic in options.topics:
                    raise
                report.absent[topic] = str(error)
                print(f"{topic} is not here: {error}")
    write_report(options.out, report)
    print(f"written: {options.out / 'speed.md'} and speed.json")
    return 0


def _measure(topic: str, settings: Settings, report: Report, out: Path) -> None:
    """Print each table of a topic and write the report so far."""
    from rich.console import Console

    from benchmarks.speed.report import to_table, write_report
    from probseg.reports.tables import to_terminal

    for comparison in import_module(f"benchmarks.speed.{topic}").comparisons(settings):
        report.topics.setdefault(topic, []).append(comparison)
        Console().print(to_terminal(to_table(comparison)), highlight=False)
        write_report(out, report)


if __name__ == "__main__":
    sys.exit(main())
