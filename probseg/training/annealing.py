"""Weights of loss terms that rise from zero while a run begins (KL annealing)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from probseg.errors import OptionError
from probseg.options import unknown
from probseg.training.settings import TrainingSettings


class Annealing(NamedTuple):
    r"""Factors of loss terms, :math:`\min(1, (t + 1) / T)` at step t.

    So the decoder learns to use the latent before a penalty can pull the posterior onto the prior.

    References:
        Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016.
    """

    steps: Mapping[str, int]
    """T of each term."""

    @classmethod
    def of(cls, settings: TrainingSettings, model: Any) -> Annealing:
        """Return what the settings ask for; a number of steps is for all penalties of the model.

        Raises:
            OptionError: It is a number, and the model has no penalties.
        """
        steps = settings.annealing
        if isinstance(steps, Mapping):
            return cls(dict(steps))
        penalties = getattr(model, "penalties", ())
        if steps and not penalties:
            raise OptionError(
                f"annealing={steps} raises the weights of a model's penalties, and "
                f"{type(model).__name__} has none; name terms of its loss: "
                "annealing={name: steps}"
            )
        return cls({name: steps for name in penalties})

    def weights(self, step: int, terms: Collection[str]) -> dict[str, float]:
        """Return the factors of the terms that are still rising.

        Raises:
            OptionError: The loss has no such term.
        """
        for name in self.steps:
            if name not in terms:
                raise OptionError(unknown("term of the loss", name, terms))
        return {name: (step + 1) / T for name, T in self.steps.items() if step + 1 < T}
