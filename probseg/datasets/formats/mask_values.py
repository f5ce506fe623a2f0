"""What the values in a mask's file mean: classes, probabilities, or that nobody labelled."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.preprocessing import as_labels, check_finite
from probseg.errors import DataError, OptionError

OPTIONS = ("values", "threshold", "invert", "soft", "classes")
UNLABELLED = 255  # in memory, whatever stands for it in files
_IGNORE = "ignore"
_MOST_CLASSES = 32  # that a message takes for classes
_MOST_NAMED = 3  # values that a message maps one by one
_ROUNDING = 0.01  # between a class and what a program has made of it
_EXAMPLE = 'values={255: "ignore"}'


@dataclass(frozen=True, kw_only=True)
class MaskValues:
    """How the values of masks are read.

    Args:
        values: Values of files to the classes that they stand for, or to ``"ignore"`` where nobody
            labelled; other values are classes.
        threshold: Masks are of two classes; what is above this value, in the file's own units, is
            foreground.
        invert: Whether foreground and background, of two classes, are the other way round.
        soft: Whether masks are probabilities of the foreground, floating from 0 to 1; or integers,
            of which 255 is a probability of one if there is any above 1.

    Raises:
        OptionError: A value or a class is none, or the options contradict each other.
    """

    values: Mapping[float, int] = field(default_factory=dict)  # the class, or UNLABELLED
    threshold: float | None = None
    invert: bool = False
    soft: bool = False

    @classmethod
    def of(
        cls,
        values: Mapping[Any, Any] | None = None,
        *,
        threshold: float | None = None,
        invert: bool = False,
        soft: bool = False,
        classes: int | None = None,
    ) -> MaskValues:
        """Return the options as a user gave them, checked; ``classes`` is the number of classes."""
        parsed = _parse(values)
        known = set(parsed.values()) - {UNLABELLED}
        if threshold is not None and not np.isfinite(threshold):
            raise OptionError(f"threshold must be a finite number, not {threshold!r}")
        two = [name for name, on in _two_class(threshold, invert, soft).items() if on]
        if two and classes not in (None, 2):
            raise OptionError(f"{two[0]} is for masks of two classes, not classes={classes}")
        if known and (soft or threshold is not None):
            raise OptionError(
                f"with {two[0]}, values= can only say what to ignore, as in {_EXAMPLE}"
            )
        if soft and threshold is not None:
            raise OptionError(
                "soft keeps probabilities and threshold= makes two classes of them; give one"
            )
        if classes is not None and max(known, default=0) >= classes:
            raise OptionError(
                f"values= maps to class {max(known)}, but classes={classes} are 0 to {classes - 1}"
            )
        if classes == UNLABELLED + 1 and UNLABELLED in parsed.values():
            raise OptionError(f"with pixels to ignore there can be {UNLABELLED} classes at most")
        return cls(values=parsed, threshold=threshold, invert=invert, soft=soft)

    @property
    def ignore_index(self) -> int | None:
        """What stands for pixels that nobody labelled in masks that were read, if any may."""
        return UNLABELLED if UNLABELLED in self.values.values() else None

    @property
    def two_classes(self) -> bool:
        """Whether masks are of two classes whatever their values."""
        return self.soft or self.invert or self.threshold is not None

    @property
    def options(self) -> dict[str, Any]:
        """What was chosen, as plain data that :meth:`of` takes; empty if nothing was."""
        named = {_as_text(key): _as_label(label) for key, label in self.values.items()}
        chosen: dict[str, Any] = {"values": named} if named else {}
        if self.threshold is not None:
            chosen["threshold"] = self.threshold
        return chosen | {name: True for name in ("invert", "soft") if getattr(self, name)}

    def __str__(self) -> str:
        """The options, in words where there are none."""
        chosen = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return chosen or "read without options"

    def classes_of(self, found: set[float]) -> set[float]:
        """Return the classes that values found in files stand for, and those that are mapped to."""
        ignored = {value for value, label in self.values.items() if label == UNLABELLED}
        mapped = set(self.values.values()) - {UNLABELLED}
        return {self.values.get(value, value) for value in found - ignored} | mapped

    def read(
        self, mask: NDArray[Any], classes: int, takes: Collection[str] = OPTIONS
    ) -> NDArray[Any]:
        """Return a mask of classes or of probabilities, ``ignore_index`` where nobody labelled.

        ``takes`` has the names of the options that the data set knows.

        Raises:
            DataError: It has other values; the message names the options that take them.
        """
        if self.options:
            check_finite(mask)
        try:
            return self._read(mask, classes)
        except DataError as error:
            raise DataError(f"{error} ({_remedy(mask, classes, takes)})") from None

    def _read(self, mask: NDArray[Any], classes: int) -> NDArray[Any]:
        if not self.values:
            return self._inverted(self._labels(mask, classes))
        where = {label: self._where(mask, label) for label in set(self.values.values())}
        others = np.where(np.any([*where.values()], axis=0), 0, mask).astype(mask.dtype)
        labels = self._labels(others, classes)
        for label in where.keys() - {UNLABELLED}:
            labels[where[label]] = label
        labels = self._inverted(labels)
        if UNLABELLED in where:
            labels[where[UNLABELLED]] = UNLABELLED
        return labels

    def _inverted(self, labels: NDArray[Any]) -> NDArray[Any]:
        return (1 - labels).astype(labels.dtype) if self.invert else labels

    def _where(self, mask: NDArray[Any], label: int) -> NDArray[np.bool_]:
        return np.isin(mask, [value for value, one in self.values.items() if one == label])

    def _labels(self, mask: NDArray[Any], classes: int) -> NDArray[Any]:
        if self.threshold is not None:
            if self.threshold >= 1 >= mask.max() > 0:  # beside files of 0 to 255
                raise DataError(
                    f"has values up to 1, of which threshold={self.threshold} keeps none"
                )
            return (mask > self.threshold).astype(np.uint8)
        return _as_probabilities(mask) if self.soft else as_labels(mask, classes)


def _two_class(threshold: float | None, invert: bool, soft: bool) -> dict[str, bool]:
    return {"threshold=": threshold is not None, "invert=True": invert, "soft=True": soft}


def _as_text(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _as_label(label: int) -> int | str:
    return _IGNORE if label == UNLABELLED else label


def _parse(values: Mapping[Any, Any] | None) -> dict[float, int]:
    """Return file values to classes; keys may be text, as in TOML."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise OptionError(f"values must be a mapping, as in {_EXAMPLE}, not {values!r}")
    parsed: dict[float, int] = {}
    for key, label in values.items():
        try:
            value = float(key)
        except (TypeError, ValueError):
            value = np.nan
        whole = isinstance(label, Integral) and not isinstance(label, bool)
        whole = whole and 0 <= int(label) < UNLABELLED
        if isinstance(key, bool) or not np.isfinite(value) or not (whole or label == _IGNORE):
            raise OptionError(
                "values must map numbers in files to classes from 0 or to 'ignore', as in "
                f"{_EXAMPLE}, not {key!r} to {label!r}"
            )
        parsed[value] = UNLABELLED if label == _IGNORE else int(label)
    return parsed


def _remedy(mask: NDArray[Any], classes: int, takes: Collection[str]) -> str:
    """Return the options that take a mask's values."""
    known = {0, 1} if classes == 2 else set(range(classes))
    values = np.unique(mask).astype(float).tolist()
    if not np.isfinite(values).all():
        return "replace them"
    odd = [value for value in values if value not in known]
    if values[-1] <= 1 and not any(value % 1 for value in odd) and values[0] >= 0:
        return "all masks of a folder have one scale: rescale this file, or lower the threshold"
    if takes == ("threshold",):
        return f"threshold={values[-1] / 2:g} makes two classes of them"
    fractions = [value for value in odd if value % 1]
    if fractions and (classes > 2 or _are_rounded(odd)):
        return _rounding(fractions, classes, takes)
    few = [value for value in odd if value != UNLABELLED and 0 <= value <= _MOST_CLASSES]
    others = [value for value in odd if value not in few]
    if any(value % 1 for value in values) or len(others) > 1:
        soft = values[0] >= 0 and values[-1] <= 1
        probabilities = ", and to train on, soft=True takes probabilities" if soft else ""
        half = 0.5 if soft else values[-1] / 2
        return f"threshold={half:g} makes two classes of them{probabilities}"
    remedies = ["if these are classes, give their number with classes="] if few else []
    if others and "values" not in takes:
        return "; ".join([*remedies, f"save masks of the classes 0 to {classes - 1}"])
    for value in others:
        text = _as_text(value)
        remedies += [
            f'if nobody labelled pixels of {text}, values={{{text}: "ignore"}}',
            f"if they are of class 1, values={{{text}: 1}}",
        ]
    return "; ".join(remedies)


def _are_rounded(values: list[float]) -> bool:
    """Return whether values are nearly classes, some of them above 1."""
    near = all(abs(value - round(value)) <= _ROUNDING for value in values)
    return near and 1 < round(max(values)) <= _MOST_CLASSES


def _rounding(fractions: list[float], classes: int, takes: Collection[str]) -> str:
    """Return what makes classes of values between them."""
    near = all(abs(value - round(value)) <= _ROUNDING and value > -1 / 2 for value in fractions)
    if near and len(fractions) <= _MOST_NAMED and "values" in takes:
        pairs = ", ".join(f"{_as_text(value)}: {round(value)}" for value in fractions)
        most = max(map(round, fractions)) + 1
        number = f" with classes={most}" if most > classes else ""
        return f"values={{{pairs}}}{number} makes classes of them, or save them as whole numbers"
    if near:
        return "save them as whole numbers"
    return "values between classes are of no class: resample such masks by nearest neighbour"


def _as_probabilities(mask: NDArray[Any]) -> NDArray[np.float32]:
    """Return probabilities.

    Raises:
        DataError: Some are not from 0 to 1, or an integer is not from 0 to 255.
    """
    top = 255 if mask.dtype.kind in "iu" and mask.max() > 1 else 1
    probabilities = mask.astype(np.float32) / np.float32(top)
    if not (probabilities.min() >= 0 and probabilities.max() <= 1):
        raise DataError(
            f"is no soft mask from 0 to {top}: it has values from {mask.min():.6g} to "
            f"{mask.max():.6g}"
        )
    return probabilities
