"""What looks wrong in a data set, and what mends it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from probseg.datasets.annotators import annotator_names
from probseg.interfaces import Dataset

_SPECK, _SMALL, _OF_USUAL = 4, 9, 0.05  # pixels; a share of the usual area
_NEARLY_ALL = 0.9  # of an image
_COMMON = 5  # images, from which on identical annotators are no coincidence
_VARIES = 1.25  # the largest spacing through the smallest
_RARE = 0.01  # of the masks
_LISTED = 3  # annotators or files that a finding names
_BETWEEN = re.compile(r"(?<=\d)-(?=[^\W\d])|(?<=[^\W\d])-(?=\d)")  # a letter and a number
_PARTS = re.compile(r"train(ing)?|val(id(ation)?)?|test(ing)?|dev", re.IGNORECASE)
_OF_ONE_PATIENT = (  # what several images of a patient may have in common
    re.compile(r"(.*\d)(?:[-_ .]+[A-Za-z]*|[A-Za-z]+)(?:[-_ .]?\d+)?"),  # patient3_slice07, eye12L
    re.compile(r"([^-_]+)[-_].*"),  # mueller_left
)


class Finding(NamedTuple):
    """Something that looks wrong."""

    what: str
    samples: Sequence[int]  # indices; none where it is about the data set as a whole
    remedy: str = ""
    wrong: bool = False  # whether a model would learn, or be scored, wrongly


class Measures(NamedTuple):
    """The measures of each image, which are kept when its batch is gone."""

    present: Tensor  # (B, A) bool, who annotated
    empty: Tensor  # (B, A) bool, who annotated and marked nothing
    area: Tensor  # (B, A), share of the image
    pixels: Tensor  # (B, A), number of them
    inverted: Tensor  # (B, A) bool, whose mask covers more than half and nearly all of the border
    identical: Tensor  # (B, A, A) bool, two that drew exactly the same
    classes: Tensor  # (B, A, K) bool, which classes a mask has
    apart: Tensor  # (B, A) bool, who is far from the others, who agree
    iou_others: Tensor  # (B, A), mean with the others
    iou: Tensor  # (B,), mean over pairs, both empty = 1
    iou_drawn: Tensor  # (B,), mean over pairs without those of two empty masks
    lowest: Tensor  # (B,) intensity
    highest: Tensor  # (B,) intensity
    flattened: Tensor  # (B,) bool, whether a few pixels take most of the range
    finite: Tensor  # (B,) bool
    declared: Tensor  # (B,) bool, whether the data set declares every class in the masks
    labelled: Tensor  # (B, A), share of the image that is not to be ignored


def find(dataset: Dataset, measures: Measures, digests: Sequence[bytes]) -> list[Finding]:
    """Return what looks wrong, given the measures and the digests of all images."""
    stretched = getattr(dataset, "stretched", True)
    each = [
        *_of_images(measures, stretched=stretched),
        *_of_masks(measures),
        *_rare_classes(measures.classes & measures.present[:, :, None]),
        *_of_groups(dataset),
        *_of_spacing(dataset),
        *duplicates(digests, dataset.groups),
    ]
    whole = [
        *_inverted(measures, binary=dataset.classes == 2),
        *_of_annotators(measures, annotator_names(dataset)),
        *_of_window(dataset),
        *_of_values(dataset),
    ]
    return [*whole, *(finding for finding in each if len(finding.samples))]


def duplicates(digests: Sequence[bytes], groups: Sequence[str]) -> list[Finding]:
    """Return the samples whose image occurs more than once, in several groups or in one."""
    groups_of: dict[bytes, list[str]] = {}
    for key, group in zip(digests, groups, strict=True):
        groups_of.setdefault(key, []).append(group)
    elsewhere: list[int] = []
    again: list[int] = []
    for index, key in enumerate(digests):
        if len(groups_of[key]) > 1:
            (elsewhere if len(set(groups_of[key])) > 1 else again).append(index)
    return [
        Finding(
            "the same image in another group: it can be on both sides of a split",
            elsewhere,
            "remove the copies, or give them one group in groups.csv",
            wrong=True,
        ),
        Finding("the same image again in its group", again, "remove the copies"),
    ]


def _of_images(measures: Measures, *, stretched: bool) -> Iterator[Finding]:
    yield Finding("a constant image", _where(measures.lowest == measures.highest))
    yield Finding(
        "a few extreme pixels take most of the range and flatten the image",
        _where(measures.flattened) if stretched else [],
        'normalise="percentiles", or a fixed window=(low, high)',
        wrong=True,
    )


def _of_window(dataset: Dataset) -> Iterator[Finding]:
    """Tell of a window that is in other units than the files."""
    if getattr(dataset, "faint", 0) == len(dataset):
        yield Finding(
            "the window leaves hardly any contrast to any image",
            [],
            "give window=(LOW, HIGH) in the units of the files",
            wrong=True,
        )


def _of_masks(measures: Measures) -> Iterator[Finding]:
    present, drew = measures.present, measures.present & ~measures.empty
    nobody = ~present.any(1)
    yield Finding("nobody annotated it", _where(nobody))
    yield Finding("every mask is empty", _where((measures.empty == present).all(1) & ~nobody))
    whole = drew & ~measures.inverted & (measures.area >= _NEARLY_ALL)
    yield Finding("a mask covers nearly the whole image", _where(whole.any(1)))
    usual = measures.area[drew].median() if drew.any() else torch.tensor(0.0)
    small = (measures.pixels <= _SMALL) & (measures.area < _OF_USUAL * usual)
    yield Finding(
        "a mask of a few pixels only",
        _where((drew & (small | (measures.pixels <= _SPECK))).any(1)),
        "if it is a slip of the hand, leave that mask empty",
    )
    yield Finding(
        "an annotator far from the others, who agree",
        _where(measures.apart.any(1)),
        "does the mask belong to this image?",
    )


def _inverted(measures: Measures, *, binary: bool) -> Iterator[Finding]:
    """Tell of foreground that surrounds the background; of several classes that may be right."""
    drew = measures.present & ~measures.empty
    inverted = measures.inverted & drew
    samples = _where(inverted.any(1))
    around = "foreground covers more than half of the image, and its border"
    if inverted.sum() * 2 > drew.sum():
        remedy = "invert=True exchanges foreground and background"
        yield Finding(f"most masks look inverted: {around}", samples, remedy, wrong=binary)
        return
    if samples:
        remedy = "exchange foreground and background in these files; invert=True would in all"
        yield Finding(f"a mask looks inverted: {around}", samples, remedy, wrong=binary)
    if binary and drew.any() and measures.area[drew].median() > 0.5:
        remedy = "look at probseg data preview; if that is the background, invert=True"
        yield Finding("foreground covers more than half of most images", [], remedy)


def _rare_classes(has: Tensor) -> Iterator[Finding]:
    """Tell of classes in hardly any mask, as a stray value is a class more."""
    masks = int(has.any(2).sum())
    for k in range(1, has.shape[2] if has.shape[2] > 2 else 0):
        count = int(has[..., k].sum())
        if count <= max(1, _RARE * masks):
            what = f"class {k} is in {count} of {masks} masks"
            remedy = "if that value is a slip, correct it, or give the number of classes= yourself"
            yield Finding(what, _where(has[..., k].any(1)), remedy)


def _of_annotators(measures: Measures, names: Sequence[str]) -> Iterator[Finding]:
    if not (measures.present.sum(1) > 1).any():
        yield Finding(
            "one annotation an image: a model learns to segment, but not where people disagree, "
            "and metrics of disagreement say nothing",
            [],
            "get a second opinion for a part of the images at least",
        )
    drew = (measures.present & ~measures.empty).float()
    shared = torch.einsum("ba,bc->ac", drew, drew)
    same = measures.identical.sum(0)
    for part, pairs in {
        "all": same == shared,
        "most": (same * 2 > shared) & (same < shared),
    }.items():
        where = (pairs & (shared >= _COMMON)).triu(1).nonzero()
        if len(where):
            a, b = where[0].tolist()
            who = _listed([names[index] for index in where.unique().tolist()])
            yield Finding(
                f"annotators {who} drew exactly the same in {part} images that two of them drew on "
                f"({same[a, b]} of {shared[a, b]:.0f})",
                [],
                "a copy is no second opinion: leave it out",
                wrong=part == "all",
            )


def _of_groups(dataset: Dataset) -> Iterator[Finding]:
    """Tell of patients who may be on both sides of a split."""
    alike = defaultdict(list)
    for group in sorted(set(dataset.groups)):
        number = re.sub(r"\d+", lambda match: str(int(match[0])), group.casefold())
        parts = re.sub(r"[\W_]+", "-", number).strip("-")
        alike[_BETWEEN.sub("", parts)].append(group)
    if twice := [names for names in alike.values() if len(names) > 1]:
        rows = [i for i, group in enumerate(dataset.groups) if any(group in n for n in twice)]
        what = f"groups that are only spelt differently, such as {' and '.join(twice[0][:2])}"
        yield Finding(what, rows, "spell a patient in one way in groups.csv")
    ids: list[str] = list(getattr(dataset, "ids", ()))
    if ids == list(dataset.groups) and not getattr(dataset, "grouped", False):
        yield from _several_of_one(ids)


def _several_of_one(ids: Sequence[str]) -> Iterator[Finding]:
    """Tell of names like ``patient3_slice07`` where each image is a group of its own.

    What only most of the images, or all of them, have in common names no patient.
    """
    for pattern in _OF_ONE_PATIENT:
        heads = [match[1] if (match := pattern.fullmatch(name)) else "" for name in ids]
        counts = Counter(head for head in heads if head and not _PARTS.fullmatch(head))
        rows = [index for index, head in enumerate(heads) if counts[head] > 1]
        if len(rows) * 2 > len(ids) and len({heads[row] for row in rows}) > 1:
            head = heads[rows[0]]
            two = [ids[row] for row in rows if heads[row] == head][:2]
            yield Finding(
                f"several images that seem to be of one patient ({' and '.join(two)}), each a "
                "group of its own: a patient can be on both sides of a split",
                rows,
                "if so, say in groups.csv which image is of which patient:\n"
                + "\n".join(["id,group", *(f"{name},{head}" for name in two), "…"]),
            )
            return


def _of_spacing(dataset: Dataset) -> Iterator[Finding]:
    spacing = np.asarray(getattr(dataset, "spacing", np.empty((0, 2))))
    known = spacing[np.isfinite(spacing).all(axis=1)]
    if not len(known):
        return
    low, high = known.min(0), known.max(0)  # of rows and of columns
    if axes := np.flatnonzero(high > _VARIES * low).tolist():
        away = np.abs(np.log(spacing / np.median(known, 0))).max(1) > np.log(_VARIES) / 2
        axis = max(reversed(axes), key=lambda one: high[one] / low[one])
        side = ("high", "wide")[axis]
        yield Finding(
            f"the resolution varies: a pixel is {low[axis]:.3g} to {high[axis]:.3g} mm {side}",
            np.flatnonzero(away).tolist(),
            "a model sees pixels and no mm: resample the files to one spacing",
        )


def _of_values(dataset: Dataset) -> Iterator[Finding]:
    """Tell of masks in which 255 counts as what is 1 in others, and may be something else."""
    noted: Mapping[str, Mapping[str, Any]] = getattr(dataset, "mask_values", {})
    if getattr(dataset, "source_state", {}).get("values"):
        return  # which say what 255 is
    having = {
        value: [files for values, files in noted.items() if value in values.split()]
        for value in ("1", "255")
    }
    if all(having.values()):
        ones, high = (sum(files["masks"] for files in having[value]) for value in having)
        few = having["1" if ones < high else "255"][0]["such as"]
        yield Finding(
            f"{ones:,} masks with the value 1 and {high:,} with 255, which counts as 1 as well "
            f"(such as {_listed(few)})",
            [],
            'if 255 is what nobody labelled: values={255: "ignore"}',
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"


def _where(rows: Tensor) -> list[int]:
    indices: list[int] = rows.nonzero()[:, 0].tolist()
    return indices
