"""Models as folders with weights, description and card, on a disk or on a hub.

The functions take the keywords of huggingface-hub's ``ModelHubMixin``, which itself does not fit:
it calls a class with what ``config.json`` holds, and writes file by file.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.errors import CheckpointError, HubError, ProbsegError
from probseg.interfaces import Model
from probseg.sharing.cards import Card
from probseg.sharing.checkpoint import describe, load, read_description, save
from probseg.sharing.config import from_config
from probseg.utils.atomic_files import WriteError, atomic_folder

if TYPE_CHECKING:
    import torch

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_REASON = 400  # characters of what the hub's client says


def save_pretrained(
    model: Model, save_directory: str | os.PathLike[str], *, card: Card | None = None
) -> None:
    """Write a model as a folder of weights, description and model card, atomically.

    A model that was saved there before is replaced; its ``README.md`` is kept if no card is given.

    Raises:
        WriteError: The folder holds something else, or cannot be written.
    """
    final = Path(save_directory).expanduser()
    _check_replaceable(final)
    with atomic_folder(final) as folder:
        save(model, folder / WEIGHTS)
        config = json.dumps(describe(model).document(), indent=2)
        (folder / CONFIG).write_text(config + "\n", encoding="utf-8")
        if card is None and (final / CARD).exists():
            shutil.copyfile(final / CARD, folder / CARD)
        else:
            text = (card or Card()).text(model)
            (folder / CARD).write_text(text, encoding="utf-8")


def from_pretrained(
    pretrained_model_name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    **parts: Any,
) -> Model:
    """Return the model in a folder, or in a repository of a hub, in evaluation mode.

    Nothing in the folder or repository is executed.

    Args:
        pretrained_model_name_or_path: A folder that ``save_pretrained`` or the benchmark wrote, or
            the id of a repository such as ``"somebody/csae-lidc"``.
        revision: Branch, tag or commit of the repository.
        cache_dir: Folder of the cache of downloads.
        force_download: Download again, even if the files are in the cache.
        local_files_only: Use the cache only, without the network.
        token: For a private repository; by default the one that ``hf auth login`` stored.
        device: Where to put the model, as for :func:`probseg.sharing.checkpoint.load`.
        **parts: The parts that were given as ready objects when the model was built.

    Raises:
        CheckpointError: There is no model in the folder, or it is damaged.
        HubError: The repository cannot be read.
        ProbsegError: See :func:`probseg.sharing.checkpoint.load`.
    """
    source = Path(pretrained_model_name_or_path).expanduser()
    if source.is_file():
        raise CheckpointError(f"{source} is a file and no folder; read it with probseg.load")
    if source.is_dir():
        return _from_folder(source, parts, device)
    if isinstance(pretrained_model_name_or_path, Path):
        raise CheckpointError(f"there is no folder {source}")
    repo_id = os.fspath(pretrained_model_name_or_path)
    with _as_hub_error(f"{repo_id!r} is no folder here, and no repository that can be read"):
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            repo_id,
            revision=revision,
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=[WEIGHTS, CONFIG],
            library_name="probseg",
        )
    return _from_folder(Path(folder), parts, device)


def push_to_hub(
    model: Model,
    repo_id: str,
    *,
    card: Card | None = None,
    commit_message: str = "Push model using probseg",
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Write a model to a repository of a hub, which is created if there is none.

    The ``README.md`` of the repository is kept if no card is given.

    Args:
        model: What to save.
        repo_id: Such as ``"somebody/csae-lidc"``.
        card: Facts for the model's card; by default it marks them as unknown.
        commit_message: Of the commit.
        private: Whether a new repository is private.
        token: By default the one that ``hf auth login`` stored.
        branch: Branch to push to, ``"main"`` by default.
        create_pr: Whether to open a pull request instead of committing.

    Returns:
        The address of the commit.

    Raises:
        HubError: The repository cannot be written.
    """
    failure = f"the repository {repo_id!r} cannot be written"
    with tempfile.TemporaryDirectory() as scratch, _as_hub_error(failure):
        from huggingface_hub import HfApi

        folder = Path(scratch) / "model"
        save_pretrained(model, folder, card=card)
        api = HfApi(token=token, library_name="probseg")
        repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        keep = card is None and api.file_exists(repository, CARD, revision=branch)
        return str(
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
                ignore_patterns=[CARD] if keep else None,
            )
        )


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace anything but a saved model or an empty folder."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise WriteError(f"cannot write {folder}: it is a file; choose another folder")
    names = {entry.name for entry in folder.iterdir()}
    if others := sorted(names - {WEIGHTS, CONFIG, CARD}):
        raise WriteError(
            f"cannot write {folder}: it holds {others[0]!r}, which is no part of a saved model; "
            "choose another folder"
        )
    try:
        if names:
            from_config(folder / CONFIG)
    except CheckpointError as error:
        raise WriteError(
            f"cannot write {folder}: what it holds is no model of probseg; choose another folder"
        ) from error


def _from_folder(folder: Path, parts: dict[str, Any], device: str | torch.device) -> Model:
    weights, config = folder / WEIGHTS, folder / CONFIG
    if not weights.is_file():
        raise CheckpointError(
            f"there is no model in {folder}: it has no {WEIGHTS}, which save_pretrained writes"
        )
    if config.exists() and from_config(config) != read_description(weights):
        raise CheckpointError(
            f"{config} and {weights} describe different models; save the model anew, or copy both "
            "again from where they came"
        )
    return load(weights, device=device, **parts)


@contextmanager
def _as_hub_error(failure: str) -> Iterator[None]:
    """Raise errors of the hub's client, which are of many kinds, as :class:`HubError`."""
    try:
        yield
    except ProbsegError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HubError(f"{failure}: {reason[:_REASON]}") from error
