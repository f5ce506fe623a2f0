"""Results that no model made, so that the answer is known."""

from collections.abc import Mapping, Sequence

from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.provenance import GitState, Provenance
from benchmarks.jobs.results import (
    DataSummary,
    Result,
    TestImages,
    Timings,
    TrainingSummary,
    means,
)

MACHINE = {"device": "cpu", "processor": "an abacus", "cores": 2, "threads": 1}


def made_result(
    experiment: Experiment,
    scores: Mapping[str, Mapping[str, Sequence[float | None]]],
    *,
    groups: Sequence[str] | None = None,
    gini: Mapping[float, float] | None = None,
    provenance: str = "made up for a test",
    revision: str | None = None,
    dirty: bool | None = None,
    stopped_early: bool = True,
) -> Result:
    """Return the result of an experiment.

    Args:
        experiment: Whose result.
        scores: Variant to metric to one value an image.
        groups: Patient of each image; by default each has its own.
        gini: Step to the prior's Gini index at it.
        provenance: Of the data.
        revision: Of the code.
        dirty: Whether the code was changed.
        stopped_early: Whether the training did.
    """
    images = len(next(iter(scores["base"].values())))
    training = TrainingSummary(
        spec={},
        parameters=1,
        steps=1,
        best_step=1,
        best_validation_loss=0.5,
        stopped_early=stopped_early,
        micro_batch=None,
    )
    return Result(
        experiment=experiment,
        provenance=Provenance(
            versions={"python": "3.11.2", "torch": "2.6.0"},
            git=GitState(revision, dirty),
            machine=MACHINE,
        ),
        data=DataSummary(
            fingerprint="5" * 64,
            provenance=provenance,
            split="by patient, seed 0, 3 folds",
            train=100,
            validation=20,
            test=images,
        ),
        timings=Timings(finished="2025-01-02T03:04:05+00:00", training_s=61.0),
        training=training if experiment.trained else None,
        history=[{"step": step, "prior/gini": value} for step, value in (gini or {}).items()],
        images=TestImages(list(range(images)), list(groups or map(str, range(images)))),
        scores=scores,
        means=means(scores),
    )
