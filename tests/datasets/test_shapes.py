from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from shape_modes import mode_frequencies

from probseg.datasets.shapes import AmbiguousShapes
from probseg.errors import OptionError
from probseg.interfaces import Dataset


def test_it_is_a_data_set() -> None:
    dataset = AmbiguousShapes(size=40, samples=5, annotators=3)
    assert isinstance(dataset, Dataset)
    image, masks, group, present = dataset[4]
    assert (image.shape, image.dtype) == ((1, 40, 40), torch.float32)
    assert (masks.shape, masks.dtype) == ((3, 40, 40), torch.uint8)
    assert present.tolist() == [True] * 3 and 0 <= image.min() and image.max() <= 1
    assert (len(dataset), len(list(dataset)), group) == (5, 5, "shape-4")


def test_the_same_seed_gives_the_same_shapes() -> None:
    first, second, other = (AmbiguousShapes(seed=seed) for seed in (3, 3, 4))
    assert first[7].image.equal(second.batch([2, 7]).image[1])
    assert first[7].masks.equal(second[7].masks)
    assert first[-1].image.equal(second[len(second) - 1].image)
    assert not first[7].image.equal(other[7].image)
    assert not first[7].image.equal(first[8].image)
    assert first.fingerprint == second.fingerprint != other.fingerprint


@pytest.mark.parametrize("frequencies", [(0.4, 0.35, 0.25), (0.1, 0.9)])
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


def overlaps(modes: torch.Tensor) -> torch.Tensor:
    """IoU of every mode with every other, by counting pixels."""
    both = (modes[:, None] & modes).sum((2, 3))
    return both / (modes[:, None] | modes).sum((2, 3))


@pytest.mark.parametrize("frequencies", [(0.4, 0.35, 0.25), (0.5, 0.5), (0.25,) * 4])
def test_modes_share_a_core_and_are_clearly_distinct(frequencies: tuple[float, ...]) -> None:
    dataset = AmbiguousShapes(samples=40, frequencies=frequencies)
    for index in range(40):
        modes = dataset.modes(index).bool()
        between = overlaps(modes)[~torch.eye(len(modes), dtype=torch.bool)]
        assert 0.2 < between.min() and between.max() < 0.7
        assert modes.all(0).any() and not modes[:, 0].any() and not modes[:, :, -1].any()


def test_the_modes_show_in_the_image() -> None:
    for index in range(5):
        dataset = AmbiguousShapes(samples=5)
        count, image = dataset.modes(index).sum(0), dataset[index].image[0]
        levels = torch.stack([image[count == seen].mean() for seen in (0, 1, 3)])
        torch.testing.assert_close(levels, torch.tensor([0.1, 0.5, 0.9]), atol=0.02, rtol=0)


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
