"""The weight of a loss term that rises from zero, once or in cycles (KL annealing)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

logger = logging.getLogger("probseg.training")


class Annealing(NamedTuple):
    r"""A weight that rises linearly over T steps and stays at 1, in each of M cycles of 2T steps.

    .. math:: w_t = \min(1, ((t \bmod 2T) + 1) / T)

    The last cycle never ends. So the decoder learns to use the latent before a penalty can pull the
    posterior onto the prior, and with several cycles each starts from latents that tell more.

    References:
        Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016: one cycle.
        Fu et al., "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing",
        NAACL 2019, eqs. (6) and (7), with R = 0.5.

    >>> [Annealing(2, cycles=2).weight(step) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0]
    >>> Annealing(2, cycles=2).rise
    6
    """

    steps: int  # T
    cycles: int = 1  # M

    @property
    def rise(self) -> int:
        """The number of steps after which the weight is 1 for good."""
        return (2 * self.cycles - 1) * self.steps

    def weight(self, step: int) -> float:
        """Return the weight at a step, counted from 0."""
        period = 2 * self.steps
        since = step - period * min(step // period, self.cycles - 1) if period else step
        return (since + 1) / self.steps if since + 1 < self.steps else 1.0


def tell_long_annealing(annealing: int | Mapping[str, int], *, cycles: int, max_steps: int) -> None:
    """Warn before a training that ends before the weights have risen."""
    each = annealing if isinstance(annealing, Mapping) else {"": annealing}
    for term, steps in each.items():
        needed = Annealing(steps, cycles).rise
        if needed <= max_steps:
            continue
        of_term = f" of {term!r}" if term else ""
        most = max_steps // (2 * cycles - 1)
        logger.warning(
            "annealing%s takes %d steps to its full weight (annealing=%d, annealing_cycles=%d), "
            "and training ends after max_steps=%d, so that its weights are lower than those of the "
            "validation loss to the end; set %smax_steps to %d or more",
            *(of_term, needed, steps, cycles, max_steps),
            f"annealing to {most} or less, or " if most else "",
            needed,
        )
