"""Processes that start at once: forked from a server that has imported what they need."""

import multiprocessing
from multiprocessing.context import ForkServerContext

# One list, since the server lives as long as the tests: what it lacks, each process imports.
PRELOADED = [
    "benchmarks.execution.runner",
    "benchmarks.jobs.experiment",
    "probseg.plots",
    "benchmarks.speed.train",
]


def forked() -> ForkServerContext:
    """Return the context that starts such processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context
