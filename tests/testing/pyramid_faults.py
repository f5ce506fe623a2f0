"""Pyramids with one fault each, and the check that is there for it."""

import torch
from torch import nn
from torch.nn import functional


class Pyramid(nn.Module):
    """A convolution at each of two levels; sound, unless a subclass breaks it."""

    channels = (4, 5)
    stride = 2
    padding = 1

    def __init__(self, *, in_channels):
        super().__init__()
        self.fine = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.coarse = nn.Conv2d(4, 5, 3, padding=self.padding)

    def forward(self, image):
        fine = self.fine(image)
        return [fine, self.coarse(functional.avg_pool2d(fine, 2))]


class Shrinks(Pyramid):
    """Loses the border of the coarse level."""

    padding = 0


class DoesNotHalve(Pyramid):
    """Has both levels at the size of the image."""

    def forward(self, image):
        fine = self.fine(image)
        return [fine, self.coarse(fine)]


class CoarsestFirst(Pyramid):
    """Gives the levels in the order of a decoder."""

    def forward(self, image):
        return super().forward(image)[::-1]


class WrongWidth(Pyramid):
    channels = (4, 6)


class OneLevelMore(Pyramid):
    """Gives the image as a level of its own."""

    def forward(self, image):
        return [image, *super().forward(image)]


class OneLevelLess(Pyramid):
    def forward(self, image):
        return super().forward(image)[:1]


class WithoutChannels(Pyramid):
    channels = None


class ChannelsInAList(Pyramid):
    channels = [4, 5]  # noqa: RUF012  # a list is the fault


class NoLevels(Pyramid):
    channels = ()


class WithoutStride(Pyramid):
    stride = None


class StrideOfTheFinest(Pyramid):
    """Says that an image of odd sides will do."""

    stride = 1


class DoubleFeatures(Pyramid):
    def forward(self, image):
        return [features.double() for features in super().forward(image)]


class DoubleCoarseFeatures(Pyramid):
    def forward(self, image):
        fine, coarse = super().forward(image)
        return [fine, coarse.double()]


class MixesImages(Pyramid):
    """Adds the batch's mean to the coarse level."""

    def forward(self, image):
        fine, coarse = super().forward(image)
        return [fine, coarse + image.mean()]


class DropsAChannel(Pyramid):
    def forward(self, image):
        return super().forward(_without_the_last(image))


class DropsAChannelBelow(Pyramid):
    """Does not let the last channel through to the coarse level."""

    def forward(self, image):
        return [super().forward(image)[0], super().forward(_without_the_last(image))[1]]


def _without_the_last(image):
    return image * torch.tensor([1.0, 1.0, 0.0])[:, None, None].to(image)


class UnusedParameter(Pyramid):
    def __init__(self, **given):
        super().__init__(**given)
        self.unused = nn.Parameter(torch.zeros(1))


class DetachedCoarseLevel(Pyramid):
    """Learns the fine level alone."""

    def forward(self, image):
        fine, coarse = super().forward(image)
        return [fine, coarse.detach()]


class InfiniteGradient(Pyramid):
    """Takes the root of a parameter that is zero."""

    def __init__(self, **given):
        super().__init__(**given)
        self.squared = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return super().forward(image + self.squared.sqrt())


class FlattensByView(Pyramid):
    """Takes for granted that an image lies in memory channel by channel."""

    def forward(self, image):
        return super().forward(image.view(len(image), -1).view(image.shape))


class OverflowsInBfloat16(Pyramid):
    """Divides by a difference that eight bits do not hold."""

    def forward(self, image):
        fine, coarse = super().forward(image)
        return [fine, coarse / ((coarse.detach() * 0 + 1 + 1e-4) - 1)]


class HiddenWeight(Pyramid):
    """Keeps a random number that is not in the state_dict."""

    def __init__(self, **given):
        super().__init__(**given)
        self.hidden = torch.rand(())

    def forward(self, image):
        fine, coarse = super().forward(image)
        return [fine, coarse * self.hidden]


class NoModule:
    """Calls a network that it hides."""

    channels, stride = Pyramid.channels, Pyramid.stride

    def __init__(self, *, in_channels):
        self.hidden = [Pyramid(in_channels=in_channels)]

    def __call__(self, image):
        return self.hidden[0](image)


SOUND = {"pyramid": Pyramid}
FAULTS = {
    "pyramid": {
        "levels_halve": [
            *(Shrinks, DoesNotHalve, CoarsestFirst, WrongWidth, OneLevelMore, OneLevelLess),
            *(WithoutChannels, ChannelsInAList, NoLevels, WithoutStride, StrideOfTheFinest),
            *(DoubleFeatures, DoubleCoarseFeatures),
        ],
        "levels_ignore_the_batch": [MixesImages],
        "every_level_depends_on_every_channel": [DropsAChannel, DropsAChannelBelow],
        "levels_reach_every_parameter": [UnusedParameter, DetachedCoarseLevel, InfiniteGradient],
        "levels_are_learnt_as_fit_runs_it": [
            *(FlattensByView, OverflowsInBfloat16, DoubleFeatures, DoubleCoarseFeatures),
        ],
        "weights_are_all_there_is": [HiddenWeight, NoModule],
    }
}
