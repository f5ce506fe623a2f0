"""How the data of a run were split, kept beside its model by ``probseg train`` or the benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probseg.errors import CheckpointError, OptionError
from probseg.options import check_choice, check_integer
from probseg.utils.atomic_files import write_json

FILE = "split.json"
_INDICES = ("train", "validation", "test")  # which the benchmark keeps as well


@dataclass(frozen=True)
class RunSplit:
    """What decides which images a run learnt from, was validated on and is tested on.

    Args:
        seed: Of the split.
        protocol: The name of the protocol that split the data instead, or None; the seed is then 0.
        fold: Which fold is the validation set.
        folds: Number of folds.
        by: ``"patient"`` or ``"image"``.
    """

    seed: int
    protocol: str | None = None
    fold: int = 0
    folds: int = 3
    by: str = "patient"

    @classmethod
    def chosen(cls, seed: int, protocol: str | None) -> RunSplit:
        """Return the split of ``probseg train`` by its options."""
        return cls(0, protocol) if protocol else cls(seed)

    def __str__(self) -> str:
        if self.protocol:
            return f"--protocol {self.protocol}"
        if self.typed:
            return f"--seed {self.seed}"
        return f"fold {self.fold} of {self.folds} by {self.by} with seed {self.seed}"

    @property
    def typed(self) -> bool:
        """Whether options of the commands can say it."""
        return self == RunSplit(self.seed, self.protocol)

    @property
    def options(self) -> dict[str, Any]:
        """Those of :func:`probseg.split`, where no protocol splits the data."""
        return {"seed": self.seed, "fold": self.fold, "folds": self.folds, "by": self.by}

    def check(self, folder: Path) -> None:
        """Check that the run of a folder, if there is one, was split so.

        Raises:
            OptionError: It was not.
        """
        before = read_split(folder)
        if before not in (None, self):
            raise OptionError(
                f"--out {folder} holds a run whose data were split by {before}, and not by {self}; "
                "give the same, which goes on with it, or another folder"
            )

    def keep(self, folder: Path) -> None:
        """Write it into the folder of a run.

        Raises:
            WriteError: The file cannot be written.
        """
        write_json(folder / FILE, asdict(self))


def read_split(model: Path) -> RunSplit | None:
    """Return how a run was split, given its folder or its model; None if that is not known.

    Raises:
        CheckpointError: The file that says it is damaged.
    """
    file = (model if model.is_dir() else model.parent) / FILE
    if not file.is_file():
        return None
    from probseg.datasets.splits import UNITS

    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        split = RunSplit(**{name: told[name] for name in told if name not in _INDICES})
        check_integer("seed", split.seed, low=0)
        check_integer("folds", split.folds, low=2)
        check_choice("fold", split.fold, range(split.folds))
        check_choice("by", split.by, UNITS)
        if not isinstance(split.protocol, str | None):
            raise ValueError(f"it says {split}")
    except (OSError, ValueError, TypeError, OptionError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error}); remove it, and give --seed or --protocol as in training"
        ) from error
    return split
