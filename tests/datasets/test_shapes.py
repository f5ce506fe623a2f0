from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from scipy.stats import chisquare

from probseg.datasets.shapes import AmbiguousShapes, mode_frequencies
from probseg.errors import OptionError
from probseg.interfaces import Dataset


def test_it_is_a_data_set() -> None:
    dataset = AmbiguousShapes(size=40, samples=5, annotators=3)
    assert isinstance(dataset, Dataset)
    image, masks, group = dataset[4]
    assert (image.shape, image.dtype) == ((1, 40, 40), torch.float32)
    assert (masks.shape, masks.dtype) == ((3, 40, 40), torch.uint8)
    assert 0 <= image.min() and image.max() <= 1
    assert (len(dataset), len(list(dataset)), group) == (5, 5, "shape-4")


def test_the_same_seed_gives_the_same_shapes() -> None:
    first, second, other = (AmbiguousShapes(seed=seed) for seed in (3, 3, 4))
    assert first[7].image.equal(second.__getitems__([2, 7]).image[1])
    assert first[7].masks.equal(second[7].masks)
    assert first[-1].image.equal(second[len(second) - 1].image)
    assert not first[7].image.equal(other[7].image)
    assert not first[7].image.equal(first[8].image)
    assert first.fingerprint == second.fingerprint != other.fingerprint


@pytest.mark.parametrize("frequencies", [(0.5, 0.3, 0.2), (0.1, 0.9), (1.0,)])
def test_annotators_follow_the_frequencies(frequencies: tuple[float, ...]) -> None:
    dataset = AmbiguousShapes(samples=300, frequencies=frequencies, annotators=8, seed=1)
    found = [mode_frequencies(dataset[i].masks, dataset.modes(i)) for i in range(len(dataset))]
    counts = 8 * torch.stack(found).sum(0)
    assert chisquare(counts, 8 * 300 * dataset.frequencies).pvalue > 0.001


def test_every_annotation_is_a_mode() -> None:
    dataset = AmbiguousShapes(samples=20)
    for index in range(20):
        modes = dataset.modes(index)
        assert all((mask == modes).all((1, 2)).any() for mask in dataset[index].masks)


def test_modes_are_nested_and_clearly_distinct() -> None:
    dataset = AmbiguousShapes(samples=50)
    for index in range(50):
        modes = dataset.modes(index).bool()
        for inner, outer in pairwise(modes):
            assert (inner <= outer).all()
            assert 0.4 < inner.sum() / outer.sum() < 0.6


def test_the_modes_show_in_the_image() -> None:
    dataset = AmbiguousShapes(samples=1)
    modes, image = dataset.modes(0).sum(0), dataset[0].image[0]
    levels = torch.stack([image[modes == count].mean() for count in range(4)])
    torch.testing.assert_close(levels, torch.tensor([0.1, 0.3667, 0.6333, 0.9]), atol=0.02, rtol=0)


def test_samples_go_to_the_mode_of_largest_overlap() -> None:
    dataset = AmbiguousShapes(samples=1)
    modes = dataset.modes(0)
    noisy = modes[[0, 2, 2, 2]].clone()
    noisy[:, :2, :2] = 1
    assert mode_frequencies(noisy, modes).tolist() == [0.25, 0, 0.75]
    empty = torch.zeros(1, 32, 32)
    assert mode_frequencies(empty, torch.cat([modes, empty])).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "options", [{"samples": 0}, {"frequencies": ()}, {"frequencies": (0.5, 0.6)}, {"size": -1}]
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        AmbiguousShapes(**options)  # type: ignore[arg-type]
