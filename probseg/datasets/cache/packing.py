"""Packing: a source is streamed into a folder, atomically and by one process only."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from filelock import FileLock
from joblib import Parallel, delayed
from numpy.typing import NDArray

from probseg.datasets.cache.dataset import (
    ARRAYS,
    META,
    MISSING,
    SCHEMA,
    PackedDataset,
    file_states,
    fingerprint,
    mask_layout,
)
from probseg.datasets.cache.source import (
    ON_FAULT,
    Faults,
    FaultyFiles,
    MaskFile,
    OnFault,
    Record,
    Source,
    chunked,
)
from probseg.datasets.formats.files import MOST_LISTED, shorten
from probseg.datasets.preprocessing import preprocessing_of
from probseg.errors import DataError, NotPackedError, OptionError
from probseg.options import check_choice
from probseg.utils.atomic_files import WriteError, atomic_folder, leftovers, write_json
from probseg.utils.progress import progress_bar

logger = logging.getLogger(__name__)
_WORTH_PROCESSES = 1000  # samples: starting processes takes some seconds
MaskValues = dict[str, list[str]]  # the masks' files by those of 0, 1 and 255 that they hold
_CHUNK = 8  # items that are read at once


def cache_root(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of caches: ``cache``, else $PROBSEG_CACHE, else ``~/.cache/probseg``."""
    return Path(cache or os.environ.get("PROBSEG_CACHE") or "~/.cache/probseg").expanduser()


def cache_folder(cache: str | os.PathLike[str] | None, name: str, *options: object) -> Path:
    """Return the folder of one cache, named after the data set and a digest of its options."""
    text = repr([str(option) for option in options])
    key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return cache_root(cache) / f"{name}-{key}"


def check_replaceable(folder: Path) -> None:
    """Check that a folder is new, empty or a packed data set only, for it is replaced as a whole.

    Raises:
        OptionError: It is not.
    """
    if folder.is_file():
        raise OptionError(f"{folder} is a file; give a folder")
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    others = sorted(names - ({META, *ARRAYS, MISSING} if META in names else set()))
    if others:
        raise OptionError(
            f"{folder} holds other files ({shorten(others, ', ')}), which would be replaced; "
            "give a new folder"
        )


def open_or_pack(
    source: Source,
    folder: Path,
    *,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
    retry: bool = False,
    pack: bool = True,
) -> PackedDataset:
    """Open the cache of ``source`` at ``folder``; pack it first if it is missing or out of date.

    Several processes may call this at once: one packs, the others wait and open the result.

    Args:
        source: What the cache is packed from.
        folder: The folder of the cache.
        progress: Show a bar on stderr; by default if that is a terminal.
        on_fault: What a faulty sample does: ``"refuse"`` raises and packs nothing, ``"skip"``
            leaves it out and keeps the reason in the cache's ``skipped``. A cache that left
            samples out is packed again under ``"refuse"``.
        retry: Pack such a cache again under ``"skip"`` too.
        pack: Whether to pack data that are not packed yet, which may take minutes.

    Raises:
        DataError: The source cannot be read; no cache is left then.
        NotPackedError: They are not packed, and ``pack`` is false.
        WriteError: The cache cannot be written.
        OptionError: ``on_fault`` is neither of the two.
    """
    check_choice("on_fault", on_fault, ON_FAULT)
    complete = retry or on_fault == "refuse"
    if (dataset := _open_current(folder, source.state, complete)) is None:
        if not pack:
            _first_faults(source, on_fault)
            raise NotPackedError(f"{source.name} is not packed; pack=True packs it into {folder}")
        with _lock(folder):
            if (dataset := _open_current(folder, source.state, complete, warn=True)) is None:
                for leftover in leftovers(folder):  # nobody else writes here while we hold the lock
                    shutil.rmtree(leftover, ignore_errors=True)
                pack_source(source, folder, progress=progress, on_fault=on_fault)
                dataset = PackedDataset(folder)
    if dataset.faint == len(dataset):
        window = dataset.preprocessing and dataset.preprocessing.window
        logger.warning("%s: the window %s leaves hardly any contrast to any image", folder, window)
    return dataset


def pack_source(
    source: Source,
    folder: Path,
    *,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
) -> None:
    """Write the cache of ``source`` to ``folder``; memory holds a few chunks at a time.

    Raises:
        DataError: The source cannot be read or has no samples; nothing is left then.
        WriteError: The cache cannot be written.
    """
    faults = _first_faults(source, on_fault)
    classes = source.classes  # which may be counted, before other processes get the source
    with atomic_folder(folder) as temporary:
        ids, groups, values, faint = _write_arrays(source, temporary, faults, progress)
        faults.add([], last=True)
        if not ids:
            reasons = f"\n  {shorten(faults.lines)}" if faults.lines else ""
            raise FaultyFiles(
                faults.lines, f"there are no samples to pack in {faults.origin}{reasons}"
            )
        meta = {
            "schema": SCHEMA,
            "name": source.name,
            "classes": classes,
            **_mask_kind(source),
            "provenance": source.provenance,
            "fingerprint": fingerprint(temporary, ids, groups),
            **_known_preprocessing(source),
            "stamp": source.state,
            "files": file_states(temporary),
            "skipped": faults.lines,
            "faint": faint,
            "grouped": getattr(source, "grouped", False),
            "mask_values": {
                one: {"masks": len(files), "such as": files[:MOST_LISTED]}
                for one, files in values.items()
            },
            "ids": ids,
            "groups": groups,
            **_parts(source, ids),
        }
        write_json(temporary / META, meta)
    if faults.lines:
        logger.warning("%s: left out:\n  %s", faults.origin, shorten(faults.lines))


def _known_preprocessing(source: Source) -> dict[str, Any]:
    known = preprocessing_of(source)
    return {"preprocessing": known.to_plain()} if known else {}


def _parts(source: Source, ids: Sequence[str]) -> dict[str, Any]:
    """Return to which part of its publisher's split each sample belongs, if files say so."""
    part_of: Callable[[str], str] | None = getattr(source, "part_of", None)
    parts = [part_of(one) for one in ids] if part_of else []
    return {"parts": parts} if any(parts) else {}


def _first_faults(source: Source, on_fault: OnFault) -> Faults:
    """Return the faults that show before any pixel is read."""
    faults = Faults(f"{source.name} ({source.state.get('path', 'no file')})", on_fault)
    faults.add(source.faults(), last=True)
    return faults


def _write_arrays(
    source: Source, folder: Path, faults: Faults, progress: bool | None
) -> tuple[list[str], list[str], MaskValues, int]:
    ids: list[str] = []
    groups: list[str] = []
    values: MaskValues = {}
    faint = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(ArrayWriter(folder / name)) for name in ARRAYS]
        bar = progress_bar(f"packing {source.name}", len(source), show=progress)
        advance = stack.enter_context(bar)
        for block in _read_all(source):
            faults.add(block.faults)
            if block.ids:
                for writer, rows in zip(writers, block.arrays, strict=True):
                    writer.append(rows)
            ids += block.ids
            groups += block.groups
            faint += block.faint
            for file in block.files:
                files = values.setdefault(" ".join(map(str, file.values)), [])
                files.append(file.name)
            advance(len(block.ids) + len(block.faults))
    return ids, groups, values, faint


class ArrayWriter:
    """Writes an ``.npy`` file row by row; its header is completed on leaving the context.

    Rows are written with ``write``, not through a memory map: a full disk would end that by SIGBUS.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "wb")  # closed by __exit__
        self._header: dict[str, Any] = {}
        self._rows = 0

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            if self._header:
                self._file.seek(0)
                self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Append ``rows`` along the first axis.

        Raises:
            ValueError: Their type or shape differs from that of the rows before.
        """
        rows = np.ascontiguousarray(rows)
        description = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False}
        if not self._header:
            self._header = {**description, "row": rows.shape[1:]}
            self._write_header()
        if {**description, "row": rows.shape[1:]} != self._header:
            raise ValueError(f"rows of {rows.dtype} {rows.shape[1:]} after {self._header}")
        self._file.write(rows.data)
        self._rows += len(rows)

    def _write_header(self) -> None:
        # NumPy pads a header so that its first axis may grow in place.
        shape = (self._rows, *self._header["row"])
        header = {k: v for k, v in self._header.items() if k != "row"} | {"shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class _Block(NamedTuple):
    """Some samples as rows of the arrays, and the faults of those that could not be read."""

    ids: list[str]
    groups: list[str]
    arrays: list[NDArray[Any]]  # in the order of ARRAYS
    faults: list[str]  # name and reason
    files: list[MaskFile]
    faint: int  # images to which the window leaves nearly one value


def _read_all(source: Source) -> Iterator[_Block]:
    """Read the items in order, in as many processes as there are cores if that is worth it."""
    chunks = chunked(source.items(), 1 if getattr(source, "volumes", False) else _CHUNK)
    if len(source) < _WORTH_PROCESSES or len(chunks) < 2:
        yield from (_read_chunk(source, chunk) for chunk in chunks)
        return
    workers = {"n_jobs": -1, "pre_dispatch": "2 * n_jobs", "return_as": "generator"}
    with TemporaryDirectory() as folder, Parallel(**workers) as pool:
        pickled = Path(folder) / "source.pickle"
        pickled.write_bytes(pickle.dumps(source))
        yield from pool(delayed(_read_elsewhere)(pickled, chunk) for chunk in chunks)


def _read_elsewhere(pickled: Path, chunk: Sequence[Any]) -> _Block:
    return _read_chunk(_unpickle(pickled), chunk)


@lru_cache(maxsize=1)  # a source may hold the name of every file: a process loads it only once
def _unpickle(pickled: Path) -> Source:
    source: Source = pickle.loads(pickled.read_bytes())
    return source


def _read_chunk(source: Source, chunk: Sequence[Any]) -> _Block:
    records: list[Record] = []
    faults: list[str] = []
    ignores = getattr(source, "ignore_index", None) is not None
    nothing = "nobody labelled a pixel of it" if ignores else "nobody annotated it"
    for item in chunk:
        try:
            samples = source.read(item)
        except DataError as error:
            faults += error.lines if isinstance(error, FaultyFiles) else [str(error)]
            continue
        unseen = [one for one in samples if one.present is not None and not one.present.any()]
        faults += [f"{one.id}: {nothing}" for one in unseen]
        records += [one for one in samples if one.present is None or one.present.any()]
    arrays = _as_arrays(records, source) if records else []
    files = [file for one in records for file in one.files]
    ids, groups = [one.id for one in records], [one.group for one in records]
    return _Block(ids, groups, arrays, faults, files, sum(one.faint for one in records))


def _mask_kind(source: Source) -> dict[str, Any]:
    """Return what masks may hold besides classes, if they do."""
    kind = {name: getattr(source, name, None) for name in ("ignore_index", "soft")}
    return {name: value for name, value in kind.items() if value}


def _as_arrays(records: Sequence[Record], source: Source) -> list[NDArray[Any]]:
    masks = np.stack([one.masks for one in records])
    everybody = np.ones(masks.shape[1], np.bool_)
    present = [everybody if one.present is None else one.present for one in records]
    spacing = np.array([np.broadcast_to(one.spacing, 2) for one in records], np.float32)
    dtype, bits = mask_layout(source.classes, _mask_kind(source))
    masks = masks.astype(dtype, copy=False)
    if bits:
        masks = np.packbits(masks.reshape(*masks.shape[:2], -1), axis=-1)
    return [np.stack([one.image for one in records]), masks, np.stack(present), spacing]


def _open_current(
    folder: Path, state: dict[str, Any], complete: bool, warn: bool = False
) -> PackedDataset | None:
    """Open a cache, unless it is missing, damaged, out of date or lacks samples."""
    if not folder.exists():
        return None
    try:
        dataset = PackedDataset(folder)
    except DataError as error:
        reason = str(error)
    else:
        if dataset.source_state != state:
            reason = f"{folder} was packed from another state of its source"
        elif dataset.skipped and complete:  # the faults may have been corrected
            reason = f"{folder} lacks samples that could not be read"
        else:
            return dataset
    if warn:
        logger.warning("%s: it is packed again now", reason)
    return None


def _lock(folder: Path) -> FileLock:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot make the cache folder {folder.parent}: {error.strerror}; choose another "
            "with cache= or the environment variable PROBSEG_CACHE"
        ) from error
    return FileLock(folder.with_name(f"{folder.name}.lock"))
