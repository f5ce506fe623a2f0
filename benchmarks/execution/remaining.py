"""What remains of a plan: the experiments that are finished, can run, or lack their data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.arguments import RunOptions
from benchmarks.jobs.data import dataset_of
from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.results import Result, finished_result
from probseg.errors import NotPackedError, ProbsegError
from probseg.utils.atomic_files import WriteError


class Remaining(NamedTuple):
    """The experiments of a plan by what is to do of them."""

    finished: dict[str, Result]  # by key
    to_run: list[Experiment]
    unavailable: dict[str, ProbsegError]  # data set to why it cannot be opened


def find_remaining(
    experiments: Iterable[Experiment], options: RunOptions, *, pack: bool = True
) -> Remaining:
    """Open every data set once, and look for the result of each experiment on these data.

    Unless data are to be packed, those that are not packed yet are taken to be sound.

    Raises:
        WriteError: The cache of a data set cannot be written.
    """
    experiments, remaining = list(experiments), Remaining({}, [], {})
    fingerprints: dict[str, str | None] = {}
    for name, experiment in {experiment.dataset: experiment for experiment in experiments}.items():
        try:
            fingerprints[name] = dataset_of(experiment, options.data_root, pack=pack).fingerprint
        except NotPackedError:
            fingerprints[name] = None
        except WriteError:
            raise
        except ProbsegError as error:
            remaining.unavailable[name] = error
    for experiment in experiments:
        if experiment.dataset in fingerprints:
            result = finished_result(experiment, options.out, fingerprints[experiment.dataset])
            if result is None:
                remaining.to_run.append(experiment)
            else:
                remaining.finished[experiment.key] = result
    return remaining
