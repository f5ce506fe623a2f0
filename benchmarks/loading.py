"""``python -m benchmarks.loading``: how fast real LIDC is packed, opened and read."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks import choices
from benchmarks.choices import Parser
from benchmarks.validation import ChoiceError
from probseg.errors import MissingDataError, ProbsegError

if TYPE_CHECKING:
    from probseg.interfaces import Batch

ARCHIVE = "lidc_slices.zip"
BATCH = 32
ROUNDS = 5  # of which the best counts: what else the machine does only ever slows
_STATUS = Path("/proc/self/status")


class Packing(NamedTuple):
    """How a zip was packed."""

    folder: Path
    samples: int
    seconds: float
    peak: float  # MB, of the process that packs
    worker: float  # MB, of the largest of those that decode; 0 where there were none


class Reading(NamedTuple):
    """How a layout is read, by a fresh process."""

    opening: float  # seconds until batches can be asked for, imports not counted
    before: float  # MB resident with the interpreter, NumPy and this file
    memory: float  # MB resident once open
    images: float  # a second, in batches of random images with their masks


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="python -m benchmarks.loading",
        description="Measure how fast LIDC is packed, opened and read in random batches of "
        f"{BATCH}, beside the PNG files in the zip and a pickle.",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        default=os.environ.get("PROBSEG_DATA"),
        metavar="DIR",
        help=f"folder with {ARCHIVE} (default: $PROBSEG_DATA)",
    )
    parser.add_argument(
        "--batches", type=int, default=100, metavar="N", help="to read in each of 5 rounds (100)"
    )
    parser.add_argument(
        "--pickled", type=int, default=1000, metavar="N", help="samples in the pickle (1000)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        archive = _archive(options)
        with tempfile.TemporaryDirectory() as scratch:
            measure(archive, Path(scratch), options)
    except ChoiceError as error:
        return parser.complain(error)
    except ProbsegError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def measure(archive: Path, scratch: Path, options: argparse.Namespace) -> None:
    """Measure and print; each figure is of a process of its own."""
    notes, count = Console(stderr=True), options.batches
    notes.print(f"packing {archive.name} …")
    packing = in_fresh_process(pack, archive, scratch)
    notes.print("reading the packed cache …")
    rows = {"packed cache": in_fresh_process(read, open_packed, packing.folder, count)}
    notes.print("reading the PNG files …")
    rows["PNG files in the zip"] = in_fresh_process(read, open_archive, archive, -(-count // 20))
    notes.print(f"writing {options.pickled} samples as a pickle and reading it …")
    path = in_fresh_process(write_pickle, packing.folder, scratch / "lidc.pickle", options.pickled)
    rows[f"pickle of {options.pickled}"] = in_fresh_process(read, open_pickle, path, count)
    report(packing, rows)


def report(packing: Packing, rows: dict[str, Reading]) -> None:
    """Print what was measured."""
    table = Table(title=f"random batches of {BATCH} images with four masks, one process")
    for heading in ("layout", "opening, s", "resident, MB", "images/s"):
        table.add_column(heading, justify="left" if heading == "layout" else "right")
    for name, row in rows.items():
        memory = f"{row.memory:.0f} (+{row.memory - row.before:.0f})"
        table.add_row(name, f"{row.opening:.3f}", memory, f"{row.images:,.0f}")
    console = Console()
    console.print(table)
    console.print(
        "Resident: memory of the process once the data are open, before any batch, and how much "
        "more that is than the interpreter with NumPy. The system may hold the files in its own "
        "cache.\n"
        f"Packing {packing.samples:,} samples took {packing.seconds:.1f} s; at its peak the "
        f"process held {packing.peak:.0f} MB and the largest of its workers "
        f"{packing.worker:.0f} MB.",
        highlight=False,
    )


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return ``function(*arguments)`` of a process that imported this file only."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def pack(archive: Path, scratch: Path) -> Packing:
    """Pack the archive into a cache below ``scratch``."""
    from joblib.externals.loky import get_reusable_executor

    from probseg.datasets.lidc import lidc

    started = time.perf_counter()
    dataset = lidc(archive, cache=scratch)
    seconds = time.perf_counter() - started
    get_reusable_executor().shutdown(wait=True)  # only workers that ended are counted
    return Packing(
        folder=dataset.folder,
        samples=len(dataset),
        seconds=seconds,
        peak=_peak(resource.RUSAGE_SELF),
        worker=_peak(resource.RUSAGE_CHILDREN),
    )


Read = Callable[[Sequence[int]], "Batch"]


def read(opener: Callable[[Path], tuple[int, Read]], path: Path, batches: int) -> Reading:
    """Open a layout and read random batches of it."""
    import numpy as np

    # The allocator's state of a process that trains, for all layouts: see probseg.datasets.packed.
    np.empty(31 << 20, np.uint8)
    before, started = _resident(), time.perf_counter()
    count, get = opener(path)
    opening, memory = time.perf_counter() - started, _resident()
    order = np.random.default_rng(0)
    drawn = [order.integers(count, size=BATCH).tolist() for _ in range(batches)]
    get(drawn[0])  # torch is imported now
    best = min(_seconds(get, drawn) for _ in range(ROUNDS))
    return Reading(opening, before, memory, BATCH * batches / best)


def open_packed(folder: Path) -> tuple[int, Read]:
    """Open a packed cache."""
    from probseg.datasets.packed import PackedDataset

    dataset = PackedDataset(folder)
    return len(dataset), dataset.__getitems__


def open_archive(path: Path) -> tuple[int, Read]:
    """List a zip of PNG files, which are decoded when they are asked for."""
    from probseg.datasets.filetree import Archive
    from probseg.datasets.lidc_slices import LidcSlices

    source = LidcSlices(Archive(path))
    chunks = source.chunks()
    samples = [files for chunk in chunks for files in chunk.samples]

    def get(indices: Sequence[int]) -> Batch:
        block = source.read(chunks[0]._replace(samples=[samples[index] for index in indices]))
        return _batch(block.images / 255, block.masks)

    return len(samples), get


def open_pickle(path: Path) -> tuple[int, Read]:
    """Load a pickle that this process's parent wrote, whole as there is no other way."""
    import numpy as np

    with path.open("rb") as file:
        cases = list(pickle.load(file).values())

    def get(indices: Sequence[int]) -> Batch:
        chosen = [cases[index] for index in indices]
        masks = np.stack([np.stack(case["masks"]) for case in chosen])
        return _batch(np.stack([case["image"][None] for case in chosen]), masks)

    return len(cases), get


def write_pickle(folder: Path, path: Path, count: int) -> Path:
    """Write the first samples of a cache in the layout of the pickle that circulates."""
    from probseg.datasets.packed import PackedDataset

    dataset = PackedDataset(folder)
    count = min(count, len(dataset))
    samples = (dataset[index] for index in range(count))
    cases = {
        f"{sample.group}_{index}": {
            "image": sample.image[0].numpy(),
            "masks": list(sample.masks.numpy()),
            "series_uid": sample.group,
        }
        for index, sample in enumerate(samples)
    }
    with path.open("wb") as file:
        pickle.dump(cases, file, protocol=4)
    return path


def _archive(options: argparse.Namespace) -> Path:
    for name in ("batches", "pickled"):
        if getattr(options, name) < 1:
            raise ChoiceError(f"--{name} is {getattr(options, name)}; it is at least 1")
    choices.check_places(options.data_root, None, "auto")
    archive: Path | None = options.data_root and options.data_root / ARCHIVE
    if archive is None or not archive.is_file():
        raise MissingDataError(
            f"there is no {archive or ARCHIVE}; pass --data-root, or set PROBSEG_DATA, to a folder "
            "that holds it"
        )
    return archive


def _batch(images: Any, masks: Any) -> Batch:
    import numpy as np
    import torch

    from probseg.interfaces import Batch

    return Batch(torch.from_numpy(images.astype(np.float32)), torch.from_numpy(masks))


def _seconds(get: Read, batches: Sequence[Sequence[int]]) -> float:
    started = time.perf_counter()
    for indices in batches:
        get(indices)
    return time.perf_counter() - started


def _resident() -> float:
    """Return this process's resident memory in MB; its peak where that is all there is."""
    if not _STATUS.exists():
        return _peak(resource.RUSAGE_SELF)
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024


def _peak(who: int) -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # ru_maxrss: bytes there, kB elsewhere
    return resource.getrusage(who).ru_maxrss / unit


if __name__ == "__main__":
    sys.exit(main())
