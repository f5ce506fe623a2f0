"""QUBIQ 2021: seven collections of medical images, each outlined by several raters."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

from numpy.typing import NDArray

from probseg.datasets import preprocessing
from probseg.datasets.annotated_files import AnnotatedFiles, SampleFiles
from probseg.datasets.cache.dataset import PackedDataset, open_packed
from probseg.datasets.cache.packing import cache_folder, open_or_pack
from probseg.datasets.cache.source import OnFault
from probseg.datasets.formats.files import FileTree, printable
from probseg.datasets.formats.images import Picture
from probseg.datasets.formats.mask_values import MaskValues
from probseg.datasets.formats.nifti import Reorientation, read_nifti, slice_axis
from probseg.datasets.preprocessing import Preprocessing
from probseg.datasets.roots import check_links, find_root, is_packed, list_contents, open_root
from probseg.errors import DataError, MissingDataError, OptionError
from probseg.options import unknown


class Subset(NamedTuple):
    """One of the challenge's collections."""

    folder: str
    tasks: int
    raters: int  # of most cases
    channels: int = 1
    volumes: bool = False  # its samples are the annotated slices along the first axis


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
    size: int | tuple[int, int] | None = 128,
    resize: str = "stretch",
    normalise: str | None = None,
    window: tuple[float, float] | None = None,
    threshold: float | None = None,
    resample_masks: bool = False,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    on_fault: OnFault = "refuse",
    pack: bool = True,
) -> PackedDataset:
    """Return one structure of one subset of QUBIQ 2021, packed at the first use.

    Each image is stretched to its own minimum and maximum, channel by channel, unless ``window`` or
    ``normalise`` says otherwise. A sample is a case
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
        size: Edge of the pictures in pixels, or their height and width: images are resized by
            antialiased linear interpolation, masks by nearest neighbour. None leaves them as they
            are, which is possible where all are of one size.
        resize: ``"stretch"``, as the benchmark's results have it; ``"pad"`` and ``"crop"`` keep the
            aspect of pictures that are not square.
        normalise: See :func:`probseg.datasets.folder.folder`.
        window: Likewise.
        threshold: Likewise; by default masks have exactly the values 0 and 1, or 0 and 255.
        resample_masks: Likewise.
        cache: Folder of packed data sets; by default $PROBSEG_CACHE or ``~/.cache/probseg``.
        progress: Show a bar while packing; by default if stderr is a terminal.
        on_fault: ``"refuse"`` to raise at faulty files, ``"skip"`` to leave their cases out.
        pack: Whether to pack data that are not packed yet, which may take minutes.

    Raises:
        OptionError: There is no such subset, task or size.
        MissingDependencyError: nibabel is not installed.
        MissingDataError: There is no such data.
        DataError: The data are incomplete or damaged; the message names the files.
        NotPackedError: They are not packed, and ``pack`` is false.
        WriteError: The cache cannot be written.

    References:
        Li et al., "QUBIQ: Uncertainty Quantification for Biomedical Image Segmentation Challenge",
        2024, arXiv 2405.18435.
    """
    chosen = _subset(subset, task)
    wanted = preprocessing.wanted(size, resize, normalise, window)
    masks = MaskValues.of(threshold=threshold)
    path = find_root(root, f"qubiq-{subset}", _WANTED)
    if is_packed(path):
        asked = preprocessing.wanted(normalise=normalise, window=window)
        return open_packed(path, replace(asked, mask_values=masks if masks.options else None))
    tree = open_root(path, _entering(chosen), f"qubiq-{subset}", _WANTED)
    source = QubiqSource(tree, chosen, wanted, task=task, masks=masks, resample=resample_masks)
    folder = cache_folder(cache, source.name, path, source.wanted.options, *source.reading.items())
    return open_or_pack(source, folder, progress=progress, on_fault=on_fault, pack=pack)


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


_PARTS = {"Training": "train", "Validation": "validation"}
SITE = "https://qubiq21.grand-challenge.org"

_ABOVE = r"(?:qubiq[^/]*/)?(?:(?P<top>training|validation)_data[^/]*/)?"
_PART = r"(?:(?P<part>training|validation)/)?"
_CASE = r"(?P<case>case[^/]*)"
_IMAGE = re.compile(r"image\.nii(?:\.gz)?", re.IGNORECASE)
_MASK = re.compile(r"(?:task(\d+)|(case.*))_seg(\d+)\.nii(?:\.gz)?", re.IGNORECASE)
_LARGEST = 1 << 28  # bytes of a file


class QubiqSource(AnnotatedFiles):
    """The cases of one subset and task; training and validation are numbered separately."""

    def __init__(
        self,
        tree: FileTree,
        subset: Subset,
        wanted: Preprocessing | None = None,
        *,
        task: int,
        masks: MaskValues = MaskValues(),  # noqa: B008  # is frozen
        resample: bool = False,
    ) -> None:
        super().__init__(tree, wanted)
        self.name = f"qubiq-{subset.folder}" + (f"-{task}" if subset.tasks > 1 else "")
        self.provenance = (
            f"QUBIQ 2021, {subset.folder}, task {task}: real images, real annotations of "
            f"{subset.raters} raters (the challenge's terms)"
        )
        self.class_names = ("background", self.name.removeprefix("qubiq-"))
        self.volumes = subset.volumes
        self._subset, self._task, self._resample = subset, task, resample
        self.masks: MaskValues = masks
        self.reading = {**masks.options, **({"resample_masks": True} if resample else {})}
        self.wanted = self.settled()
        images = self.wanted.to_plain()
        # "parts" is new: caches of the first versions did not have them
        self.state = {
            "layout": "qubiq",
            "images": images,
            "parts": True,
            **self.reading,
            **tree.state,
        }

    def collect(self, samples: defaultdict[str, SampleFiles]) -> None:
        """Collect the files of each case."""
        check_links(self.tree, _entering(self._subset))
        layout = f"{_ABOVE}{re.escape(self._subset.folder)}/{_PART}{_CASE}/(?P<file>[^/]+)"
        pattern = re.compile(layout, re.IGNORECASE)
        for name in self.tree.names():
            if match := pattern.fullmatch(name):
                part, case = (match["part"] or match["top"] or "").capitalize(), match["case"]
                self._add(samples[printable(f"{part}/{case}" if part else case)], name, match)
        if not samples:
            raise MissingDataError(
                f"{self.tree.root} holds no cases of {self._subset.folder} "
                f"(qubiq/{self._subset.folder}/Training/case01/image.nii.gz, with or without the "
                f"outer folders); it holds: {list_contents(self.tree.root)}. QUBIQ 2021 is "
                f"given to those who register at {SITE}"
            )

    def part_of(self, name: str) -> str:
        """Return the challenge's part of a case: "train", "validation", or "" if unknown."""
        return _PARTS.get(name.split("/")[0], "")

    def _add(self, files: SampleFiles, name: str, match: re.Match[str]) -> None:
        if _IMAGE.fullmatch(match["file"]):
            files.add(name)
        elif mask := _MASK.fullmatch(match["file"]):
            task, other, rater = mask.groups()
            if other and (self._subset.tasks > 1 or other.lower() != match["case"].lower()):
                files.unclear.append(name)  # perhaps of another task or case
            elif other or int(task) == self._task:
                files.add(name, int(rater))

    @cached_property
    def annotators(self) -> list[int]:
        """Numbers of the annotators: those of the masks, and more up to the subset's number."""
        present = {rater for files in self.files.values() for rater in files.masks}
        others = [rater for rater in range(1, self._subset.raters + 1) if rater not in present]
        return sorted(present | {*others[: max(0, self._subset.raters - len(present))]})

    def open(self, file: str, image: Picture | None = None) -> Picture:
        """Read an image, or the mask of one, whose voxels are turned as the image's."""
        volume = read_nifti(self.tree.read(file, _LARGEST), flat=not self.volumes)
        reorient = image.reorientation if image else None
        if reorient is None:
            if (channels := volume.voxels.shape[3]) != self._subset.channels:
                raise DataError(f"has {channels} channels, not {self._subset.channels}")
            axis = 0 if self.volumes else slice_axis(volume)
            reorient = Reorientation(volume, axis, resample=self._resample)
        return Picture(reorient(volume), reorient.spacing, reorient)

    def labels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return the two classes of a mask."""
        return self.masks.read(mask, 2, takes=("threshold",))

    def lacking(self, name: str) -> str:
        """Return what a case lacks, or nothing."""
        files = self.files[name]
        if files.unclear:
            unclear = printable(files.unclear[0])
            return f"the name {unclear} does not say whether it is of this case and task"
        if not files.images:
            return "has no image.nii.gz"
        return "" if files.masks else f"has no annotation (task{self._task:02}_segRR.nii.gz)"


def _entering(subset: Subset) -> Callable[[str], bool]:
    """Return a function that says whether a folder of this name may hold cases of the subset."""
    layout = f"{_ABOVE}(?:{re.escape(subset.folder)}/{_PART}(?:{_CASE}/)?)?"
    pattern = re.compile(layout, re.IGNORECASE)
    return lambda folder: pattern.fullmatch(f"{folder}/") is not None
