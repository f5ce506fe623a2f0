"""Set losses with one fault each, and the check that is there for it."""

import torch
from torch import nn

from probseg.set_losses import jaccard
from probseg.set_losses.energy import Energy


class Sound(Energy):
    """The energy score; sound, unless a subclass breaks it."""


class OneNumber(Sound):
    """Adds up the batch."""

    def __call__(self, *sets):
        return super().__call__(*sets).sum()


class NoSingleSample(Sound):
    """Divides by the number of pairs, of which one sample has none."""

    def __call__(self, samples, *sets):
        return super().__call__(samples, *sets) / (len(samples) - 1)


class MixesImages(Sound):
    """Takes the batch's mean from each number."""

    def __call__(self, *sets):
        numbers = super().__call__(*sets)
        return numbers - numbers.mean()


class CountsTheAbsent(Sound):
    """Takes an absent annotator for one who saw nothing."""

    def __call__(self, samples, masks, weights=None):
        return super().__call__(samples, masks.clamp_min(0), weights)


class NobodyIsFarAway(Sound):
    """Gives one where nobody annotated."""

    def __call__(self, samples, masks, weights=None):
        nobody = (masks < 0).flatten(1).all(1)
        return super().__call__(samples, masks, weights) + nobody.float()


class LearnsFromNobody(Sound):
    """Has a gradient, of zero in all, where nobody annotated."""

    def __call__(self, samples, masks, weights=None):
        nobody = samples[:, :, 1:].std((0, 2, 3, 4))
        return super().__call__(samples, masks, weights) + nobody - nobody.detach()


class ReadsEveryPixel(Sound):
    """Wants certain samples, also where no annotator labelled."""

    def __call__(self, samples, masks, weights=None):
        certain = samples[:, :, 0].square().mean((0, 2, 3))
        there = (masks >= 0).flatten(1).any(1)
        return super().__call__(samples, masks, weights) + 0.1 * certain * there


class InOrderOfSamples(Sound):
    """Compares the first sample alone."""

    def __call__(self, samples, *sets):
        return super().__call__(samples[:1], *sets)


class InOrderOfAnnotators(Sound):
    """Compares with the first annotator who is there."""

    def __call__(self, samples, masks, weights=None):
        there = (masks >= 0).flatten(2).any(2)
        first = there & (there.cumsum(1) == 1)
        return super().__call__(samples, masks.masked_fill(~first[..., None, None], -100), weights)


class WrongSign(Sound):
    """Rewards distance."""

    def __call__(self, *sets):
        return -super().__call__(*sets)


class NoWeights(Sound):
    """Has no third argument."""

    def __call__(self, samples, masks):
        return super().__call__(samples, masks)


class WeightsOfSamples(Sound):
    """Takes one expert for another number of samples."""

    def __call__(self, samples, masks, weights=None):
        numbers = super().__call__(samples, masks, weights)
        return numbers if weights is None else numbers / weights.numel()


class EqualWeights(Sound):
    """Reads no weights."""

    def __call__(self, samples, masks, weights=None):
        return super().__call__(samples, masks)


class DetachedWeights(Sound):
    """Learns no weights."""

    def __call__(self, samples, masks, weights=None):
        known = None if weights is None else weights.detach()
        return super().__call__(samples, masks, known)


class NoGradientOfTheLast(Sound):
    """Detaches a sample."""

    def __call__(self, samples, *sets):
        known = torch.cat([samples[:-1], samples[-1:].detach()])
        return super().__call__(known, *sets)


class OneImageLearns(Sound):
    """Detaches all images but the first."""

    def __call__(self, samples, *sets):
        known = torch.cat([samples[:, :1], samples[:, 1:].detach()], dim=1)
        return super().__call__(known, *sets)


class UnusedParameter(nn.Module):
    """Has a parameter that nothing depends on."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, *sets):
        return Sound()(*sets)


class Narrow(Sound):
    """Gives what the samples are in."""

    def __call__(self, samples, *sets):
        return super().__call__(samples, *sets).to(samples.dtype)


class InfiniteInBfloat16(Sound):
    """Divides by what bfloat16 loses."""

    def __call__(self, samples, masks, weights=None):
        _, there = jaccard.to_annotations(samples, masks)
        lost = (there.sum(1).to(samples.dtype) + 1e-4).float() - 1
        return super().__call__(samples, masks, weights) * 1e-4 / lost


class NoGradientInBfloat16(Sound):
    """Detaches samples that it has to convert."""

    def __call__(self, samples, *sets):
        known = samples if samples.dtype == torch.float32 else samples.detach().requires_grad_()
        return super().__call__(known, *sets)


SOUND = {"set_loss": Sound}
FAULTS = {
    "set_loss": {
        "one_number_for_each_image": [OneNumber, NoSingleSample],
        "numbers_ignore_the_batch": [MixesImages],
        "the_absent_count_for_nothing": [CountsTheAbsent, NobodyIsFarAway, LearnsFromNobody],
        "ignored_pixels_count_for_nothing": [ReadsEveryPixel],
        "order_does_not_matter": [InOrderOfSamples, InOrderOfAnnotators],
        "annotations_are_nearer_than_others": [WrongSign],
        "weights_are_of_experts": [NoWeights, WeightsOfSamples, EqualWeights, DetachedWeights],
        "gradients_reach_the_samples": [NoGradientOfTheLast, OneImageLearns],
        "set_loss_reaches_every_parameter": [UnusedParameter],
        "numbers_are_precise": [Narrow, InfiniteInBfloat16, NoGradientInBfloat16],
    }
}
