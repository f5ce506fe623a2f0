"""Data sets with one fault each, and the check that is there for it."""

from itertools import count

import torch

from probseg.datasets.preprocessing import Preprocessing
from probseg.interfaces import Batch, Sample

_COUNT = count()


class Sound:
    """Noise with two annotators and five patients; sound, unless a subclass breaks it."""

    name, channels, classes, annotators = "noise", 1, 2, 2
    provenance = "random numbers"
    fingerprint = "0123456789abcdef"

    def __init__(self):
        self.groups = [f"patient-{i % 5}" for i in range(10)]

    def __len__(self):
        return 10

    def __getitem__(self, index):
        image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(index))
        return Sample(
            image, (image > torch.tensor([0.4, 0.6])[:, None, None]).byte(), self.groups[index]
        )

    def batch(self, indices):
        image, masks, *_ = zip(*(self[i] for i in indices), strict=True)
        return Batch(torch.stack(image), torch.stack(masks))


class SomeAbsent(Sound):
    """The same where the second annotator is absent from every image; sound as well."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        masks = sample.masks * torch.tensor([1, 0], dtype=torch.uint8)[:, None, None]
        return sample._replace(masks=masks, present=torch.tensor([True, False]))

    def batch(self, indices):
        batch = super().batch(indices)
        return batch._replace(present=torch.tensor([[True, False]] * len(indices)))


Undescribed = type("Undescribed", (), {k: v for k, v in vars(Sound).items() if k != "provenance"})


class Empty(Sound):
    def __init__(self):
        self.groups = []

    def __len__(self):
        return 0


class NoDigest(Sound):
    fingerprint = "the data of last Tuesday"


class NoProvenance(Sound):
    provenance = ""


class PreprocessedOtherwise(Sound):
    preprocessing = Preprocessing(size=(512, 512))


class MissingGroups(Sound):
    def __init__(self):
        self.groups = ["patient"]


class OtherChannels(Sound):
    channels = 3


class OtherAnnotators(Sound):
    annotators = 3


class RawMasks(Sound):
    """Masks of 0 and 255."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(masks=sample.masks * 255)


class DoublePrecision(Sound):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image.double())


class WideMasks(Sound):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(masks=sample.masks.long())


class NotANumber(Sound):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image * torch.nan)


class PresenceOfMore(SomeAbsent):
    def __getitem__(self, index):
        return super().__getitem__(index)._replace(present=torch.ones(5, dtype=torch.bool))


class PresenceInNumbers(SomeAbsent):
    def __getitem__(self, index):
        return super().__getitem__(index)._replace(present=torch.tensor([1, 0]))


class AbsentButDrawn(SomeAbsent):
    def __getitem__(self, index):
        return super().__getitem__(index)._replace(present=torch.tensor([False, True]))


class OtherGroups(Sound):
    def __getitem__(self, index):
        return super().__getitem__(index)._replace(group="somebody")


class AnotherEachTime(Sound):
    """Says each time that the data are others."""

    def __init__(self):
        super().__init__()
        self.fingerprint = f"{next(_COUNT):016x}"


class BrighterEachTime(Sound):
    """Made anew, has other images."""

    def __init__(self):
        super().__init__()
        self.shift = next(_COUNT)

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image + self.shift)


class AugmentsByItself(Sound):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image + torch.rand(()))


class SortedBatches(Sound):
    def batch(self, indices):
        return super().batch(sorted(indices))


class BatchesWithoutPresence(SomeAbsent):
    def batch(self, indices):
        return super().batch(indices)._replace(present=None)


class FewerGroups(Sound):
    def __init__(self):
        self.groups = [f"patient-{i % 5}" for i in range(9)]


class ChangingGroups(Sound):
    """Tells another patient each time it is asked."""

    def __init__(self):
        self.turn = count()

    @property
    def groups(self):
        turn = next(self.turn)
        return [f"patient-{(i + turn) % 5}" for i in range(10)]


class OnePatient(Sound):
    """Cannot be split."""

    def __init__(self):
        self.groups = ["patient"] * 10


SOUND = {"dataset": SomeAbsent}
FAULTS = {
    "dataset": {
        "describes_itself": [
            *(Undescribed, Empty, MissingGroups, NoDigest, NoProvenance, PreprocessedOtherwise)
        ],
        "samples_have_their_types": [
            *(OtherChannels, OtherAnnotators, DoublePrecision, WideMasks, NotANumber, RawMasks),
            *(PresenceOfMore, PresenceInNumbers, AbsentButDrawn, OtherGroups),
        ],
        "same_index_same_sample": [AnotherEachTime, AugmentsByItself, BrighterEachTime],
        "batches_are_their_samples": [SortedBatches, BatchesWithoutPresence],
        "a_group_is_on_one_side": [OnePatient, FewerGroups, ChangingGroups],
    }
}
