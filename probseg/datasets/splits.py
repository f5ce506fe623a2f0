"""Seeded splits into training, validation and test sets, by patient or by image."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from unicodedata import normalize

import numpy as np

from probseg.errors import DataError, OptionError
from probseg.options import check_choice

UNITS = ("patient", "image")


@dataclass(frozen=True)
class Split:
    """One fold: ascending indices into a data set, and the options that they were chosen by."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]  # the same for every fold and seed
    fold: int
    folds: int
    seed: int
    by: str  # "patient" (by group) or "image"

    def to_json(self) -> str:
        """Return the split as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Split:
        """Return the split that :meth:`to_json` wrote.

        Raises:
            DataError: The text is no split.
        """
        try:
            data = json.loads(text)
            sides = {side: tuple(data[side]) for side in ("train", "validation", "test")}
            return cls(**{**data, **sides})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"this is no split as Split.to_json writes it: {error!r}") from error

    def __str__(self) -> str:
        return (
            f"fold {self.fold + 1} of {self.folds} by {self.by}, seed {self.seed}: "
            f"{len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"
        )


def split(
    groups: Sequence[str],
    *,
    fold: int = 0,
    folds: int = 3,
    seed: int = 0,
    by: str = "patient",
    test: float = 0.2,
) -> Split:
    """Split a data set: the first groups are the test set, the others k folds.

    >>> split(["p1", "p1", "p2", "p3", "p4", "p10"], folds=2, by="patient").test
    (0, 1)

    Args:
        groups: Group of each sample (``dataset.groups``).
        fold: Which fold is the validation set, from 0.
        folds: Number of folds.
        seed: Seed of the assignment to folds; the test set does not depend on it.
        by: ``"patient"``, so that a group is on one side only, or ``"image"``, which mixes the
            images of a patient.
        test: Share of the groups (images) in the test set: the first in natural order of their
            names, which sorts p2 before p10 (the first in the data set's order).

    Raises:
        OptionError: An option is unknown or out of range, or there are too few groups.
    """
    _check(fold, folds, by, test)
    units = _units(groups, by)
    held_out = max(1, round(test * len(units)))
    rest = units[held_out:]
    if len(rest) < folds:
        raise OptionError(
            f"{len(units)} {by}s are too few for a test set and {folds} folds; lower folds or test"
        )
    order = np.random.default_rng(seed).permutation(len(rest))
    parts = [[rest[i] for i in part] for part in np.array_split(order, folds)]
    training = [unit for k, part in enumerate(parts) if k != fold for unit in part]
    train, validation, tested = map(_indices, (training, parts[fold], units[:held_out]))
    return Split(train, validation, tested, fold, folds, seed, by)


def hash_share(name: str) -> float:
    """Return a number in [0, 1) that follows from a name alone, uniform over names.

    It is the first 53 bits of the SHA-256 of the name in UTF-8 (accents composed), over 2⁵³, so
    everybody gets the same one for the same patient, whatever else is in the data.

    >>> round(hash_share("LIDC-IDRI-0001"), 6)
    0.233243
    """
    digest = hashlib.sha256(normalize("NFC", name).encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:7], "big") >> 3) / 2**53


def thin(indices: Sequence[int], limit: int | None, *, seed: int) -> list[int]:
    """Return at most ``limit`` of the indices, drawn without replacement, in ascending order.

    >>> thin([3, 5, 8], None, seed=0)
    [3, 5, 8]
    """
    if limit is None or limit >= len(indices):
        return list(indices)
    chosen = np.random.default_rng(seed).choice(len(indices), size=limit, replace=False)
    return [indices[i] for i in np.sort(chosen)]


def _units(groups: Sequence[str], by: str) -> list[list[int]]:
    if by == "image":
        return [[index] for index in range(len(groups))]
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return [members[group] for group in sorted(members, key=natural)]


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts numbers within names by their value."""
    parts = re.findall(r"(0*)([0-9]+)|([^0-9]+)", name)
    # Of two numbers the longer is larger; int() refuses those of thousands of digits.
    return [(bool(n), len(n), n + zeros + others) for zeros, n, others in parts]


def _indices(units: list[list[int]]) -> tuple[int, ...]:
    return tuple(sorted(index for unit in units for index in unit))


def _check(fold: int, folds: int, by: str, test: float) -> None:
    check_choice("by", by, UNITS)
    if folds < 2 or not 0 <= fold < folds:
        raise OptionError(
            f"folds must be at least 2 and fold 0 to folds - 1, not {folds} and {fold}"
        )
    if not 0 < test < 1:
        raise OptionError(f"test must be a share between 0 and 1, not {test}")
