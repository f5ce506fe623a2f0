"""QUBIQ 2021: seven collections of medical images, each outlined by several raters."""

from __future__ import annotations

import os
from functools import partial

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.cache.packing import cache_folder, open_or_pack
from probseg.datasets.cache.source import OnFault
from probseg.datasets.formats.preprocessing import check_size
from probseg.datasets.qubiq.source import QubiqSource, Subset, entering
from probseg.datasets.roots import find_root, is_packed, open_root
from probseg.errors import OptionError
from probseg.options import unknown

SUBSETS = {
    subset.folder: subset
    for subset in (
        Subset("brain-growth", tasks=1, raters=7),
        Subset("brain-tumor", tasks=3, raters=3, channels=4),
        Subset("kidney", tasks=1, raters=3),
        Subset("pancreas", tasks=1, raters=2, volumes=True),
        Subset("pancreatic-lesion", tasks=1, raters=2, volumes=True),
        Subset("prostate", tasks=2, raters=6),
    )
}
_WANTED = (
    "a folder that holds training_data_v3_QC and validation_data_qubiq2021_QC or one of them, a "
    "folder <subset>/{Training,Validation}/caseNN, or a zip file of either"
)


def qubiq(
    subset: str,
    task: int = 1,
    root: str | os.PathLike[str] | None = None,
    *,
    size: int | None = 128,
    orient: bool = True,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
) -> PackedDataset:
    """Return one structure of one subset of QUBIQ 2021, packed at the first use.

    Each image is stretched to its own minimum and maximum, channel by channel. A sample is a case
    or, of the pancreas and the pancreatic lesion, a slice with some annotation; its group is the
    case. An annotator is the number in ``segRR``; ``present`` is false for one whom a case lacks.
    Pictures are turned upright according to their headers, a mask like its image.

    Args:
        subset: ``"brain-growth"``, ``"brain-tumor"``, ``"kidney"``, ``"pancreas"``,
            ``"pancreatic-lesion"`` or ``"prostate"``.
        task: Which structure, from 1: brain tumors have three, prostates two, the others one.
        root: A folder or zip file with the challenge's ``training_data_v3_QC`` and
            ``validation_data_qubiq2021_QC`` or one of them, one that holds the subset's folder
            itself, or a packed cache; any of it may lie in a folder ``qubiq``. By default the
            environment variable PROBSEG_DATA.
        size: Edge of the pictures in pixels: images are resized by antialiased linear
            interpolation, masks by nearest neighbour. None leaves them as they are, which is
            possible where all are of one size.
        orient: False takes voxels as they are stored and ignores the headers' orientation.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their cases out.

    Raises:
        OptionError: There is no such subset, task or size.
        MissingDependencyError: nibabel is not installed.
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        WriteError: The cache cannot be written.

    References:
        Li et al., "QUBIQ: Uncertainty Quantification for Biomedical Image Segmentation Challenge",
        2024, arXiv 2405.18435.
    """
    chosen = _subset(subset, task)
    check_size(size)
    path = find_root(root, f"qubiq-{subset}", _WANTED)
    if is_packed(path):
        return PackedDataset(path)
    tree = open_root(path, entering(chosen), f"qubiq-{subset}", _WANTED)
    source = QubiqSource(tree, chosen, task=task, size=size, orient=orient)
    folder = cache_folder(cache, source.name, path, size, orient)
    return open_or_pack(source, folder, progress=progress, on_fault=on_fault)


def _subset(name: str, task: int) -> Subset:
    if name not in SUBSETS:
        raise OptionError(unknown("subset of QUBIQ", name, SUBSETS))
    subset = SUBSETS[name]
    if not 1 <= task <= subset.tasks:
        raise OptionError(f"task must be one of {name}'s tasks 1 to {subset.tasks}, not {task}")
    return subset


brain_growth = partial(qubiq, "brain-growth", 1)
brain_tumor_1, brain_tumor_2, brain_tumor_3 = (
    partial(qubiq, "brain-tumor", task) for task in (1, 2, 3)
)
kidney = partial(qubiq, "kidney", 1)
pancreas = partial(qubiq, "pancreas", 1)
pancreatic_lesion = partial(qubiq, "pancreatic-lesion", 1)
prostate_1, prostate_2 = (partial(qubiq, "prostate", task) for task in (1, 2))
