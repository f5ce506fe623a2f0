"""Checkpoints: one safetensors file with the weights and the description that rebuilds a model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_model
from torch import Tensor, nn

from probseg._version import __version__
from probseg.datasets.preprocessing import preprocessing_of
from probseg.errors import CheckpointError, ProbsegError
from probseg.interfaces import Model
from probseg.registry.specs import build, with_stored_weights
from probseg.sharing.config import (
    PREPROCESSING,
    Description,
    check_installed,
    from_document,
    requirements,
)
from probseg.sharing.weights import restored
from probseg.utils.atomic_files import atomic_file

MAX_HEADER = 2**24  # bytes; some 100,000 tensors
_DIGEST = "digest"
_DESCRIPTION = ("format", "probseg", "requires", "spec")
_PREPROCESSING_DIGEST = f"{PREPROCESSING}-digest"  # of its own: older versions know the other


def describe(model: Model) -> Description:
    """Return the description of a model, as files carry it."""
    known = preprocessing_of(model)
    return Description(model.spec, requirements(model.spec), __version__, known)


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model's description and weights to ``path``, atomically.

    Raises:
        WriteError: The file cannot be written; none is left behind.
    """
    metadata = describe(model).metadata()
    module = cast("nn.Module", model)
    metadata[_DIGEST] = _digest(metadata, module.state_dict())
    metadata.update(_preprocessing_digest(metadata))
    with atomic_file(path) as temporary:
        try:
            save_model(module, str(temporary), metadata=metadata)
        except SafetensorError as error:  # raised where the disk is full
            raise OSError(str(error)) from error


def load(path: str | os.PathLike[str], **parts: Any) -> Model:
    """Return the model that was saved at ``path``, on the CPU and in evaluation mode.

    Nothing in the file is executed, and no more memory is taken than its weights need.

    Args:
        path: A file that :func:`save` wrote.
        **parts: The parts that were given as ready objects when the model was built.

    Raises:
        CheckpointError: The file is missing, corrupt or not one of ours.
        MissingPluginError: A part is of a package that is not installed.
        ProbsegError: A part of the description is unknown, or the model cannot be built.
    """
    file = Path(path)
    metadata = _read_metadata(file)
    description = from_document(metadata, file)
    check_installed(description.requires, file)
    spec = with_stored_weights({**description.spec, **parts})
    try:
        module = restored(lambda: build(**spec), file)
    except ProbsegError as error:
        error.add_note(f"while {file} was read")
        raise
    except Exception as error:  # a constructor may raise anything for a strange option
        raise CheckpointError(
            f"the model that {file} describes cannot be built: {type(error).__name__}: {error}"
        ) from error
    _check_digest(metadata, module.state_dict(), file)
    if description.preprocessing:
        module.preprocessing = description.preprocessing  # type: ignore[assignment]  # plain data
    return cast("Model", module.eval())


def read_description(path: str | os.PathLike[str]) -> Description:
    """Return the description in a checkpoint, without reading its weights.

    Raises:
        CheckpointError: The file is missing, corrupt or not one of ours.
    """
    file = Path(path)
    return from_document(_read_metadata(file), file)


def _read_metadata(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise CheckpointError(
            f"there is no checkpoint at {file}; give a .safetensors file, or the folder of a run"
        )
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
        if size > MAX_HEADER:
            raise ValueError(f"its header claims {size} bytes")
        with safe_open(str(file), framework="pt") as content:
            return dict(content.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} is no safetensors file, or a damaged one ({error}); "
            "model.save writes such a file"
        ) from error


def _check_digest(metadata: Mapping[str, str], state: Mapping[str, Tensor], file: Path) -> None:
    if _DIGEST not in metadata and metadata["format"] == "probseg-1":  # it had none
        return
    second = {k: v for k, v in metadata.items() if k == _PREPROCESSING_DIGEST}
    altered = second != _preprocessing_digest(metadata)
    if altered or metadata.get(_DIGEST) != _digest(metadata, state):
        raise CheckpointError(
            f"{file} was damaged or altered: its digest is not that of its content; copy it again "
            "from where it came"
        )


def _preprocessing_digest(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of what else a description says, if it says it."""
    if PREPROCESSING not in metadata:
        return {}
    digest = hashlib.sha256(repr([metadata[PREPROCESSING], metadata.get(_DIGEST)]).encode())
    return {_PREPROCESSING_DIGEST: f"sha256:{digest.hexdigest()}"}


def _digest(metadata: Mapping[str, str], state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a description and the tensors, each with name, type and shape."""
    digest = hashlib.sha256(repr([metadata.get(key) for key in _DESCRIPTION]).encode())
    for name in sorted(state):
        tensor = state[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"
