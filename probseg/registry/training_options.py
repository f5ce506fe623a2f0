"""The options of training, which users give to a model by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from probseg.errors import OptionError
from probseg.options import named_parameters

# The options of probseg.fit, which this folder does not import; a test holds it to them.
TRAINING = (
    "learning_rate",
    "schedule",
    "weight_decay",
    "batch_size",
    "micro_batch",
    "max_steps",
    "patience",
    "monitor",
    "annealing",
    "annealing_cycles",
    "geco",
    "geco_rate",
    "geco_decay",
    "validate_every",
    "clip",
    "annotator",
    "augment",
    "precision",
    "channels_last",
    "compile",
    "seed",
    "device",
    "devices",
)


def check_no_training(
    constructor: Callable[..., Any],
    options: Iterable[str],
    *,
    owner: str,
    place: str = "probseg.fit(model, train, validation, {option}=…)",
) -> None:
    """Check that no option of a model is a setting of training.

    Args:
        constructor: Of the model.
        options: Their names.
        owner: What messages call the model.
        place: Where such a setting goes, of which ``{option}`` is the name.

    Raises:
        OptionError: One is, and the model has no option of that name.
    """
    takes = named_parameters(constructor)
    if any(one.kind is one.VAR_KEYWORD for one in takes.values()):  # it may take anything
        return
    for option in options:
        if option in TRAINING and option not in takes:
            raise OptionError(
                f"{owner} has no option {option!r}, which is a setting of training: give it to "
                f"{place.format(option=option)}"
            )
