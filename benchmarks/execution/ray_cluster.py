"""Experiments on a Ray cluster: retried where a worker dies, their files brought to the driver."""

from __future__ import annotations

import logging
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.execution.local import ATTEMPTS, DIED, Attempt, Event
from benchmarks.jobs.plan import Experiment
from probseg.errors import OptionError
from probseg.utils.atomic_files import WriteError, atomic_file
from probseg.utils.imports import require


class Delivery(NamedTuple):
    """What a worker sends back: files by name only where it does not share the driver's disk."""

    event: Event
    files: Mapping[str, bytes]


def ray_cluster(
    attempt: Attempt,
    experiments: Sequence[Experiment],
    *,
    address: str,  # "auto" joins the cluster on this machine, or starts one
    gpus: float = 0,  # of each experiment, such as 0.5
    attempts: int = ATTEMPTS,  # at an experiment whose worker dies
) -> Iterator[Event]:
    """Do experiments on a Ray cluster, as many at once as its processors and GPUs allow.

    Every machine needs this checkout and its packages. A worker that sees the driver's folder
    writes there, and a retried experiment goes on from its last validation round. Any other worker
    sends back the files of its experiment, and a retried experiment begins anew.

    Raises:
        OptionError: Ray or the cluster is missing, or no machine of it is large enough.
    """
    with _connected(address) as ray, _mark(attempt.options.out) as mark:
        needs = {"CPU": float(attempt.options.threads_per_experiment or 1), "GPU": gpus}
        check_fits(needs, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        options = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"]}
        task = ray.remote(max_retries=attempts - 1, **options)(do)
        waiting = list(reversed(experiments))
        running: dict[Any, Experiment] = {}
        while waiting or running:
            while waiting and len(running) < capacity(needs, ray.cluster_resources()):
                experiment = waiting.pop()
                running[task.remote(attempt, experiment, mark)] = experiment
                yield Event("started", experiment)
            for reference in ray.wait(list(running))[0]:
                experiment = running.pop(reference)
                try:
                    delivery: Delivery = ray.get(reference)
                except WriteError:
                    raise
                except ray.exceptions.WorkerCrashedError:
                    yield Event("ended", experiment, error=DIED.format(attempts))
                except ray.exceptions.RayError as error:
                    line = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
                    yield Event("ended", experiment, error=line)
                else:
                    write_files(delivery.files, experiment.folder(attempt.options.out))
                    yield delivery.event


def do(attempt: Attempt, experiment: Experiment, mark: Path) -> Delivery:
    """Do an experiment on a worker, in the driver's folder if it is here, with its mark."""
    if mark.exists():
        return Delivery(attempt(experiment), {})
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        event = replace(attempt, options=replace(attempt.options, out=out))(experiment)
        return Delivery(event, collect_files(experiment.folder(out)))


def collect_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their names in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files into a folder, the result last: an experiment is finished once it has one.

    Raises:
        WriteError: The disk is full or read-only.
    """
    for name in sorted(files, key=lambda name: (name == "result.json", name)):
        with atomic_file(folder / name) as temporary:
            temporary.write_bytes(files[name])


def capacity(needs: Mapping[str, float], resources: Mapping[str, float]) -> int:
    """Return how many experiments fit at once into the resources of a cluster, at least one.

    >>> capacity({"CPU": 2, "GPU": 0.5}, {"CPU": 16, "GPU": 1})
    2
    """
    return max(1, min(int(resources.get(kind, 0) / need) for kind, need in needs.items() if need))


def check_fits(needs: Mapping[str, float], machines: Sequence[Mapping[str, float]]) -> None:
    """Refuse experiments that no machine has room for, which Ray would let wait for ever.

    Raises:
        OptionError: There is none.

    >>> check_fits({"CPU": 2, "GPU": 0}, [{"CPU": 1}, {"CPU": 4}])
    """
    if not any(all(m.get(kind, 0) >= need for kind, need in needs.items()) for m in machines):
        have = "; ".join(f"{m.get('CPU', 0):g} CPUs and {m.get('GPU', 0):g} GPUs" for m in machines)
        raise OptionError(
            f"an experiment takes {needs['CPU']:g} CPUs and {needs['GPU']:g} GPUs, which no "
            f"machine of the cluster has ({have}); lower --threads or --gpus-per-experiment"
        )


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = require("ray", extra="ray", for_="--ray")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address, **settings)
    except ConnectionError as error:
        if address != "auto":
            raise OptionError(f"no Ray cluster answers at {address}: {error}") from error
        ray.init(include_dashboard=False, **settings)
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _mark(out: Path) -> Iterator[Path]:
    path = out / f".driver-{uuid.uuid4().hex}"
    with atomic_file(path) as temporary:
        temporary.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
