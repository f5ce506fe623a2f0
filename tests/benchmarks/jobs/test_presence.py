"""Scores where not everybody annotated: those of each image alone, with those who did."""

from __future__ import annotations

import pytest
import torch

from benchmarks.jobs.predictors import baseline_predictor
from benchmarks.jobs.scoring import OF_SAMPLES, PictureRecorder, choose_images, score_dataset
from probseg.interfaces import Batch, Evaluation, Sample
from probseg.metrics.evaluation import compute_metrics


class Partial:
    """Ten noisy images of which each has two to four annotators."""

    name, channels, classes, annotators = "partial", 1, 2, 4
    provenance, fingerprint = "noise", "0123456789abcdef"

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(5)
        self.groups = [str(index) for index in range(10)]
        order = torch.rand(10, 4, generator=random).argsort(1)
        number = torch.tensor([4, 4, 2, 3, 3, 3, 2, 4, 2, 2])
        self.present = order < number[:, None]
        self.images = torch.rand(10, 1, 8, 8, generator=random)
        drawn = torch.rand(10, 4, 8, 8, generator=random) < 0.5
        self.masks = (drawn & self.present[:, :, None, None]).to(torch.uint8)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        return Sample(
            self.images[index], self.masks[index], self.groups[index], self.present[index]
        )

    def batch(self, indices) -> Batch:
        rows = list(indices)
        return Batch(self.images[rows], self.masks[rows], self.present[rows])


def alone(dataset: Partial, index: int) -> Batch:
    sample = dataset[index]
    return Batch(sample.image[None], sample.masks[sample.present][None])


def predict(batch: Batch, start: int):
    odds = torch.sigmoid(4 * (batch.image - 0.5) * torch.arange(-1, 4)[None, :, None, None])
    return {"base": [Evaluation(torch.stack([1 - odds, odds], 2), batch.masks)]}


@pytest.mark.parametrize("size", [1, 4, 10])
@pytest.mark.parametrize("who", ["model", "always-empty", "annotators", "one-annotator"])
def test_scores_are_those_of_each_image_with_the_annotators_it_has(who: str, size: int) -> None:
    dataset = Partial()
    predictor = predict if who == "model" else baseline_predictor(who, 2)
    scores = score_dataset(predictor, dataset, batch=size)["base"]
    for index in range(10):
        predicted = predictor(alone(dataset, index), index)["base"]
        each = [compute_metrics(evaluation, OF_SAMPLES) for evaluation in predicted]
        for name in OF_SAMPLES:
            wanted = torch.cat([values[name] for values in each]).mean()
            found = torch.tensor(scores[name][index], dtype=torch.float64)
            torch.testing.assert_close(found, wanted, equal_nan=True)


def test_the_predictor_is_told_where_each_batch_begins() -> None:
    dataset, starts = Partial(), []

    def noting(batch: Batch, start: int):
        starts.append((start, len(batch.image)))
        return predict(batch, start)

    score_dataset(noting, dataset, batch=4)
    assert starts == [(0, 2), (2, 1), (3, 1), (4, 2), (6, 1), (7, 1), (8, 2)]


def test_pictures_show_the_annotators_that_there_are() -> None:
    dataset = Partial()
    shares = [alone(dataset, index).masks[0].float().mean(0) for index in range(10)]
    spread = [float((s * (1 - s)).sum() / s.sum().sqrt()) for s in shares]
    assert choose_images(dataset, (1.0,)) == [max(range(10), key=spread.__getitem__)]
    recorder = PictureRecorder([2, 5])
    score_dataset(recorder.recording(predict), dataset, batch=4)
    for index in (2, 5):
        assert (recorder.pictures[index]["masks"] == alone(dataset, index).masks[0].numpy()).all()
