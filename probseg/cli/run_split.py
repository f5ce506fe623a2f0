"""How the data of a run of ``probseg train`` were split, kept beside its model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from probseg.errors import CheckpointError, OptionError
from probseg.utils.atomic_files import write_json

FILE = "split.json"


@dataclass(frozen=True)
class RunSplit:
    """What decides which images a run learnt from, was validated on and is tested on.

    Args:
        seed: Of the split.
        protocol: The name of the protocol that split the data instead, or None.
    """

    seed: int
    protocol: str | None = None

    def __str__(self) -> str:
        return f"--protocol {self.protocol}" if self.protocol else f"--seed {self.seed}"

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
    try:
        split = RunSplit(**json.loads(file.read_text(encoding="utf-8")))
        whole = type(split.seed) is int and split.seed >= 0
        if not whole or not isinstance(split.protocol, str | None):
            raise ValueError(f"it says {split}")
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error}); remove it, and give --seed or --protocol as in training"
        ) from error
    return split
