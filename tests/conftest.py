"""What every test may use: reproducible seeds and the real data, where it lies."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core, so a thread a process
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, and let the package's own tests alone measure its coverage."""
    _skip_without_gpu(items)
    for item in items:
        if item.path.is_relative_to(BENCHMARKS):
            item.add_marker("untraced")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Lift coverage's tracer from a test marked `untraced`.

    pytest-cov's own mark `no_cover` leaves a tracer behind in the processes of xdist.
    """
    tracer = sys.gettrace()
    lifted = "untraced" in item.keywords and type(tracer).__module__ == "coverage"
    if lifted:
        sys.settrace(None)
    try:
        return (yield)
    finally:
        if lifted:
            sys.settrace(tracer)


def _skip_without_gpu(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items or "PROBSEG_TEST_DEVICE" in os.environ:  # a rehearsal on another device
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Make every test's random numbers its own, whatever ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data named by PROBSEG_DATA; the test is skipped without one."""
    root = os.environ.get("PROBSEG_DATA")
    if not root:
        pytest.skip("PROBSEG_DATA names no folder of real data")
    return Path(root)
