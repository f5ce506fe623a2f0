"""Models on disk: one safetensors file with the weights and the description that rebuilds them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model

from probseg.errors import CheckpointError
from probseg.files import atomic_file
from probseg.specs import build

if TYPE_CHECKING:
    from probseg.models.base import ProbabilisticModel

_FORMAT = "probseg-1"


def save(model: ProbabilisticModel, path: str | os.PathLike[str]) -> None:
    """Write a model's description and weights to ``path``, atomically.

    Raises:
        WriteError: The file cannot be written; none is left behind.
    """
    metadata = {"format": _FORMAT, "spec": json.dumps(model.spec)}
    with atomic_file(path) as temporary:
        try:
            save_model(model, str(temporary), metadata=metadata)
        except SafetensorError as error:  # how safetensors says that the disk is full
            raise OSError(str(error)) from error


def load(path: str | os.PathLike[str], **parts: Any) -> ProbabilisticModel:
    """Return the model that was saved at ``path``, on the CPU and in evaluation mode.

    Args:
        path: A file that :func:`save` wrote.
        **parts: The parts that were given as ready objects when the model was built.

    Raises:
        CheckpointError: The file is missing, corrupt or not one of ours.
        ProbsegError: The description needs a part that is not installed.
    """
    file = Path(path)
    model: ProbabilisticModel = build(**{**read_spec(file), **parts})
    try:
        load_model(model, str(file))
    except (RuntimeError, SafetensorError, OSError) as error:
        raise CheckpointError(
            f"the weights in {file} are not those of the model it describes: {error}"
        ) from error
    return model.eval()


def read_spec(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the description in a checkpoint, without reading its weights.

    Raises:
        CheckpointError: The file is missing, corrupt or not one of ours.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f"there is no checkpoint at {file}")
    try:
        with safe_open(str(file), framework="pt") as content:
            metadata = content.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} is no safetensors file, or a damaged one ({error}); "
            "model.save writes such a file"
        ) from error
    return _parsed(metadata, file)


def _parsed(metadata: dict[str, str], file: Path) -> dict[str, Any]:
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(
            f"{file} was not written by this version of probseg's model.save: its format is "
            f"{metadata.get('format', 'not given')!r}, not {_FORMAT!r}"
        )
    try:
        spec = json.loads(metadata["spec"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the description in {file} is damaged: {error}") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("name"), str):
        raise CheckpointError(f"the description in {file} names no model")
    return spec
