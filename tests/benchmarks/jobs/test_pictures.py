"""Which images are pictured, and that pictures come back as they were kept."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.jobs import pictures
from benchmarks.jobs.scoring import PictureRecorder, choose_images, score_dataset
from probseg.datasets.shapes import AmbiguousShapes
from probseg.interfaces import Evaluation


@pytest.fixture
def dataset() -> AmbiguousShapes:
    return AmbiguousShapes(size=16, samples=21)


def test_images_are_chosen_by_quantiles_of_disagreement(dataset) -> None:
    masks = dataset.batch(range(21)).masks.float()
    share = masks.mean(1)
    disagreement = (share * (1 - share)).sum((1, 2)) / share.sum((1, 2)).sqrt()
    order = disagreement.argsort(stable=True)
    assert choose_images(dataset, (1.0, 0.5, 0.0)) == [
        int(order[20]),
        int(order[10]),
        int(order[0]),
    ]


def test_pixels_that_nobody_labelled_come_back_masked(dataset, tmp_path: Path) -> None:
    batch = dataset.batch([0])
    batch.masks[0, 1, :3] = 7  # no class, so an ignore_index
    recorder = PictureRecorder([0])
    samples = torch.full((1, 2, 2, 16, 16), 0.5)
    recorder.recording(lambda *_: {"base": [Evaluation(samples, batch.masks)]})(batch, 0)
    pictures.save(tmp_path / "whole.npz", recorder.pictures)
    whole = pictures.load(tmp_path / "whole.npz")
    pictures.save(tmp_path / "small.npz", {0: pictures.compact(whole[0])})
    for masks in (whole[0]["masks"], pictures.load(tmp_path / "small.npz")[0]["masks"]):
        assert (np.ma.getmaskarray(masks) == (batch.masks[0] == 7).numpy()).all()
        assert (masks == batch.masks[0].numpy()).all()  # elsewhere


def test_a_recorder_keeps_the_chosen_images_whatever_the_batch(dataset, tmp_path: Path) -> None:
    def predict(batch, start):
        odds = torch.sigmoid(batch.image * torch.arange(3)[None, :, None, None])
        return {"base": [Evaluation(torch.stack([1 - odds, odds], 2), batch.masks)]}

    for size in (4, 21):
        recorder = PictureRecorder([5, 13])
        score_dataset(recorder.recording(predict), dataset, batch=size)
        path = tmp_path / f"{size}.npz"
        pictures.save(path, recorder.pictures)
        kept = pictures.load(path)
        assert sorted(kept) == [5, 13]
        sample = dataset[13]
        odds = torch.sigmoid(sample.image * torch.arange(3)[:, None, None])
        assert kept[13]["mean"] == pytest.approx(odds.mean(0).numpy(), abs=1e-3)
        assert kept[13]["sd"] == pytest.approx(odds.std(0, correction=0).numpy(), abs=1e-3)
        assert (kept[13]["masks"] == sample.masks.numpy()).all()
        assert (kept[13]["labels"] == (odds > 0.5).numpy()).all()
