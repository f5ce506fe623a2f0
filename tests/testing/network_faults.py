"""Backbones, encoders and decoders with one fault each, and the check that is there for it."""

import torch
from torch import nn
from torch.distributions import (
    AffineTransform,
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    StudentT,
    TransformedDistribution,
    Uniform,
)


class Backbone(nn.Module):
    """One convolution; sound, unless a subclass breaks it."""

    stride = 1
    out_channels = 4
    padding = 1

    def __init__(self, *, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3, padding=self.padding)

    def forward(self, image):
        return self.conv(image)


class Shrinks(Backbone):
    padding = 0


class WithoutStride(Backbone):
    stride = None


class MixesImages(Backbone):
    def forward(self, image):
        return self.conv(image) + image.mean()


class DropsAChannel(Backbone):
    def forward(self, image):
        return self.conv(image * torch.tensor([1.0, 1.0, 0.0])[:, None, None].to(image))


class UnusedBackboneParameter(Backbone):
    def __init__(self, **given):
        super().__init__(**given)
        self.unused = nn.Parameter(torch.zeros(1))


class InfiniteGradient(Backbone):
    """Takes the root of a parameter that is zero."""

    def __init__(self, **given):
        super().__init__(**given)
        self.squared = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return self.conv(image) + self.squared.sqrt()


class NoModule:
    """Calls a network that it hides."""

    stride, out_channels = 1, 4

    def __init__(self, *, in_channels):
        self.hidden = [Backbone(in_channels=in_channels)]

    def __call__(self, image):
        return self.hidden[0](image)


class DoubleFeatures(Backbone):
    def forward(self, image):
        return super().forward(image).double()


class FlattensByView(Backbone):
    """Takes for granted that an image lies in memory channel by channel."""

    def forward(self, image):
        features = super().forward(image)
        return features.view(len(image), -1).view(features.shape)


class OverflowsInBfloat16(Backbone):
    """Divides by a difference that eight bits do not hold."""

    def forward(self, image):
        features = super().forward(image)
        return features / ((features.detach() * 0 + 1 + 1e-4) - 1)


class HiddenWeight(Backbone):
    """Keeps a random number that is not in the state_dict."""

    def __init__(self, **given):
        super().__init__(**given)
        self.hidden = torch.rand(())

    def forward(self, image):
        return self.conv(image) * self.hidden


class Encoder(nn.Module):
    """A linear map of the channels' means; sound, unless a subclass breaks it."""

    context_features = 3

    def __init__(self, *, in_channels, latent_dim):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 3, 1)
        self.head = nn.Linear(3, 2 * latent_dim)

    precise = True

    def forward(self, image):
        maps = self.conv(image)
        with torch.autocast(
            image.device.type, enabled=torch.is_autocast_enabled("cpu") and not self.precise
        ):
            context = self.pool(maps).to(self.head.weight.dtype)
            mean, raw = self.head(context).chunk(2, dim=-1)
            return Independent(Normal(mean, self.scale(raw)), 1), context

    def pool(self, maps):
        return maps.mean((2, 3))

    def scale(self, raw):
        return raw.tanh().exp()


class MeanOnly(Encoder):
    """Returns no density."""

    def forward(self, image):
        density, context = super().forward(image)
        return density.mean, context


class EachDimensionAlone(Encoder):
    """Counts the latent dimensions as batch."""

    def forward(self, image):
        density, context = super().forward(image)
        return density.base_dist, context


class WrongContextWidth(Encoder):
    context_features = 7


class UnboundedScale(Encoder):
    def scale(self, raw):
        return raw.exp().clamp_min(1e-30)


class BlindToTheLabel(Encoder):
    def forward(self, image):
        return super().forward(image * torch.tensor([1.0, 0.0, 0.0])[:, None, None].to(image))


class MixesDensities(Encoder):
    def pool(self, maps):
        return super().pool(maps) - super().pool(maps).mean(0)


class NoVariance(Encoder):
    """A Student-t of one degree of freedom, which has neither mean nor variance."""

    def forward(self, image):
        density, context = super().forward(image)
        normal = density.base_dist
        return Independent(StudentT(1.0, normal.loc, normal.scale), 1), context


class NoMoments(Encoder):
    """A density for which torch has no mean, nor standard deviation; that is no fault."""

    def forward(self, image):
        density, context = super().forward(image)
        return TransformedDistribution(density, [AffineTransform(0.0, 2.0, event_dim=1)]), context


class Mixture(Encoder):
    """Two Normals, whose mixture has no rsample."""

    def forward(self, image):
        density, context = super().forward(image)
        normal = density.base_dist
        mean, scale = (x[:, None].expand(-1, 2, -1) for x in (normal.loc, normal.scale))
        weights = Categorical(logits=context[:, :2])
        return MixtureSameFamily(weights, Independent(Normal(mean, scale), 1)), context


class Box(Encoder):
    """Uniform around the mean, so that the densities of two images need not overlap."""

    def forward(self, image):
        density, context = super().forward(image)
        mean, scale = density.mean, 1e-2 * density.stddev
        return Independent(Uniform(mean - scale, mean + scale), 1), context


class NoDensity(Encoder):
    """A density without log_prob."""

    def forward(self, image):
        density, context = super().forward(image)
        return _Samples(density.base_dist.loc, density.base_dist.scale), context


class _Samples(Independent):
    def __init__(self, mean, scale):
        super().__init__(StudentT(3.0, mean, scale), 1)

    def log_prob(self, value):
        if value.any():
            raise NotImplementedError
        return super().log_prob(value)


class NarrowDensity(Encoder):
    """Computes the density in whatever precision autocast chooses."""

    precise = False


class NarrowStudentT(NarrowDensity):
    """A density that torch does not sample in bfloat16."""

    def forward(self, image):
        density, context = super().forward(image)
        normal = density.base_dist
        return Independent(StudentT(3.0, normal.loc, normal.scale), 1), context.float()


class InfiniteContext(Encoder):
    """Overflows where the convolution before it was in bfloat16."""

    def forward(self, image):
        density, context = super().forward(image)
        return density, context / (not torch.is_autocast_enabled("cpu"))


class UndifferentiatedSamples(Encoder):
    """Has a scale whose gradient under autocast is infinite."""

    def scale(self, raw):
        return super().scale(raw) + (raw.relu() * torch.is_autocast_enabled("cpu") * 0).sqrt()


class HiddenEncoderWeight(Encoder):
    def __init__(self, **given):
        super().__init__(**given)
        self.hidden = torch.rand(())

    def pool(self, maps):
        return super().pool(maps) * self.hidden


class UnusedEncoderParameter(Encoder):
    def __init__(self, **given):
        super().__init__(**given)
        self.unused = nn.Parameter(torch.zeros(1))


class Decoder(nn.Module):
    """Adds an image of the features and a number from z; sound, unless a subclass breaks it."""

    def __init__(self, *, in_channels, latent_dim, classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 1)
        self.linear = nn.Linear(latent_dim, classes)

    def forward(self, features, latent):
        return self.conv(features) + self.linear(latent)[..., None, None]


class TwoAxesOnly(Decoder):
    def forward(self, features, latent):
        return self.conv(features) + self.linear(latent).flatten(0, -2)[..., None, None]


class OneMoreAxis(Decoder):
    def forward(self, features, latent):
        return super().forward(features, latent)[None]


class SamplesMix(Decoder):
    def forward(self, features, latent):
        return super().forward(features, latent - latent.mean(0) if latent.ndim > 2 else latent)


class ImagesMix(Decoder):
    def forward(self, features, latent):
        return super().forward(features, latent) + features.mean()


class BlindToADimension(Decoder):
    def forward(self, features, latent):
        keep = torch.ones(latent.shape[-1]).to(latent)
        keep[-1] = 0
        return super().forward(features, latent * keep)


class BlindToAFeature(Decoder):
    def forward(self, features, latent):
        keep = torch.ones(features.shape[1], 1, 1).to(features)
        keep[-1] = 0
        return super().forward(features * keep, latent)


class ReadsByView(Decoder):
    """Takes for granted that features lie in memory channel by channel."""

    def forward(self, features, latent):
        return super().forward(features.view(len(features), -1).view(features.shape), latent)


class NoPlainSamples(Decoder):
    """Loses a leading axis where no gradients are asked for."""

    def forward(self, features, latent):
        logits = super().forward(features, latent)
        return logits if torch.is_grad_enabled() else logits[0]


class InfiniteSamples(Decoder):
    """Overflows where no gradients are asked for, in half precision."""

    def forward(self, features, latent):
        logits = super().forward(features, latent)
        narrow = features.dtype == torch.bfloat16 and not torch.is_grad_enabled()
        return logits / 0 if narrow else logits


class HiddenDecoderWeight(Decoder):
    def __init__(self, **given):
        super().__init__(**given)
        self.hidden = torch.rand(())

    def forward(self, features, latent):
        return super().forward(features, latent) * self.hidden


class NoGradientInHalf(Decoder):
    """Rounds to eight bits by hand, which has no gradient."""

    def forward(self, features, latent):
        logits = super().forward(features, latent)
        return logits.detach() + 0 * features.sum() if features.dtype == torch.bfloat16 else logits


class UnusedDecoderParameter(Decoder):
    def __init__(self, **given):
        super().__init__(**given)
        self.unused = nn.Parameter(torch.zeros(1))


SOUND = {"backbone": Backbone, "encoder": Encoder, "decoder": Decoder}
FAULTS = {
    "backbone": {
        "features_have_the_size_of_the_image": [Shrinks, WithoutStride, DoubleFeatures],
        "features_ignore_the_batch": [MixesImages],
        "features_depend_on_every_channel": [DropsAChannel],
        "features_reach_every_parameter": [UnusedBackboneParameter, InfiniteGradient],
        "features_are_learnt_as_fit_runs_it": [FlattensByView, OverflowsInBfloat16, DoubleFeatures],
        "weights_are_all_there_is": [HiddenWeight, NoModule],
    },
    "encoder": {
        "density_and_context_have_their_shapes": [MeanOnly, EachDimensionAlone, WrongContextWidth],
        "scale_is_positive_and_bounded": [UnboundedScale, NoVariance],
        "density_depends_on_every_channel": [BlindToTheLabel],
        "density_ignores_the_batch": [MixesDensities],
        "density_reaches_every_parameter": [UnusedEncoderParameter, Mixture],
        "encoder_weights_are_all_there_is": [HiddenEncoderWeight],
        "density_is_compared_with_another": [Box, NoDensity],
        "density_is_learnt_as_fit_runs_it": [
            *(NarrowDensity, NarrowStudentT, InfiniteContext, UndifferentiatedSamples),
        ],
    },
    "decoder": {
        "logits_have_their_shape": [TwoAxesOnly, OneMoreAxis],
        "samples_at_once_equal_samples_one_by_one": [SamplesMix],
        "logits_ignore_the_batch": [ImagesMix],
        "logits_depend_on_latent_and_features": [BlindToADimension, BlindToAFeature],
        "logits_reach_every_parameter": [UnusedDecoderParameter],
        "decoder_weights_are_all_there_is": [HiddenDecoderWeight],
        "logits_are_learnt_as_fit_runs_it": [
            ReadsByView,
            NoPlainSamples,
            InfiniteSamples,
            NoGradientInHalf,
        ],
    },
}
