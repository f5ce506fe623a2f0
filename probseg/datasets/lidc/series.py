"""The slices of each DICOM series below a folder, and partial results kept for the next run."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from probseg.datasets.cache.source import chunked
from probseg.datasets.formats.dicom import SliceHeader, read_header
from probseg.errors import DataError
from probseg.utils.atomic_files import atomic_file
from probseg.utils.progress import progress_bar

Arrays = dict[str, NDArray[np.generic]]

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

    Args:
        root: The folder.
        names: Its files, relative.
        series: The SeriesInstanceUIDs of interest.
        partial: Headers that an earlier run has read.
        progress: Show a bar; by default if stderr is a terminal.
    """
    batches = list(_batches(names))
    jobs = -1 if len(names) >= _WORTH_PROCESSES else 1
    index = SeriesIndex({}, [])
    faults: list[tuple[str, str]] = []
    bar = progress_bar("reading headers", len(names), show=progress)
    with bar as advance, Parallel(n_jobs=jobs, return_as="generator") as pool:
        results = pool(delayed(_read_batch)(root, batch, series, partial) for batch in batches)
        for batch, arrays in zip(batches, results, strict=True):
            for name, header in _unpack(arrays):
                index.series.setdefault(header.series, []).append((name, header))
            faults += zip(*(arrays[key].tolist() for key in ("faulty", "reasons")), strict=True)
            advance(len(batch))
    index.faults.extend(_grouped(faults))
    return index


def _batches(names: Sequence[str]) -> Iterable[Sequence[str]]:
    """Split by folder, so that a new folder leaves the others' batches as they are."""
    ordered = sorted(names, key=lambda name: (_folder(name), name))
    for _, files in groupby(ordered, key=_folder):
        yield from chunked(list(files), _BATCH)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _read_batch(
    root: Path, names: Sequence[str], series: Collection[str], partial: PartialResults
) -> Arrays:
    key = result_key(["headers", sorted(series)], [root / name for name in names])
    if (arrays := partial.load(key)) is None:
        arrays = _read_headers(root, names, series)
        if not len(arrays["faulty"]):  # the next run reads those again
            partial.save(key, arrays)
    return arrays


def _read_headers(root: Path, names: Sequence[str], series: Collection[str]) -> Arrays:
    slices: list[tuple[str, SliceHeader]] = []
    faults: list[tuple[str, str]] = []
    for name in names:
        try:
            if header := read_header(root / name, series):
                slices.append((name, header))
        except DataError as error:
            faults.append((name, str(error)))
    headers = [header for _, header in slices]
    return {
        "names": np.array([name for name, _ in slices], np.str_),
        "series": np.array([header.series for header in headers], np.str_),
        "z": np.array([header.z for header in headers], np.float64),
        "spacing": np.array([header.spacing for header in headers], np.float64).reshape(-1, 2),
        "size": np.array([header.size for header in headers], np.int64).reshape(-1, 2),
        "faulty": np.array([name for name, _ in faults], np.str_),
        "reasons": np.array([reason for _, reason in faults], np.str_),
    }


def _unpack(arrays: Arrays) -> Iterable[tuple[str, SliceHeader]]:
    columns = (arrays[key].tolist() for key in ("names", "series", "z", "spacing", "size"))
    for name, series, z, spacing, size in zip(*columns, strict=True):
        yield name, SliceHeader(series, z, tuple(spacing), tuple(size))


def _grouped(faults: list[tuple[str, str]]) -> list[str]:
    """One line for all files of a folder that have the same fault."""
    first: dict[tuple[str, str], str] = {}
    count: Counter[tuple[str, str]] = Counter()
    for name, reason in faults:
        kind = str(PurePosixPath(name).parent), reason
        first.setdefault(kind, name)
        count[kind] += 1
    others = {kind: f" and {n - 1} more there" if n > 1 else "" for kind, n in count.items()}
    return [f"{name}{others[kind]}: {kind[1]}" for kind, name in first.items()]


class PartialResults:
    """Arrays by key, each in an ``.npz`` file that is written atomically; safe for many processes.

    Args:
        folder: The folder of the files; None to keep nothing.
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
