"""Each check of data sets refuses a data set with the fault that it is there for."""

import pytest
import torch

from probseg.interfaces import Batch, Sample
from probseg.testing import check, checks


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

    def __getitems__(self, indices):
        image, masks, *_ = zip(*(self[i] for i in indices), strict=True)
        return Batch(torch.stack(image), torch.stack(masks))


class NoProvenance(Sound):
    provenance = ""


class MissingGroups(Sound):
    def __init__(self):
        self.groups = ["patient"]


class RawMasks(Sound):
    """Masks of 0 and 255."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(masks=sample.masks * 255)


class DoublePrecision(Sound):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image.double())


class AugmentsByItself(Sound):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image + torch.rand(()))


class SortedBatches(Sound):
    def __getitems__(self, indices):
        return super().__getitems__(sorted(indices))


class OnePatient(Sound):
    """Cannot be split."""

    def __init__(self):
        self.groups = ["patient"] * 10


FAULTS = {
    "describes_itself": [NoProvenance, MissingGroups],
    "samples_have_their_types": [RawMasks, DoublePrecision],
    "same_index_same_sample": [AugmentsByItself],
    "batches_are_their_samples": [SortedBatches],
    "a_group_is_on_one_side": [OnePatient],
}


@pytest.mark.parametrize("name", [one.__name__ for one in checks["dataset"]])
def test_the_check_refuses_its_fault(name, refuses):
    for fault in FAULTS[name]:
        refuses("dataset", name, fault)


def test_the_sound_part_passes():
    check("dataset", Sound)
