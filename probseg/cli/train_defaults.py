"""What ``probseg train`` chooses where ``--set`` says nothing: from the data and the device."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from probseg.options import named_parameters
from probseg.registry import registry

if TYPE_CHECKING:
    from probseg.interfaces import Dataset
    from probseg.training.settings import TrainingSettings

USUAL_SIZE = 128  # pixels
_SMALL = {"channels": [16, 32, 64], "convolutions": 2, "norm": "batch"}
_LARGE = {"channels": [32, 64, 128, 192], "convolutions": 3, "norm": "batch"}
# of a hierarchical model on a CPU: its default has 17.6 million parameters
_SMALL_PYRAMID = {
    "pyramid": {"name": "unet", **_SMALL, "channels": [16, 32, 64, 64, 64, 64]},
    "norm": "batch",
    "depth": 2,
}
_STEPS = {"cpu": 300, "cuda": 3000}
_FEWEST_AT_ONCE = 2  # images, for batch normalisation
_COUNTED = 256  # training images whose pixels give the class prior


def choose_training(given: Mapping[str, Any], train: Dataset, seed: int) -> dict[str, Any]:
    """Return the settings of training, with what was not given."""
    from probseg.utils.devices import choose_device

    device = choose_device(given.get("device", "auto")).type
    steps = given.get("max_steps", _STEPS.get(device, _STEPS["cpu"]))
    batch = 32
    if device == "cpu":  # fewer of large images, so that a step takes a second or so
        pixels = prod(train[0].image.shape[-2:])
        batch = max(_FEWEST_AT_ONCE, min(8, 8 * USUAL_SIZE**2 // pixels))
    chosen = {
        "max_steps": steps,
        "validate_every": max(1, steps // 10),
        "batch_size": min(batch, len(train)),
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "seed": seed,
    }
    return {**chosen, **given}


def choose_model(
    name: str, given: Mapping[str, Any], train: Dataset, settings: TrainingSettings
) -> dict[str, Any]:
    """Return the options of the model, with what was not given and what the data say."""
    from probseg.utils.devices import choose_device

    takes = named_parameters(registry("models")[name])
    network = _SMALL if choose_device(settings.device).type == "cpu" else _LARGE
    prior = class_prior(train)
    chosen: dict[str, Any] = {
        "backbone": {"name": "unet", **network},
        "encoder": {"name": "axis-aligned", **network},
        "beta": 1.0,
    }
    if "pyramid" in takes and network is _SMALL:
        chosen |= _SMALL_PYRAMID
    chosen |= {"decoder": {"name": "fcomb", "class_prior": prior}} if "decoder" in takes else {}
    chosen |= {"class_prior": prior}
    if given.get("penalties") is not None or ("beta" in takes and not takes["beta"].default):
        del chosen["beta"]  # of another form, or of a model without that term
    return merge({key: value for key, value in chosen.items() if key in takes}, given)


def merge(chosen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with those that were given; a part of another name replaces the chosen one.

    >>> merge({"backbone": {"name": "unet", "norm": "batch"}}, {"backbone": {"norm": "none"}})
    {'backbone': {'name': 'unet', 'norm': 'none'}}
    >>> merge({"backbone": {"name": "unet", "norm": "batch"}}, {"backbone": {"name": "smp"}})
    {'backbone': {'name': 'smp'}}
    """
    result = {**chosen, **given}
    for key in chosen.keys() & given.keys():
        if isinstance(chosen[key], Mapping) and isinstance(given[key], Mapping):
            same = given[key].get("name", chosen[key].get("name")) == chosen[key].get("name")
            result[key] = {**chosen[key], **given[key]} if same else given[key]
    return result


def class_prior(train: Dataset) -> list[float]:
    """Return the share of each class among the pixels that annotators labelled, none zero."""
    import torch

    from probseg.datasets.annotators import presence
    from probseg.datasets.mask_kinds import ignore_index_of, is_soft

    batch = train.batch(range(min(len(train), _COUNTED)))
    labels = batch.masks[presence(batch.masks, batch.present)].flatten()
    if (ignored := ignore_index_of(train)) is not None:
        labels = labels[labels != ignored]
    if is_soft(train):
        foreground = labels.double().sum()
        counts = torch.stack([len(labels) - foreground, foreground]) + 1
    else:
        counts = torch.bincount(labels.long(), minlength=train.classes).double() + 1
    return [round(share, 6) for share in (counts / counts.sum()).tolist()]
