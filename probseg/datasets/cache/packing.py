"""Making a packed cache: streamed from a source, written atomically, made once by one process."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from filelock import FileLock
from joblib import Parallel, delayed
from numpy.typing import NDArray

from probseg.datasets.cache import packed
from probseg.datasets.cache.growing import GrowingArray
from probseg.datasets.cache.packed import PackedDataset
from probseg.datasets.cache.sources import (
    ON_FAULT,
    Block,
    Faults,
    OnFault,
    Source,
    only_annotated,
    told,
)
from probseg.errors import DataError, OptionError
from probseg.options import did_you_mean, listing
from probseg.utils.atomic_files import WriteError, atomic_folder, leftovers, write_json
from probseg.utils.progress import progress_bar

logger = logging.getLogger(__name__)
_WORTH_PROCESSES = 1000  # samples: starting processes takes some seconds


def cache_root(cache: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of caches: ``cache``, else $PROBSEG_CACHE, else ``~/.cache/probseg``."""
    return Path(cache or os.environ.get("PROBSEG_CACHE") or "~/.cache/probseg").expanduser()


def find_or_pack(
    source: Source,
    folder: Path,
    *,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
    retry: bool = False,
) -> PackedDataset:
    """Open the cache of ``source`` at ``folder``, after making it if it is missing or not sound.

    Several processes may call this at once: one packs, the others wait and open what it made.

    Args:
        source: What the cache is made from.
        folder: Where the cache is, or will be.
        progress: Show a bar on stderr; by default if that is a terminal.
        on_fault: What a faulty sample does: ``"refuse"`` raises and packs nothing, ``"skip"``
            leaves it out and keeps the reason in the cache's ``skipped``. A cache that left
            samples out is made again under ``"refuse"``.
        retry: Make such a cache again under ``"skip"`` too.

    Raises:
        DataError: The source cannot be read; no cache is left then.
        WriteError: The cache cannot be written.
        OptionError: ``on_fault`` is neither of the two.
    """
    if on_fault not in ON_FAULT:
        raise OptionError(
            f"on_fault is {on_fault!r}{did_you_mean(on_fault, ON_FAULT)}; "
            f"it can be {listing(ON_FAULT)}"
        )
    whole = retry or on_fault == "refuse"
    if (found := _sound(folder, source.stamp, whole)) is None:
        with _lock(folder):
            if (found := _sound(folder, source.stamp, whole, note=True)) is None:
                for leftover in leftovers(folder):  # nobody else writes here while we hold the lock
                    shutil.rmtree(leftover, ignore_errors=True)
                pack(source, folder, progress=progress, on_fault=on_fault)
                found = PackedDataset(folder)
    return found


def pack(
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
    faults = Faults(_where(source), on_fault)
    faults.add(source.faults(), last=True)
    with atomic_folder(folder) as temporary:
        ids, groups = _write_arrays(source, temporary, faults, progress)
        faults.add([], last=True)
        if not ids:
            raise DataError(
                "\n  ".join(
                    [f"there are no samples to pack in {_where(source)}", told(faults.lines)]
                )
            )
        meta = {
            "schema": packed.SCHEMA,
            "name": source.name,
            "classes": source.classes,
            "provenance": source.provenance,
            "fingerprint": packed.fingerprint(temporary, ids, groups),
            "stamp": source.stamp,
            "files": packed.file_states(temporary),
            "skipped": faults.lines,
            "ids": ids,
            "groups": groups,
        }
        write_json(temporary / packed.META, meta)
    if faults.lines:
        logger.warning("%s: left out:\n  %s", _where(source), told(faults.lines))


def _where(source: Source) -> str:
    return f"{source.name} ({source.stamp.get('path', 'no file')})"


def _write_arrays(
    source: Source, folder: Path, faults: Faults, progress: bool | None
) -> tuple[list[str], list[str]]:
    ids: list[str] = []
    groups: list[str] = []
    with ExitStack() as stack:
        images, masks, present, spacing = (
            stack.enter_context(GrowingArray(folder / name)) for name in packed.ARRAYS
        )
        show = progress_bar(f"packing {source.name}", len(source), show=progress)
        advance = stack.enter_context(show)
        for block in map(only_annotated, _read_all(source)):
            faults.add(block.faults)
            count, annotators = len(block.ids), block.masks.shape[1]
            if count:
                images.append(block.images)
                masks.append(_pack_masks(block.masks, source.classes))
                everybody = np.ones((count, annotators), np.bool_)
                present.append(everybody if block.present is None else block.present)
                unknown = np.full((count, 2), np.nan)
                scale = unknown if block.spacing is None else block.spacing
                spacing.append(scale.astype(np.float32))
            ids += block.ids
            groups += block.groups
            advance(count + len(block.faults))
    return ids, groups


def _read_all(source: Source) -> Iterator[Block]:
    """Read the chunks in order, in as many processes as there are cores if that is worth it."""
    chunks = source.chunks()
    if len(source) < _WORTH_PROCESSES or len(chunks) < 2:
        yield from map(source.read, chunks)
        return
    workers = {"n_jobs": -1, "pre_dispatch": "2 * n_jobs", "return_as": "generator"}
    with TemporaryDirectory() as folder, Parallel(**workers) as pool:
        kept = Path(folder) / "source.pickle"
        kept.write_bytes(pickle.dumps(source))
        yield from pool(delayed(_read)(kept, chunk) for chunk in chunks)


def _read(kept: Path, chunk: Any) -> Block:
    return _brought(kept).read(chunk)


@lru_cache(maxsize=1)  # a source may know every file's name: it is brought to a process only once
def _brought(kept: Path) -> Source:
    source: Source = pickle.loads(kept.read_bytes())
    return source


def _pack_masks(masks: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    if classes != 2:
        return masks
    return np.packbits(masks.reshape(*masks.shape[:2], -1), axis=-1)


def _sound(
    folder: Path, stamp: dict[str, Any], whole: bool, note: bool = False
) -> PackedDataset | None:
    if not folder.exists():
        return None
    try:
        found = PackedDataset(folder)
    except DataError as error:
        why = str(error)
    else:
        if found.stamp != stamp:
            why = f"{folder} was made from another state of its source"
        elif found.skipped and whole:  # what was wrong may have been mended
            why = f"{folder} lacks samples that could not be read"
        else:
            return found
    if note:
        logger.warning("%s: it is packed again now", why)
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
