"""Divergences with one fault each, and the check that is there for it."""

import torch
from torch import nn
from torch.distributions import TransformedDistribution


class Sound:
    """Half the squared distance between the means of a few samples of each density."""

    def __call__(self, q, p):
        return self.compare(q.rsample((16,)).mean(0), p.rsample((16,)).mean(0))

    def compare(self, x, y):
        return (x - y).square().sum(-1) / 2


class OneForTheBatch(Sound):
    """Averages over the batch."""

    def compare(self, x, y):
        return super().compare(x, y).mean().expand(len(x))


class OneNumber(Sound):
    """Adds up the batch."""

    def compare(self, x, y):
        return super().compare(x, y).sum()


class Squeezes(Sound):
    """Loses the batch where it is one image."""

    def compare(self, x, y):
        return super().compare(x, y).squeeze()


class Offset(Sound):
    """Is one where it should be zero."""

    def compare(self, x, y):
        return super().compare(x, y) + 1


class WrongSign(Sound):
    """Rewards distance."""

    def compare(self, x, y):
        return -super().compare(x, y)


class Saturates(Sound):
    """Does not tell far from farther."""

    def compare(self, x, y):
        return super().compare(x, y).clamp(max=1)


class OneSided(Sound):
    """Has no gradient in p."""

    def compare(self, x, y):
        return super().compare(x, y.detach())


class ClosedFormOnly(Sound):
    """Reads the Normal's parameters, which a projected density has not."""

    def __call__(self, q, p):
        return self.compare(
            q.base_dist.loc * q.base_dist.scale, p.base_dist.loc * p.base_dist.scale
        )


class OneNumberOfProjected(Sound):
    """Averages over the batch where there is no closed form."""

    def __call__(self, q, p):
        value = super().__call__(q, p)
        return value.mean() if isinstance(q, TransformedDistribution) else value


class OverflowsOnProjected(Sound):
    """Divides by zero where there is no closed form."""

    def __call__(self, q, p):
        return super().__call__(q, p) / (not isinstance(q, TransformedDistribution))


class UnusedParameter(nn.Module):
    """Has a parameter that nothing depends on."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, q, p):
        return Sound()(q, p)


SOUND = {"divergence": Sound}
FAULTS = {
    "divergence": {
        "one_number_per_image": [OneForTheBatch, OneNumber, Squeezes],
        "equal_points_are_at_distance_zero": [Offset],
        "grows_with_the_distance": [WrongSign, Saturates],
        "gradients_reach_both_sides": [OneSided],
        "takes_densities_of_every_kind": [
            ClosedFormOnly,
            OneNumberOfProjected,
            OverflowsOnProjected,
        ],
        "divergence_reaches_every_parameter": [UnusedParameter],
    }
}
