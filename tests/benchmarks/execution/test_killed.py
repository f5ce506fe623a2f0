"""Runs that are killed, ended, or two at once in one folder."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from killing import Moment, finish, start

from benchmarks.jobs.output_folder import BusyError, held
from benchmarks.jobs.results import read_result, result_path

EVENTS_OF_A_RUN = 400  # about
EVENTS = EVENTS_OF_A_RUN // 10


@pytest.fixture
def arguments(suite_file: Path) -> list[str]:
    """Those of ``finished_run``."""
    command = ["--all", "--suite", str(suite_file), "--profile", "quick", "--device", "cpu"]
    return [*command, "--folds", "0", "1"]


def shown(out: Path) -> dict[str, bytes]:
    """Return the tables and pictures of a run."""
    return {path.name: path.read_bytes() for path in out.glob("*.*") if path.suffix != ".html"}


def leftovers(out: Path) -> list[Path]:
    hidden = [path for path in out.rglob(".*") if path.name != ".locks"]
    return hidden + list(out.rglob("*set-aside*"))


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_shows_the_same_bytes(
    arguments: list[str], finished_run: Path, tmp_path: Path, times: int
) -> None:
    chance = random.Random(times)
    for number in range(times):
        later = chance.uniform(0, 0.2) if number % 2 else 0.0
        code = finish(arguments, tmp_path, Moment(chance.randint(1, EVENTS), later))
        assert code == -signal.SIGKILL
    assert finish(arguments, tmp_path) == 0
    assert shown(tmp_path) == shown(finished_run)
    assert not leftovers(tmp_path)


@pytest.mark.slow
def test_two_runs_at_once_share_the_work_and_show_the_same_bytes(
    arguments: list[str], finished_run: Path, tmp_path: Path
) -> None:
    both = [start(arguments, tmp_path) for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert shown(tmp_path) == shown(finished_run)
    logs = [path.parent for path in tmp_path.rglob("events.out.*")]  # one each time that it trains
    assert len(logs) == len(set(logs)) == 4
    assert not leftovers(tmp_path)


def test_a_run_does_the_other_experiments_before_it_waits_for_one(
    arguments: list[str], finished_run: Path, tmp_path: Path
) -> None:
    experiments = {path: read_result(path).experiment for path in finished_run.rglob("result.json")}
    (taken,) = (c for c in experiments.values() if (c.row, c.fold) == ("punet", 0))
    with held(taken.key, tmp_path):
        run = start(arguments, tmp_path)
        deadline = time.monotonic() + 120
        # no walk through folders that come and go: Python 3.11's fails where one has just gone
        while (
            sum(result_path(experiment, tmp_path).exists() for experiment in experiments.values())
            < len(experiments) - 1
        ):
            assert time.monotonic() < deadline and run.is_alive()
            time.sleep(0.05)
        assert not result_path(taken, tmp_path).exists()
    run.join()
    assert run.exitcode == 0
    assert shown(tmp_path) == shown(finished_run)


def test_what_is_held_is_busy_to_others(tmp_path: Path) -> None:
    with held("a", tmp_path), held("b", tmp_path):
        with pytest.raises(BusyError, match="is at work on a"):
            with held("a", tmp_path, wait=False):
                pass
    with held("a", tmp_path, wait=False):
        pass


def test_sigterm_ends_a_run_like_ctrl_c(arguments: list[str], tmp_path: Path) -> None:
    longer = ["--models", "punet", "--baselines", "--set", "max_steps=100000"]
    run = start([*arguments, *longer], tmp_path)
    while not list(tmp_path.glob("cells/*/*/*/*/training/last.ckpt")):
        assert run.is_alive()
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGTERM)
    run.join()
    assert run.exitcode == 130
    assert not list(tmp_path.rglob("result.json"))
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(
    "event", [83, *(pytest.param(e, marks=pytest.mark.slow) for e in (3, 163, 243, 323))]
)
def test_sigterm_at_any_moment_leaves_nothing_behind(
    arguments: list[str], tmp_path: Path, event: int
) -> None:
    assert finish(arguments, tmp_path, Moment(event, signal=signal.SIGTERM)) == 130
    assert not leftovers(tmp_path)
