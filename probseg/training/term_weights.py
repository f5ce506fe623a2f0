"""What the terms of a loss are multiplied by in each step of training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor, nn

from probseg.errors import OptionError
from probseg.options import unknown
from probseg.training.annealing import Annealing
from probseg.training.geco import RECONSTRUCTION, Geco, check_reconstruction
from probseg.training.settings import TrainingSettings


def _of_a_mean(height: int, width: int, labelled: Tensor | float = 1.0) -> float:
    return 1  # not a lambda, which cannot be pickled


class TermWeights(nn.Module):
    """The weights of a loss's terms: schedules of some, and a multiplier of the reconstruction.

    Args:
        annealed: Name of a term to its schedule.
        geco: The multiplier.
        pixels: Returns for a height, a width and the share of pixels that are labelled how many
            pixels the reconstruction adds up.
    """

    def __init__(
        self,
        annealed: Mapping[str, Annealing],
        geco: Geco | None = None,
        pixels: Callable[[int, int, Tensor | float], Tensor | float] = _of_a_mean,
    ) -> None:
        super().__init__()
        self.annealed, self.geco, self.pixels = dict(annealed), geco, pixels

    @classmethod
    def of(cls, settings: TrainingSettings, model: Any) -> TermWeights:
        """Return what the settings ask for.

        Raises:
            OptionError: The model has no penalties to anneal, or no reconstruction to bound.
        """
        annealed = _annealed(settings, model)
        if settings.geco is None:
            return cls(annealed)
        check_reconstruction(model)
        geco = Geco(settings.geco, rate=settings.geco_rate, decay=settings.geco_decay)
        return cls(annealed, geco, model.cross_entropy.pixels)

    def weights(self, step: int, terms: Collection[str]) -> dict[str, float | Tensor]:
        """Return the weights that are not 1 at a step, counted from 0; they change between steps.

        Raises:
            OptionError: The loss has no such term, or none that geco could weigh against another.
        """
        for name in self.annealed:
            if name not in terms:
                raise OptionError(unknown("term of the loss", name, terms))
        schedules = {name: one.weight(step) for name, one in self.annealed.items()}
        weights: dict[str, float | Tensor] = {n: w for n, w in schedules.items() if w < 1}
        if self.geco is not None:
            _check_weighable(terms)
            weights[RECONSTRUCTION] = self.geco.multiplier * weights.get(RECONSTRUCTION, 1.0)
        return weights

    def update(
        self,
        step: int,
        terms: Mapping[str, Tensor],
        size: tuple[int, int],
        labelled: Tensor | float = 1.0,
    ) -> dict[str, Tensor]:
        """Learn from a step what the next one's weights are.

        Args:
            step: The step that was taken.
            terms: Means over its whole batch, without weights, scalars.
            size: Height and width of its images.
            labelled: The share of their pixels that somebody labelled, a scalar.

        Returns:
            What is told of the step: its multiplier, and the constraint's moving average.
        """
        if self.geco is None:
            return {}
        used = self.geco.multiplier
        constraint = self.geco.update(step, terms[RECONSTRUCTION] / self.pixels(*size, labelled))
        return {"geco_multiplier": used, "geco_constraint": constraint}


def _annealed(settings: TrainingSettings, model: Any) -> dict[str, Annealing]:
    """Return the schedules by term; a number of steps is for all penalties of the model."""
    steps = settings.annealing
    if not isinstance(steps, Mapping):
        penalties = getattr(model, "penalties", ())
        if steps and not penalties:
            raise OptionError(
                f"annealing={steps} raises the weights of a model's penalties, and "
                f"{type(model).__name__} has none; name terms of its loss: "
                "annealing={name: steps}"
            )
        steps = dict.fromkeys(penalties, steps)
    return {name: Annealing(count, settings.annealing_cycles) for name, count in steps.items()}


def _check_weighable(terms: Collection[str]) -> None:
    if RECONSTRUCTION not in terms:
        raise OptionError(
            f"geco chooses the weight of the term {RECONSTRUCTION!r}, and the loss has "
            f"{', '.join(terms)}; train without geco"
        )
    if len(terms) == 1:
        raise OptionError(
            f"geco weighs {RECONSTRUCTION!r} against penalties, and the loss has none; train "
            "without geco, or build a latent model with a penalty (beta above 0)"
        )
