from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from probseg.datasets.annotators import choose_annotator
from probseg.datasets.batches import data_title
from probseg.datasets.shapes import AmbiguousShapes
from probseg.datasets.views import CentreCrop, Subset, subset
from probseg.errors import OptionError
from probseg.interfaces import Dataset


def test_a_subset_has_the_samples_in_their_order() -> None:
    whole = AmbiguousShapes(samples=10)
    part = subset(whole, [7, 2, 2])
    assert isinstance(part, Dataset)
    assert part.groups == ["shape-7", "shape-2", "shape-2"]
    assert part.batch([2, 0]).image.equal(whole.batch([2, 7]).image)
    assert part[0].group == "shape-7" and part[-1].masks.equal(whole[2].masks)
    assert len(list(part)) == 3


def test_a_crop_keeps_the_middle_of_image_and_masks() -> None:
    whole = AmbiguousShapes(samples=3)
    part = CentreCrop(Subset(whole, [1, 2]), (10, 16))
    image, masks, group, _ = part[1]
    assert image.equal(whole[2].image[:, 11:21, 8:24])
    assert masks.equal(whole[2].masks[:, 11:21, 8:24])
    assert group == "shape-2"
    assert CentreCrop(whole, 31)[0].image.shape == (1, 31, 31)


def test_a_folder_of_ones_own_has_its_name_in_titles_alone() -> None:
    whole = AmbiguousShapes(samples=3)
    assert data_title(Subset(whole, [0])) == "ambiguous-shapes"
    whole.name, whole.provenance = "folder", "your own data: my-data"
    assert data_title(CentreCrop(Subset(whole, [0]), 8)) == "my-data (folder)"
    assert Subset(whole, [0]).name == "folder"


def test_views_have_fingerprints_of_their_own() -> None:
    whole = AmbiguousShapes(samples=3)
    views = [
        whole,
        Subset(whole, [0]),
        Subset(whole, [1]),
        CentreCrop(whole, 8),
        CentreCrop(whole, 9),
    ]
    assert len({view.fingerprint for view in views}) == 5
    assert Subset(whole, [1]).fingerprint == Subset(whole, torch.tensor([1]).tolist()).fingerprint


@pytest.mark.parametrize("size", [0, (4, -1)])
def test_a_crop_of_nothing_is_refused(size: int | tuple[int, int]) -> None:
    with pytest.raises(OptionError, match="at least 1"):
        CentreCrop(AmbiguousShapes(samples=1), size)


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(OptionError, match="32x32"):
        CentreCrop(AmbiguousShapes(samples=1), 33)[0]


def test_annotators_are_chosen_uniformly_and_apart_for_each_image() -> None:
    masks = torch.arange(4, dtype=torch.uint8)[None, :, None, None].expand(4000, 4, 2, 3)
    chosen = choose_annotator(masks, torch.Generator().manual_seed(0))
    assert (chosen.shape, chosen.dtype) == ((4000, 2, 3), torch.uint8)
    assert chisquare(chosen[:, 0, 0].bincount()).pvalue > 0.001
    assert chosen.equal(choose_annotator(masks, torch.Generator().manual_seed(0)))
    assert not chosen.equal(choose_annotator(masks, torch.Generator().manual_seed(1)))


def test_the_chosen_mask_belongs_to_its_image() -> None:
    masks = torch.randint(0, 9, (50, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    for image, chosen in zip(masks, choose_annotator(masks), strict=True):
        assert (chosen == image).all((1, 2)).any()
