"""``python -m benchmarks.speed``: probseg beside what a user would pick instead."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.arguments import check_data_root, choose
from probseg.cli.parser import Parser
from probseg.errors import MissingDataError, OptionError, ProbsegError

if TYPE_CHECKING:
    from benchmarks.speed.options import Options
    from benchmarks.speed.report import Run

TOPICS = {
    "train": "a training step: forward, loss, backward, optimizer",
    "sample": "many samples of an image",
    "evaluate": "metrics of samples and annotations",
    "sinkhorn": "divergences, and their share of a training step",
    "data": "packing, opening and reading LIDC (needs --data-root)",
    "start": "importing, building, --help",
    "growth": "how the cost grows with samples, latents, size, batch, annotators (plots)",
}
EPILOG = "topics:\n" + "\n".join(f"  {name:<10}{what}" for name, what in TOPICS.items())


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.speed",
        description="Measure probseg beside what a user would pick instead, in turns on this "
        "machine; write speed.json and speed.md. Peers: pip install 'probseg[peers]'.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help="default: all of them")
    parser.add_argument("--gpu", action="store_true", help="measure on CUDA")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="turns each (7)")
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes, to see that it works; no use as figures"
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help="folder with lidc_slices.zip (default: $PROBSEG_DATA)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/out/speed"), metavar="DIR", help="%(default)s"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        topics = _check(options)
        run(topics, options)
    except OptionError as error:
        return parser.complain(error)
    except ProbsegError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def run(topics: Sequence[str], options: argparse.Namespace) -> None:
    """Measure, print and write; what is finished is written before the next topic begins.

    Raises:
        MissingDataError: A topic was asked for by name whose data are not here.
    """
    from rich.console import Console

    from benchmarks.speed import machine, report
    from benchmarks.speed.options import Options

    console, notes = Console(), Console(stderr=True)
    device = "cuda" if options.gpu else "cpu"
    with notes.status("measuring what the machine can do") as status:
        measured = machine.measure(device, small=options.small)
        settings = Options(
            machine=measured,
            device=device,
            rounds=options.rounds,
            small=options.small,
            data_root=options.data_root,
            out=options.out,
            watch=status.update,
        )
        done = report.Run(command=_command(topics, options), machine=measured)
        for topic in topics:
            _add(topic, settings, done, needed=topic in options.topics)
            for table in report.to_rich(done, topic):
                console.print(table, highlight=False)
            report.write(options.out, done)
    console.print(f"written: {options.out / 'speed.md'} and speed.json", highlight=False)


def _add(topic: str, settings: Options, done: Run, *, needed: bool) -> None:
    try:
        done.topics[topic] = import_module(f"benchmarks.speed.{topic}").contests(settings)
    except MissingDataError as error:
        if needed:
            raise
        done.absent[topic] = str(error)


def _command(topics: Sequence[str], options: argparse.Namespace) -> str:
    flags = [f"--{flag}" for flag in ("gpu", "small") if getattr(options, flag)]
    return " ".join(["python -m benchmarks.speed", *topics, *flags])


def _check(options: argparse.Namespace) -> tuple[str, ...]:
    if options.rounds < 1:
        raise OptionError(f"--rounds is {options.rounds}; it is at least 1")
    check_data_root(options.data_root)
    topics = choose(options.topics or tuple(TOPICS), TOPICS, kind="topic")
    if options.gpu:
        import torch

        if not torch.cuda.is_available():
            raise OptionError("--gpu: torch sees no CUDA device on this machine")
    return topics


if __name__ == "__main__":
    sys.exit(main())
