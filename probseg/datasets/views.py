"""Views of a data set: some of its samples, centre crops, or one annotation of each image."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from probseg.datasets import splits
from probseg.datasets.annotators import Annotator, annotation, check_annotator, presence
from probseg.datasets.batches import check_masks, data_title
from probseg.datasets.cache.source import chunked
from probseg.datasets.geometry import crop_offset
from probseg.datasets.mask_kinds import ignore_index_of, is_soft
from probseg.datasets.preprocessing import cropped, preprocessing_of
from probseg.datasets.splits import hash_share
from probseg.errors import DataError, OptionError
from probseg.interfaces import Batch, Dataset, Sample
from probseg.options import check_integer, check_options, listing, to_plain
from probseg.registry.specs import lacking

_READ = 64  # samples at a time


class View:
    """A view of another data set, with the same attributes.

    Args:
        dataset: The underlying data set.
        view: A description of the view, for the fingerprint.
    """

    def __init__(self, dataset: Dataset, view: str) -> None:
        self.dataset = dataset
        self.name = dataset.name
        self.channels = dataset.channels
        self.classes = dataset.classes
        self.annotators = dataset.annotators
        self.groups = dataset.groups
        self.ids: list[str] | None = getattr(dataset, "ids", None)
        self.parts: Sequence[str] | None = _of_samples(dataset, "parts")
        self.spacing: Any = _of_samples(dataset, "spacing")  # (N, 2) mm
        self.provenance = dataset.provenance
        self.preprocessing = preprocessing_of(dataset)
        self.ignore_index = ignore_index_of(dataset)
        self.soft = is_soft(dataset)
        state = f"{dataset.fingerprint} {view}".encode()
        self.fingerprint = hashlib.blake2b(state, digest_size=16).hexdigest()

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Sample:
        batch = self.batch([index])
        present = presence(batch.masks, batch.present)
        return Sample(batch.image[0], batch.masks[0], self.groups[index], present[0])

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch of samples."""
        return self.dataset.batch(indices)


def _of_samples(dataset: Dataset, name: str) -> Any:
    """Return what a data set says of each sample, or None if it says nothing of that kind."""
    told: Any = getattr(dataset, name, None)
    return told if hasattr(told, "__len__") and len(told) == len(dataset.groups) else None


def spacing_of(dataset: Dataset) -> NDArray[np.floating[Any]] | None:
    """Return the mm between rows and columns of each image (N, 2), NaN where unknown, or None."""
    told = _of_samples(dataset, "spacing")
    return None if told is None or np.ndim(told) != 2 else np.asarray(told)


class Subset(View):
    """Some samples of a data set, in the order of ``indices``.

    Args:
        dataset: The underlying data set.
        indices: Which samples.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.indices = [int(index) for index in indices]
        super().__init__(dataset, f"samples {self.indices}")
        self.groups = [dataset.groups[index] for index in self.indices]
        if self.ids is not None:
            self.ids = [self.ids[index] for index in self.indices]
        if self.parts is not None:
            self.parts = [self.parts[index] for index in self.indices]
        if self.spacing is not None:
            self.spacing = np.asarray(self.spacing)[self.indices]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch of samples."""
        return self.dataset.batch([self.indices[index] for index in indices])


class CentreCrop(View):
    """Centre crops of a data set's images and masks; a crop of a crop is that of the whole.

    Args:
        dataset: The underlying data set.
        size: Height and width that remain, in pixels; one number for both.

    Raises:
        OptionError: The images are smaller than ``size`` (raised when one is read).
    """

    def __init__(self, dataset: Dataset, size: int | tuple[int, int]) -> None:
        size = to_plain(size)
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if min(self.size) < 1:
            raise OptionError(f"size must be at least 1 pixel, not {self.size}")
        # odd crops lay elsewhere in the first versions: no run goes on with other pixels
        odd = " of halves" if any(side % 2 for side in self.size) else ""
        super().__init__(dataset, f"centre {self.size}{odd}")
        self.preprocessing = cropped(self.preprocessing, (self.size[0], self.size[1]))

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch of samples."""
        image, masks, present = self.dataset.batch(indices)
        return Batch(self._crop(image), self._crop(masks), present)

    def _crop(self, pixels: torch.Tensor) -> torch.Tensor:
        height, width = pixels.shape[-2:]
        if height < self.size[0] or width < self.size[1]:
            raise OptionError(
                f"cannot crop {height}x{width} images to {self.size}; "
                f"give a crop of at most {min(height, width)}"
            )
        top, left = crop_offset((height, width), (self.size[0], self.size[1]))
        return pixels[..., top : top + self.size[0], left : left + self.size[1]].contiguous()


class PlacedCrop(View):
    """Crops that lie anywhere but hold the image's middle, where a hash of its name puts them.

    The same image is cropped alike whatever else is in the data set. Of an even side the middle is
    the pixel below and to the right of the centre.

    Args:
        dataset: The underlying data set, which has names (``ids``).
        size: Height and width that remain, in pixels.

    Raises:
        OptionError: The size is no positive integer, or the images are smaller (raised when one is
            read).
        DataError: The data set has no names.
    """

    def __init__(self, dataset: Dataset, size: int) -> None:
        self.size = check_integer("size", size)
        super().__init__(dataset, f"placed {self.size}")
        if self.ids is None:
            raise DataError(f"{data_title(dataset)!r} has no names of images, which place the crop")
        self.preprocessing = cropped(self.preprocessing, (self.size, self.size))

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch of samples."""
        image, masks, present = self.dataset.batch(indices)
        places = [self._place(index, *image.shape[-2:]) for index in indices]
        return Batch(self._crop(image, places), self._crop(masks, places), present)

    def _place(self, index: int, height: int, width: int) -> tuple[int, int]:
        """Return the top and the left of an image's crop."""
        if min(height, width) < self.size:
            raise OptionError(
                f"cannot crop {height}x{width} images to {self.size}; give a crop of at most "
                f"{min(height, width)}"
            )
        ids = self.ids or []
        top, left = (
            lowest + int(hash_share(f"{axis} {ids[index]}") * (highest - lowest + 1))
            for axis, side in (("y", height), ("x", width))
            for lowest, highest in [_around(side, self.size)]
        )
        return top, left

    def _crop(self, pixels: torch.Tensor, places: Sequence[tuple[int, int]]) -> torch.Tensor:
        crops = [
            one[..., top : top + self.size, left : left + self.size]
            for one, (top, left) in zip(pixels, places, strict=True)
        ]
        return torch.stack(crops)


def _around(side: int, size: int) -> tuple[int, int]:
    """Return the first and last offset at which a window of a side holds its middle pixel."""
    middle = side // 2
    return max(0, middle - size + 1), min(middle, side - size)


class Annotated(View):
    """A data set with one annotation of each image: one annotator's, the majority's or a consensus.

    An annotation is computed when it is first used, and cached.

    Args:
        dataset: The underlying data set.
        annotator: ``"majority"``, ``"staple"`` or an annotator's number, see
            :func:`probseg.datasets.annotators.annotation`.

    Raises:
        OptionError: There is no such annotator, or it is ``"random"``, as a sample must be the same
            whenever it is read.
    """

    def __init__(self, dataset: Dataset, annotator: Annotator) -> None:
        check_annotator(annotator, dataset.annotators)
        if annotator == "random":
            raise OptionError(
                'annotator cannot be "random" in a view; choose_annotator chooses from a batch'
            )
        super().__init__(dataset, f"annotator {annotator}")
        self.annotator = annotator
        self.soft = self.soft and isinstance(annotator, int)  # a consensus is of classes
        self.annotators = 1
        if self.preprocessing:
            name = _name_of(annotator, self.preprocessing.annotators)
            self.preprocessing = replace(self.preprocessing, annotators=name)
        self._annotations: dict[int, bytes] = {}  # compressed to about the size of the outlines

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return a batch of samples, with masks (B, 1, H, W)."""
        batch = self.dataset.batch(indices)
        new = [row for row, index in enumerate(indices) if index not in self._annotations]
        if new:
            present = None if batch.present is None else batch.present[new]
            part = Batch(batch.image[new], batch.masks[new], present)
            check_masks(part, self.dataset)
            labels = annotation(part, self.annotator, ignore_index=self.ignore_index)
            for row, label in zip(new, labels.to(self._dtype), strict=True):
                self._annotations[indices[row]] = zlib.compress(label.numpy(), level=1)
        packed = b"".join(zlib.decompress(self._annotations[index]) for index in indices)
        masks = torch.frombuffer(bytearray(packed), dtype=self._dtype)
        return Batch(batch.image, masks.view(len(indices), 1, *batch.masks.shape[2:]))

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float32 if self.soft else torch.uint8


def _name_of(annotator: Annotator, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if isinstance(annotator, str):
        return (annotator,)
    return names and (names[annotator],)


def subset(dataset: Dataset, indices: Sequence[int]) -> Subset:
    """Return the samples ``indices`` of ``dataset``."""
    return Subset(dataset, indices)


def as_dataset(data: Any) -> Dataset:
    """Return a data set as it is, and a subset of ``torch.utils.data`` as one of ours.

    Raises:
        DataError: It is no :class:`probseg.interfaces.Dataset`.
    """
    if isinstance(data, torch.utils.data.Subset):
        return Subset(as_dataset(data.dataset), data.indices)
    if missing := lacking(data, Dataset):
        raise DataError(
            f"{type(data).__name__} is no data set of probseg: it has no {listing(missing)}; see "
            "probseg.interfaces.Dataset, or keep the images as files and open them with "
            "probseg.datasets.create('folder', root=...)"
        )
    dataset: Dataset = data
    return dataset


def annotated_by(dataset: Dataset, annotator: Annotator) -> Dataset:
    """Return the samples that an annotator of a number annotated; of any other choice, all of them.

    Every batch is read, but of a data set whose annotators are always there.

    Raises:
        OptionError: There is no such annotator.
        DataError: They annotated no sample.
    """
    check_annotator(annotator, dataset.annotators)
    if not isinstance(annotator, int):
        return dataset
    there: list[int] = []
    for indices in chunked(range(len(dataset)), _READ):
        batch = dataset.batch(indices)
        rows = presence(batch.masks, batch.present)[:, annotator].nonzero()[:, 0]
        there += [indices[row] for row in rows.tolist()]
    if not there:
        raise DataError(
            f"annotator {annotator} annotated no image of this part of {data_title(dataset)!r}"
        )
    return dataset if len(there) == len(dataset) else Subset(dataset, there)


def sample_name(dataset: Dataset, index: int) -> str:
    """Return a sample's id if the data set has ids, else its group and index."""
    ids = getattr(dataset, "ids", None)
    return str(ids[index]) if ids is not None else f"{dataset.groups[index]} [{index}]"


class Parts(NamedTuple):
    """The three parts of a data set."""

    train: Dataset
    validation: Dataset
    test: Subset


def split(dataset: Dataset, **options: Any) -> Parts:
    """Split a data set into training, validation and test set, so that no group is in two.

    >>> import probseg
    >>> data = probseg.datasets.create("ambiguous-shapes", samples=10)
    >>> train, validation, test = split(data)
    >>> len(train), len(validation), len(test)
    (5, 3, 2)

    Args:
        dataset: Images in groups, such as patients.
        **options: Those of :func:`probseg.datasets.splits.split`: ``fold``, ``folds``, ``seed``,
            ``by``, ``test``.

    Raises:
        OptionError: An option is unknown or out of range, or there are too few groups.
    """
    dataset = as_dataset(dataset)
    plain = check_options(splits.split, {"groups": [], **options}, owner="split")
    chosen = splits.split(**{**plain, "groups": dataset.groups})
    return Parts(*(Subset(dataset, getattr(chosen, part)) for part in Parts._fields))
