"""Baselines against closed forms and brute force."""

from itertools import permutations

import numpy as np
import pytest
import torch

from benchmarks.jobs.predictors import baseline_predictor
from benchmarks.jobs.scoring import metrics, score_dataset
from probseg.errors import DataError
from probseg.interfaces import Batch, Evaluation
from probseg.metrics.score_collector import ScoreCollector


class InMemory:
    """Images without content, whose annotators may be absent."""

    name, channels, classes, provenance = "memory", 1, 2, "made in memory"

    def __init__(self, masks: torch.Tensor, present: torch.Tensor | None) -> None:
        self.masks, self.present, self.annotators = masks, present, masks.shape[1]

    def __len__(self) -> int:
        return len(self.masks)

    def batch(self, indices) -> Batch:
        rows = list(indices)
        present = None if self.present is None else self.present[rows]
        return Batch(torch.zeros(len(rows), 1, 6, 6), self.masks[rows], present)


@pytest.fixture
def masks() -> torch.Tensor:
    """Annotations (4, 3, 6, 6): some empty, one image on which everybody agrees on nothing."""
    generator = torch.Generator().manual_seed(3)
    drawn = (torch.rand(4, 3, 6, 6, generator=generator) > 0.6).to(torch.uint8)
    drawn[0, 1] = 0
    drawn[1, :2] = 0
    drawn[2] = 0
    return drawn


def predicted(baseline: str, masks: torch.Tensor) -> list[Evaluation]:
    batch = Batch(torch.zeros(len(masks), 1, *masks.shape[2:]), masks)
    return baseline_predictor(baseline, 2)(batch, 0)["base"]


def score(evaluations: list[Evaluation]) -> dict[str, torch.Tensor]:
    collector = ScoreCollector(metrics(latent=False))
    collector.add(*evaluations)
    return {name: torch.from_numpy(values) for name, values in collector.values().items()}


@pytest.mark.parametrize("baseline", ["always-empty", "one-annotator", "annotators"])
def test_pixels_that_nobody_labelled_are_cut_away(baseline, masks) -> None:
    partly = masks.clone()
    partly[..., :2] = 255
    batch = Batch(torch.zeros(len(masks), 1, *masks.shape[2:]), partly)
    found = score(baseline_predictor(baseline, 2, 255)(batch, 0)["base"])
    cut = score(predicted(baseline, masks[..., 2:]))
    del found["w-hausdorff"], cut["w-hausdorff"]  # an empty mask costs the whole diagonal
    torch.testing.assert_close(found, cut, equal_nan=True)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    union = np.logical_or(a, b).sum()
    return 1 - np.logical_and(a, b).sum() / union if union else 0.0


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array([[distance(x, y) for y in b] for x in a])


def matched(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cost of the best matching, both sets repeated to the product of their sizes."""
    cost = np.repeat(np.repeat(distances(a, b), len(b), axis=0), len(a), axis=1)
    couples = (enumerate(order) for order in permutations(range(len(cost))))
    return min(np.mean([cost[couple] for couple in matching]) for matching in couples)


def energy(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * distances(a, b).mean() - distances(a, a).mean() - distances(b, b).mean()


def test_always_empty_is_right_where_an_annotator_saw_nothing(masks) -> None:
    scores = score(predicted("always-empty", masks))
    present = (masks.flatten(2).sum(2) > 0).double().mean(1)
    torch.testing.assert_close(scores["w-iou"], present)
    torch.testing.assert_close(scores["w-dice"], present)
    torch.testing.assert_close(scores["hungarian-iou"], 1 - present)
    torch.testing.assert_close(scores["w-hausdorff"], present * np.hypot(6, 6))
    spread = torch.tensor([distances(m, m).mean() for m in masks.numpy()])
    torch.testing.assert_close(scores["ged"], 2 * present - spread)
    assert not scores["diversity"].any()


def test_annotators_equal_brute_force_over_who_is_left_out(masks) -> None:
    scores = score(predicted("annotators", masks))
    for image, (w, ged) in enumerate(zip(scores["w-iou"], scores["ged"], strict=True)):
        everybody = masks[image].numpy()
        others = [np.delete(everybody, one, axis=0) for one in range(3)]
        assert w == pytest.approx(np.mean([matched(rest, everybody) for rest in others]))
        assert ged == pytest.approx(np.mean([energy(rest, everybody) for rest in others]))


def test_annotators_ged_has_its_closed_form(masks) -> None:
    # with D the mean over pairs of different annotators: D / (A (A - 1))
    scores = score(predicted("annotators", masks))
    pairs = torch.tensor([distances(m, m).sum() / 6 for m in masks.numpy()])
    torch.testing.assert_close(scores["ged"], pairs / 6)


def test_one_annotator_equals_brute_force_against_the_others(masks) -> None:
    scores = score(predicted("one-annotator", masks))
    for image, (w, ged) in enumerate(zip(scores["w-iou"], scores["ged"], strict=True)):
        everybody = masks[image].numpy()
        sides = [(everybody[[one]], np.delete(everybody, one, axis=0)) for one in range(3)]
        assert w == pytest.approx(np.mean([distances(a, b).mean() for a, b in sides]))
        assert ged == pytest.approx(np.mean([energy(a, b) for a, b in sides]))


def test_leaving_one_out_needs_two(masks) -> None:
    with pytest.raises(DataError, match="two"):
        predicted("annotators", masks[:, :1])


@pytest.mark.parametrize("baseline", ["annotators", "one-annotator"])
def test_images_with_one_annotator_have_no_value(baseline: str, masks) -> None:
    present = torch.ones(4, 3, dtype=torch.bool)
    present[0, 1:] = present[2, :2] = False
    data = InMemory(masks, present)
    scores = score_dataset(baseline_predictor(baseline, 2), data, batch=3)["base"]
    whole = score(predicted(baseline, masks))
    assert set(scores) == set(whole)
    for name, values in scores.items():
        assert [value for value in values if not np.isnan(value)] == pytest.approx(
            whole[name][[1, 3]].tolist()
        )
        assert np.isnan(values).tolist() == [True, False, True, False]
    single = score_dataset(baseline_predictor(baseline, 2), InMemory(masks[:, :1], None), batch=3)
    assert all(np.isnan(values).all() for values in single["base"].values())
