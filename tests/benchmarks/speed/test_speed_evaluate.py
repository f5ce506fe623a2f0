"""The speed topic of evaluation in its smallest size, its samples and the peers' loops."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from benchmarks.jobs.scoring import OF_SAMPLES
from benchmarks.speed import peer_metrics
from benchmarks.speed.comparison import Disagreement, Settings
from benchmarks.speed.evaluate import (
    TASKS,
    TestSet,
    agree,
    comparisons,
    evaluations,
    open_annotations,
)
from benchmarks.speed.peer_metrics import DISTANCES, OVERLAPS
from benchmarks.speed.timing import Machine
from probseg.interfaces import Evaluation
from probseg.metrics.evaluation import SharedEvaluation, compute_metrics
from probseg.metrics.hausdorff import hausdorff_cost
from probseg.metrics.kernels import iou_cost

pytestmark = pytest.mark.usefixtures("quick_starts")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    dataset = open_annotations(None, small=True)
    (one,) = evaluations(dataset, 2, size=2, samples=4)
    one.annotations[0, -1] = 0  # somebody who saw nothing
    return one


@pytest.mark.slow
def test_every_table_names_who_is_missing_and_what_the_others_took():
    settings = Settings(machine=Machine({}, 1e9, 1e9, 1e9), rounds=1, small=True)
    tables = list(comparisons(settings))
    assert [len(table.rows) + len(table.missing) for table in tables] == [2, 2, 2, 1, 2]
    assert all(table.floor for table in tables)
    assert ("MONAI" in tables[2].missing) == (find_spec("monai") is None)
    for table in tables[:2]:
        assert "times as long (aim:" in table.notes[1]
        assert table.row("torchmetrics").agreement.startswith("to ")
    assert "for 2,800 (aim: 60 s)" in tables[3].notes[0]
    assert "for 2,800 (aim: 180 s); the loop takes" in tables[4].notes[0]
    assert tables[4].rows[1].agreement.startswith("to ")


def test_samples_are_probabilities_that_resemble_the_annotations(evaluation):
    probabilities, annotations = evaluation.probabilities, evaluation.annotations
    assert probabilities.shape == (2, 4, 2, 32, 32)
    torch.testing.assert_close(probabilities.sum(2), torch.ones(2, 4, 32, 32))
    (again,) = evaluations(open_annotations(None, small=True), 2, size=2, samples=4)
    assert torch.equal(again.probabilities, probabilities)
    overlap = 1 - iou_cost(SharedEvaluation.of(evaluation).labels, annotations)
    assert 0.3 < overlap[:, :, :-1].mean() < 0.95


def pairs(*sets: torch.Tensor) -> zip:
    return zip(*(maps.numpy() > 0 for maps in sets), strict=True)


@pytest.mark.parametrize("name", ["public PU-Net code", "NumPy", "torchmetrics"])
def test_overlaps_pair_by_pair_are_probsegs(name, evaluation):
    samples, annotations = SharedEvaluation.of(evaluation).labels, evaluation.annotations
    for task in (TASKS["ged"], TASKS["hungarian-iou"]):
        loop = task.loop(OVERLAPS[name]())
        theirs = [loop(s, a) for s, a in pairs(samples, annotations)]
        np.testing.assert_allclose(theirs, task.ours(samples, annotations), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in DISTANCES if name.startswith("sci")])
def test_distances_pair_by_pair_are_probsegs(name, evaluation):
    samples, annotations = SharedEvaluation.of(evaluation).labels, evaluation.annotations
    loop = peer_metrics.hausdorff(DISTANCES[name]())
    theirs = [loop(s, a) for s, a in pairs(samples, annotations)]
    np.testing.assert_allclose(theirs, hausdorff_cost(samples, annotations), rtol=0, atol=1e-12)


def test_scores_that_differ_are_counted_or_refused():
    ours, theirs = np.zeros((10, 10)), np.zeros((10, 10))
    theirs[0, 0] = 2.0
    assert agree(ours, theirs, share=0.01) == "1 of 100 distances differ, by 2.0 pixels at most"
    with pytest.raises(Disagreement, match="1 of 100 scores differ, by up to 2"):
        agree(ours, theirs, share=0.0)


def test_a_test_set_is_scored_batch_by_batch():
    test_set = TestSet(images=20, root=None, small=True, device="cpu")
    assert [len(batch.annotations) for batch in test_set.batches] == [16, 4]
    means = [torch.cat(both).mean() for both in zip(*map(_scores, test_set.batches), strict=True)]
    np.testing.assert_allclose(test_set.answer(), means)


def _scores(batch: Evaluation) -> list[torch.Tensor]:
    return list(compute_metrics(batch, OF_SAMPLES).values())
