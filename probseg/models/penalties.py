"""Penalties on the distance of the posterior from the prior, and the spaces they compare on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import nn
from torch.distributions import Distribution

from probseg.interfaces import Divergence

# probseg and the libraries that its flows and networks are made of
_SHIPPED = {"nflows", "probseg", "torch"}

Space = Literal["base", "projected", "annotators"]


@dataclass(frozen=True)
class Penalty:
    """A weighted divergence between the posterior and the prior, on one of three spaces.

    On ``"base"`` and ``"projected"`` it compares an annotator's posterior with the prior, and of
    several annotators the numbers are averaged. On ``"annotators"`` it compares the projected
    posteriors of all annotators of an image, as one density, with the projected prior.
    """

    divergence: Divergence
    weight: float
    on: Space


class DensityPair(NamedTuple):
    """Posterior and prior on one space."""

    q: Distribution
    p: Distribution


def is_shipped(part: Any) -> bool:
    """Return whether a part is made of probseg's networks, which can be tried when it is built.

    What others do with an image that nobody gave is theirs to say, at the first step.
    """
    modules = part.modules() if isinstance(part, nn.Module) else [part]
    return {type(module).__module__.partition(".")[0] for module in modules} <= _SHIPPED


def check_comparable(divergence: Divergence, pair: DensityPair) -> None:
    """Check that a divergence compares densities of such classes, if it can say so.

    A divergence may define ``check_densities(q, p)`` for it.

    Raises:
        OptionError: It does not.
    """
    check = getattr(divergence, "check_densities", None)
    if check is not None:
        check(*pair)
