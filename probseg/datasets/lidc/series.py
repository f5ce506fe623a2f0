"""The slices of each DICOM series below a folder, and partial results kept for the next run."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from probseg.datasets.cache.source import chunked
from probseg.datasets.formats.dicom import SliceHeader, read_header
from probseg.errors import DataError
from probseg.utils.atomic_files import atomic_file
from probseg.utils.progress import progress_bar

Arrays = dict[str, NDArray[Any]]

_WORTH_PROCESSES = 4000  # files: starting processes takes some seconds
_BATCH = 500  # files that are indexed, and saved, at once


class SeriesIndex(NamedTuple):
    """The slices below a folder, and the faults of files there."""

    series: dict[str, list[tuple[str, SliceHeader]]]  # by SeriesInstanceUID: file names and headers
    faults: list[str]


def index_folder(
    root: Path,
    names: Sequence[str],
    series: Collection[str],
    partial: PartialResults,
    *,
    progress: bool | None = None,
) -> SeriesIndex:
    """Read the headers of DICOM files, in as many processes as there are cores if worth it.

    Only ``series`` (SeriesInstanceUIDs) are of interest; ``partial`` has what earlier runs read.
    """
    batches = list(_batches(names))
    jobs = -1 if len(names) >= _WORTH_PROCESSES else 1
    index: dict[str, list[tuple[str, SliceHeader]]] = {}
    faulty: defaultdict[tuple[str, str], list[str]] = defaultdict(list)  # by folder and reason
    bar = progress_bar("reading headers", len(names), show=progress)
    with bar as advance, Parallel(n_jobs=jobs, return_as="generator") as pool:
        results = pool(delayed(_read_batch)(root, batch, series, partial) for batch in batches)
        for batch, (slices, faults) in zip(batches, results, strict=True):
            for name, header in slices:
                index.setdefault(header.series, []).append((name, header))
            for name, reason in faults:
                faulty[_folder(name), reason].append(name)
            advance(len(batch))
    lines = [_fault_line(files, reason) for (_, reason), files in faulty.items()]
    return SeriesIndex(index, lines)


def _batches(names: Sequence[str]) -> Iterable[Sequence[str]]:
    """Split by folder, so that a new folder leaves the others' batches as they are."""
    ordered = sorted(names, key=lambda name: (_folder(name), name))
    for _, files in groupby(ordered, key=_folder):
        yield from chunked(list(files), _BATCH)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _fault_line(files: Sequence[str], reason: str) -> str:
    others = f" and {len(files) - 1} more there" if len(files) > 1 else ""
    return f"{files[0]}{others}: {reason}"


def _read_batch(
    root: Path, names: Sequence[str], series: Collection[str], partial: PartialResults
) -> tuple[list[tuple[str, SliceHeader]], list[tuple[str, str]]]:
    """Return names and headers of slices, and names and faults of other files."""
    key = result_key(["headers of slices", sorted(series)], [root / name for name in names])
    if (arrays := partial.load(key)) is not None:
        kept = json.loads(str(arrays["headers"]))
        return [(name, _header(*one)) for name, one in kept], []
    slices: list[tuple[str, SliceHeader]] = []
    faults: list[tuple[str, str]] = []
    for name in names:
        try:
            if header := read_header(root / name, series):
                slices.append((name, header))
        except DataError as error:
            faults.append((name, str(error)))
    if not faults:  # the next run reads those again
        partial.save(key, {"headers": np.array(json.dumps(slices))})
    return slices, faults


def _header(series: str, z: float, spacing: list[float], size: list[int]) -> SliceHeader:
    return SliceHeader(series, z, (spacing[0], spacing[1]), (size[0], size[1]))


class PartialResults:
    """Arrays by key, each in an ``.npz`` file that is written atomically; safe for many processes.

    Without a folder, nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, key: str) -> Arrays | None:
        """Return the arrays of a key, or None if there is no complete file of it."""
        if self._folder is None:
            return None
        try:  # np.load would leave a damaged file open
            with open(self._folder / f"{key}.npz", "rb") as file:
                return dict(np.load(file, allow_pickle=False))
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            return None

    def save(self, key: str, arrays: Arrays) -> None:
        """Save arrays under a key.

        Raises:
            WriteError: The disk is full or read-only.
        """
        if self._folder is not None:
            with atomic_file(self._folder / f"{key}.npz") as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **arrays)


def result_key(options: Iterable[object], files: Iterable[Path]) -> str:
    """Return a key that changes whenever one of the options or files does."""
    digest = hashlib.blake2b(repr([*options]).encode("utf-8", "replace"), digest_size=16)
    for file in files:
        try:
            state = os.stat(file)
            text = f"\n{file} {state.st_size} {state.st_mtime_ns}"
        except OSError:  # reading the file will report it
            text = f"\n{file} gone"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
