"""Projectors with one fault each, and the check that is there for it."""

import torch
from torch import nn
from torch.distributions import AffineTransform, Independent, Normal, TransformedDistribution


class Affine(nn.Module):
    """f(z) = z exp(a) + b with a and b from the context; sound, unless a subclass breaks it."""

    def __init__(self, *, features, context_features):
        super().__init__()
        self.head = nn.Linear(context_features, 2 * features)

    def forward(self, base, context):
        return self.push(base, *self.read(context).chunk(2, dim=-1))

    def read(self, context):
        return self.head(context)

    def push(self, base, log_scale, shift):
        map_ = AffineTransform(shift, log_scale.exp(), event_dim=1, cache_size=1)
        return TransformedDistribution(base, map_)


class OneImageFails(Affine):
    """Normalises over the batch, which takes two images."""

    def __init__(self, **given):
        super().__init__(**given)
        self.norm = nn.BatchNorm1d(given["context_features"])

    def read(self, context):
        return self.head(self.norm(context))


class Squeezes(Affine):
    """Loses the batch where it is one image."""

    def push(self, base, log_scale, shift):
        pushed = super().push(base, log_scale, shift)
        rsample = pushed.rsample
        pushed.rsample = lambda shape=(): rsample(shape).squeeze(-2)
        return pushed


class OneMoreAxis(Affine):
    """Gives log-probabilities an axis too many."""

    def push(self, base, log_scale, shift):
        pushed = super().push(base, log_scale, shift)
        log_prob = pushed.log_prob
        pushed.log_prob = lambda sample: log_prob(sample)[..., None]
        return pushed


class WrongLogDet(Affine):
    """Leaves the scale out of the density."""

    class _Map(AffineTransform):
        def log_abs_det_jacobian(self, x, y):
            return torch.zeros(x.shape[:-1], dtype=x.dtype)

    def push(self, base, log_scale, shift):
        map_ = self._Map(shift, log_scale.exp(), event_dim=1, cache_size=1)
        return TransformedDistribution(base, map_)


class MixesContexts(Affine):
    """Reads the mean context of the batch."""

    def read(self, context):
        return self.head(context.mean(0, keepdim=True).expand_as(context))


class DetachedContext(Affine):
    """Cuts the gradient of the context."""

    def read(self, context):
        return self.head(context.detach())


class DetachedBase(Affine):
    """Samples without a gradient in the base."""

    def push(self, base, log_scale, shift):
        pushed = super().push(base, log_scale, shift)
        rsample = pushed.rsample
        pushed.rsample = lambda shape=(): rsample(shape).detach() + 0 * shift.sum()
        return pushed


class ReadsTheNormal(Affine):
    """Moves the parameters of a Normal, whatever the base is."""

    def push(self, base, log_scale, shift):
        normal = base.base_dist
        moved = Normal(normal.loc * log_scale.exp() + shift, normal.scale * log_scale.exp())
        return Independent(moved, 1)


class AsksForAMode(Affine):
    """Calls what not every density has."""

    def push(self, base, log_scale, shift):
        return super().push(base, log_scale, shift + 0 * base.base_dist.mean)


class NarrowSamples(Affine):
    """Gives samples in the precision of its parameters."""

    class _Map(AffineTransform):
        def _call(self, x):
            return super()._call(x).to(self.scale.dtype)

    def push(self, base, log_scale, shift):
        map_ = self._Map(shift, log_scale.exp(), event_dim=1, cache_size=1)
        return TransformedDistribution(base, map_)


class InfiniteUnderAutocast(Affine):
    def push(self, base, log_scale, shift):
        narrow = shift.dtype == torch.bfloat16
        return super().push(base, log_scale, shift / (0 if narrow else 1))


class NoGradientUnderAutocast(Affine):
    def read(self, context):
        parameters = super().read(context)
        return parameters.detach() if parameters.dtype == torch.bfloat16 else parameters


class HiddenWeight(Affine):
    """Keeps a random number that is not in the state_dict."""

    def __init__(self, **given):
        super().__init__(**given)
        self.hidden = torch.rand(())

    def read(self, context):
        return super().read(context) * self.hidden


class UnusedParameter(Affine):
    """Has a parameter that nothing depends on."""

    def __init__(self, **given):
        super().__init__(**given)
        self.unused = nn.Parameter(torch.zeros(1))


SOUND = {"projector": Affine}
FAULTS = {
    "projector": {
        "samples_have_their_shapes": [OneImageFails, Squeezes, OneMoreAxis],
        "log_prob_is_exact": [WrongLogDet],
        "every_base_is_projected": [ReadsTheNormal, AsksForAMode],
        "projector_weights_are_all_there_is": [HiddenWeight],
        "projected_as_fit_runs_it": [
            *(NarrowSamples, InfiniteUnderAutocast, NoGradientUnderAutocast),
        ],
        "an_image_ignores_its_batch": [MixesContexts],
        "gradients_reach_the_context": [DetachedContext],
        "gradients_reach_the_base": [DetachedBase],
        "every_parameter_gets_a_gradient": [UnusedParameter],
    }
}
