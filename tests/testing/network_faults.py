"""Backbones, encoders and decoders with one fault each, and the check that is there for it."""

import torch
from torch import nn
from torch.distributions import Independent, Normal


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

    def forward(self, image):
        context = self.pool(self.conv(image))
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


class UnusedDecoderParameter(Decoder):
    def __init__(self, **given):
        super().__init__(**given)
        self.unused = nn.Parameter(torch.zeros(1))


SOUND = {"backbone": Backbone, "encoder": Encoder, "decoder": Decoder}
FAULTS = {
    "backbone": {
        "features_have_the_size_of_the_image": [Shrinks, WithoutStride],
        "features_ignore_the_batch": [MixesImages],
        "features_depend_on_every_channel": [DropsAChannel],
        "features_reach_every_parameter": [UnusedBackboneParameter, InfiniteGradient],
        "weights_are_all_there_is": [HiddenWeight, NoModule],
    },
    "encoder": {
        "density_and_context_have_their_shapes": [MeanOnly, EachDimensionAlone, WrongContextWidth],
        "scale_is_positive_and_bounded": [UnboundedScale],
        "density_depends_on_every_channel": [BlindToTheLabel],
        "density_ignores_the_batch": [MixesDensities],
        "density_reaches_every_parameter": [UnusedEncoderParameter],
    },
    "decoder": {
        "logits_have_their_shape": [TwoAxesOnly, OneMoreAxis],
        "samples_at_once_equal_samples_one_by_one": [SamplesMix],
        "logits_ignore_the_batch": [ImagesMix],
        "logits_depend_on_latent_and_features": [BlindToADimension, BlindToAFeature],
        "logits_reach_every_parameter": [UnusedDecoderParameter],
    },
}
