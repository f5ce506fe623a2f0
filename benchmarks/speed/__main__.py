"""``python -m benchmarks.speed``: compare the speed of probseg with that of alternatives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.arguments import add_data_root, check_data_root, choose
from probseg.cli.parser import Parser
from probseg.errors import MissingDataError, OptionError
from probseg.options import check_integer

if TYPE_CHECKING:
    from benchmarks.speed.comparison import Settings

# torch is imported only once something is measured: --help and mistakes answer at once.

TOPICS = {
    "train": "a training step: forward, loss, backward, optimizer",
    "sample": "many samples of an image",
    "evaluate": "metrics of samples and annotations",
    "sinkhorn": "divergences, and their share of a training step",
    "data": "packing and reading LIDC (lidc_slices.zip in --data-root)",
    "start": "importing, building, --help",
}
EPILOG = "topics:\n" + "\n".join(f"  {name:<10}{what}" for name, what in TOPICS.items())


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.speed",
        description="Measure probseg and its alternatives in turns on this machine; write "
        "speed.json and speed.md. Alternatives: pip install 'probseg[peers]'.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    return parser.run(lambda: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    topics = choose(options.topics or TOPICS, TOPICS, kind="topic")
    check_integer("--rounds", options.rounds)
    check_data_root(options.data_root)
    if options.out.exists() and not options.out.is_dir():
        raise OptionError(f"--out {options.out} is a file; give a folder")
    if options.gpu:
        _check_cuda()
    from rich.console import Console

    from benchmarks.speed.comparison import Settings
    from benchmarks.speed.timing import measure_machine

    device = "cuda" if options.gpu else "cpu"
    with Console(stderr=True).status("measuring what the machine can do") as status:
        settings = Settings(
            machine=measure_machine(device, small=options.small),
            device=device,
            rounds=options.rounds,
            small=options.small,
            data_root=options.data_root,
            watch=status.update,
        )
        measure(topics, settings, options.out, required=options.topics)
    return 0


def measure(
    topics: Sequence[str], settings: Settings, out: Path, *, required: Collection[str]
) -> None:
    """Measure topics and print each; the report is written anew after every topic.

    Raises:
        MissingDataError: The data of a required topic are not on this disk.
    """
    from rich.console import Console

    from benchmarks.speed.report import Report, to_table, write_report
    from benchmarks.tables import to_terminal

    console = Console()
    report = Report(command=_command(topics, settings), machine=settings.machine)
    for topic in topics:
        module = import_module(f"benchmarks.speed.{topic}")
        try:
            report.topics[topic] = module.comparisons(settings)
        except MissingDataError as error:
            if topic in required:
                raise
            report.absent[topic] = str(error)
            console.print(f"{topic} is not here: {error}", highlight=False, markup=False)
        for comparison in report.topics.get(topic, ()):
            console.print(to_terminal(to_table(comparison)), highlight=False)
        write_report(out, report)
    console.print(f"written: {out / 'speed.md'} and speed.json", highlight=False)


def _command(topics: Sequence[str], settings: Settings) -> str:
    flags = {"--gpu": settings.device == "cuda", "--small": settings.small}
    return " ".join(
        ["python -m benchmarks.speed", *topics, *(flag for flag, given in flags.items() if given)]
    )


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise OptionError("--gpu: torch sees no CUDA device on this machine")


if __name__ == "__main__":
    sys.exit(main())
