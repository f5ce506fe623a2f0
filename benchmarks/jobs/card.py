"""The facts on an experiment's model card, which ``probseg share`` reads beside the model."""

from __future__ import annotations

from benchmarks.jobs.results import Result
from probseg.sharing.cards import Card


def card_of(result: Result) -> Card:
    """Return the card of the model that a finished experiment trained."""
    experiment, data, origin = result.experiment, result.tested_on, result.provenance
    training = result.training
    assert training is not None
    variant = next(iter(result.means))
    revision = f"revision {origin.git.revision}" if origin.git.revision else "unknown revision"
    return Card(
        title=f"{experiment.row} on {experiment.dataset}",
        dataset=experiment.dataset,
        data=(
            f"{data.provenance}. {data.train} images to train on, {data.validation} to choose "
            f"the weights, {data.test} to test; {data.channels} channels, {data.classes} "
            f"classes, {data.annotators} annotators; {data.split}; "
            f"seen as {dict(experiment.data)}. Fingerprint {data.fingerprint}. "
            "The data keep their own terms."
        ),
        metrics={n: v for n, v in result.means[variant].items() if v is not None},
        measured_on=(
            f"Means over {data.test} test images of {experiment.dataset} "
            f"({variant} samples, {data.split}, fold {experiment.fold}); the benchmark's "
            "documentation says what each is and which way is better."
        ),
        provenance={
            "trained": f"{training.steps} steps, the best weights after {training.best_step}",
            "profile and seed": f"{experiment.profile}, {experiment.seed}",
            "finished": result.timings.finished or "unknown",
            "code": f"{revision}{', with changes' if origin.git.dirty else ''}",
            "versions": ", ".join(f"{n} {v}" for n, v in origin.versions.items()),
            "machine": str(origin.machine.get("device", "unknown")),
            "result": f"{result.key}, digest {result.digest}",
        },
    )
