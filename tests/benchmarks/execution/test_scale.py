"""Experiments in one process, several and a Ray cluster: the same tables, lost ones retried."""

import importlib.util
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode leaves the folder out

from killing import start
from scale_toys import Deadly, descendants, is_alive, open_files

from benchmarks.arguments import RunOptions
from benchmarks.execution import estimate, ray_cluster
from benchmarks.execution.local import Attempt, Event, local_processes, serial
from benchmarks.execution.progress import Progress
from benchmarks.jobs.results import finished_result, read_result
from benchmarks.run import COMMAND, main, make_plan, options_of
from probseg.cli.command import make_parser
from probseg.errors import OptionError

LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
STEPS = 100  # enough that a process can be killed among them
SETTINGS = ["--set", f"max_steps={STEPS}", "validate_every=20"]


@pytest.fixture
def arguments(suite_file: Path) -> Callable[..., list[str]]:
    def make(out: Path, *more: str) -> list[str]:
        start = ["--suite", str(suite_file), "--datasets", "ambiguous-shapes", "--device", "cpu"]
        rows = ["--profile", "quick", "--models", "punet", "--baselines", "always-empty"]
        scale = ["--folds", "0", "1", "--threads", "1", "--out", str(out), *more]
        return [*start, *rows, *scale, *SETTINGS]

    return make


@pytest.fixture
def experiments(arguments, tmp_path: Path):
    return make_plan(options_of(make_parser(COMMAND).parse_args(arguments(tmp_path)))).experiments


@pytest.fixture(scope="module")
def serial_run(suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process; tests must not change it."""
    out = tmp_path_factory.mktemp("serial")
    command = ["--suite", str(suite_file), "--datasets", "ambiguous-shapes", "--device", "cpu"]
    command += ["--profile", "quick", "--models", "punet", "--baselines", "always-empty"]
    command += ["--folds", "0", "1", "--threads", "1", "--out", str(out)]
    assert main([*command, *SETTINGS]) == 0
    return out


def tables(out: Path) -> list[bytes]:
    return [(out / name).read_bytes() for name in ("table.md", "table.csv")]


def wait_for(out: Path, name: str, key: str = "") -> Path:
    """Wait until the training of some experiment, or of the one of a key, has written a file."""
    deadline = time.monotonic() + 200
    while not (kept := list(out.glob(f"cells/*/*/*/*{key}/training/{name}"))):
        assert time.monotonic() < deadline, f"no {name}"
        time.sleep(0.005)
    return kept[0]


def kill_one_at_work(out: Path, parent: int) -> threading.Thread:
    """Kill, once, the first process that keeps a round, found by the lock of its experiment."""

    def watch() -> None:
        key = wait_for(out, "run.json").parents[1].name.rpartition("-")[2]
        found = [pid for pid in descendants(parent) if f"{key}.lock" in open_files(pid)]
        wait_for(out, "history.json", key)
        os.kill(found[0], signal.SIGKILL)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
@LINUX
@pytest.mark.usefixtures("quick_starts")
def test_two_workers_of_which_one_is_killed_make_the_tables_of_one_process(
    arguments, serial_run: Path, tmp_path: Path, capsys
) -> None:
    killer = kill_one_at_work(tmp_path, os.getpid())
    assert main(arguments(tmp_path, "--workers", "2")) == 0
    killer.join(timeout=1)
    assert not killer.is_alive()
    told = " ".join(capsys.readouterr().out.split())
    assert "its process died and is begun again" in told
    assert tables(tmp_path) == tables(serial_run)
    threads = {
        read_result(path).provenance.machine["threads"]
        for path in tmp_path.glob("cells/**/result.json")
    }
    assert threads == {1}


@pytest.mark.slow
@LINUX
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_a_ray_cluster_of_which_a_worker_is_killed_makes_the_tables_of_one_process(
    arguments, serial_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default 15: starved beside other tests
    run = start(arguments(tmp_path, "--ray", "auto"), tmp_path)
    killer = kill_one_at_work(tmp_path, run.pid)
    run.join(timeout=540)  # on a busy machine; alone it takes less than one
    run.kill()
    assert run.exitcode == 0
    killer.join(timeout=1)
    assert not killer.is_alive()
    assert tables(tmp_path) == tables(serial_run)
    assert not list(tmp_path.glob(".driver-*"))


@pytest.mark.slow
@LINUX
def test_workers_end_with_the_process_that_started_them(arguments, tmp_path: Path) -> None:
    run = start([*arguments(tmp_path, "--workers", "2"), "max_steps=100000"], tmp_path)
    try:
        wait_for(tmp_path, "history.json")
        workers = descendants(run.pid)
    finally:
        run.kill()
        run.join()
    assert workers
    deadline = time.monotonic() + 60
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.usefixtures("quick_starts")
def test_an_experiment_whose_process_dies_every_time_is_given_up(
    experiments, tmp_path: Path
) -> None:
    work = Deadly(RunOptions(out=tmp_path, device="cpu"))
    events = list(local_processes(work, experiments[:1], count=1, attempts=2))
    assert [event.kind for event in events] == ["started", "retried", "ended"]
    assert events[-1].result is None
    assert "its process died 2 times" in events[-1].error


def test_a_machine_that_shares_no_disk_sends_the_files_of_its_experiment(
    experiments, serial_run: Path, tmp_path: Path
) -> None:
    work = Attempt(RunOptions(out=tmp_path, device="cpu", threads=1))
    delivery = ray_cluster.do(work, experiments[0], tmp_path / "no-such-mark")
    assert not list(tmp_path.iterdir())
    assert {"result.json", "pictures.npz", "split.json", "model.safetensors"} < set(delivery.files)
    ray_cluster.write_files(delivery.files, experiments[0].folder(tmp_path))
    there, here = (
        finished_result(experiments[0], tmp_path),
        finished_result(experiments[0], serial_run),
    )
    assert there.scores == here.scores
    (tmp_path / "mark").touch()
    assert ray_cluster.do(work, experiments[0], tmp_path / "mark").files == {}


def test_experiments_that_fit_on_no_machine_are_refused() -> None:
    machines = [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}]
    ray_cluster.check_fits({"CPU": 2.0, "GPU": 0.5}, machines)
    with pytest.raises(OptionError, match="4 CPUs and 1 GPUs, which no machine"):
        ray_cluster.check_fits({"CPU": 4.0, "GPU": 1.0}, machines)
    assert ray_cluster.capacity({"CPU": 2.0, "GPU": 0.5}, {"CPU": 16.0, "GPU": 1.0}) == 2
    assert ray_cluster.capacity({"CPU": 2.0, "GPU": 0.0}, {"CPU": 16.0}) == 8


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (["--workers", "0"], "--workers must be an integer of at least 1, not 0"),
        (["--threads", "-1"], "--threads must be an integer of at least 1, not -1"),
        (["--workers", "2", "--devices", "2"], "--workers and --devices do not go together"),
        (["--gpus-per-experiment", "0.5"], "comes with --ray"),
        (
            ["--ray", "auto", "--gpus-per-experiment", "1.5"],
            "a fraction of one GPU, or a whole number",
        ),
        (["--devices", "99"], "devices=99 needs a batch of at least 99 images"),
    ],
)
def test_a_scale_that_makes_no_sense_is_one_line(choice, told, arguments, tmp_path, capsys) -> None:
    assert main(arguments(tmp_path, *choice)) == 2
    captured = capsys.readouterr().err
    assert told in captured
    assert captured.count("\n") == 1


def write_rounds(experiment, out: Path, steps: int, seconds: float) -> None:
    path = experiment.folder(out) / "training" / "history.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"step": steps, "seconds": seconds, "validation/loss": 1.25}]))


def test_the_time_left_is_that_of_the_steps_left_at_the_pace_of_experiments_alike(
    experiments, tmp_path
):
    first, second, _ = experiments
    assert estimate.kind(first) == estimate.kind(second)
    assert first.key != second.key
    assert (
        estimate.seconds_left(
            experiments, tmp_path, estimate.step_times(experiments, tmp_path), at_once=1
        )
        is None
    )
    write_rounds(first, tmp_path, steps=20, seconds=10.0)
    known = estimate.step_times(experiments, tmp_path)
    assert known == {estimate.kind(first): 0.5}
    assert estimate.seconds_left(experiments, tmp_path, known, at_once=1) == (80 + 100) * 0.5
    # two at once: not before the longer one is over
    assert estimate.seconds_left(experiments, tmp_path, known, at_once=2) == 100 * 0.5


def test_the_view_shows_what_runs_and_how_far_it_is(experiments, tmp_path: Path) -> None:
    write_rounds(experiments[0], tmp_path, steps=20, seconds=10.0)
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    progress = Progress(console, tmp_path, experiments)
    progress.update(Event("started", experiments[0]))
    progress.update(Event("started", experiments[1]))
    progress.update(Event("ended", experiments[2], error="it failed"))
    with console.capture() as capture:
        console.print(progress)
    told = capture.get()
    assert "3 experiments: 1 failed, 2 running, 0 waiting · at most 50 s left" in told
    assert "step 20/100, round 1, validation 1.25" in told
    assert "step 0/100, round 0" in told


@pytest.mark.usefixtures("quick_starts")
def test_an_estimate_is_measured_and_leaves_nothing(arguments, tmp_path: Path, capsys) -> None:
    assert main(arguments(tmp_path / "out", "--estimate")) == 0
    told = capsys.readouterr().out
    assert "GiB" in told
    assert "3 to run, 0 finished; at most" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick_starts")
def test_an_estimate_without_data_says_so(arguments, tmp_path: Path, capsys) -> None:
    (tmp_path / "data").mkdir()
    more = ["--data-root", str(tmp_path / "data"), "--estimate", "--datasets", "lidc"]
    assert main(arguments(tmp_path / "out", *more)) == 0
    told = capsys.readouterr().out
    assert "0 to run, 0 finished, 3 without data" in told
    assert "not run: lidc: " in told


@pytest.mark.usefixtures("quick_starts")
def test_a_plan_packs_nothing_and_an_estimate_packs_what_the_run_then_reads(
    arguments, tmp_path: Path, capsys
) -> None:
    folder, cache = tmp_path / "data", tmp_path / "cache"
    write_folder(folder)
    more = ["--datasets", "folder", "--data-root", str(folder)]
    assert main(arguments(tmp_path / "out", *more, "--dry-run")) == 0
    assert "3 to run, 0 finished" in capsys.readouterr().out
    assert not list(cache.glob("folder-*/*"))
    assert main(arguments(tmp_path / "out", *more, "--estimate")) == 0
    assert "3 to run, 0 finished; at most" in capsys.readouterr().out
    (packed,) = cache.glob("folder-*/meta.json")
    made = packed.stat().st_mtime_ns
    assert main(arguments(tmp_path / "out", *more, "--dry-run")) == 0
    assert main(arguments(tmp_path / "out", *more)) == 0
    assert packed.stat().st_mtime_ns == made
    assert main(arguments(tmp_path / "out", *more, "--dry-run")) == 0
    assert "0 to run, 3 finished" in capsys.readouterr().out


def write_folder(root: Path) -> None:
    for number in range(12):
        rows, columns = np.mgrid[:16, :16]
        for annotator in range(2):
            disc = (rows - 8) ** 2 + (columns - 6 - annotator) ** 2 < number + 4
            for kind, name, values in (
                ("images", f"{number}.png", 200 * disc),
                ("masks", f"{number}/{annotator}.png", disc),
            ):
                path = root / kind / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(path)


def test_started_experiments_come_in_the_order_of_the_plan(experiments, tmp_path: Path) -> None:
    events = list(
        serial(Attempt(RunOptions(out=tmp_path, device="cpu", threads=1)), experiments[2:])
    )
    assert events[0].kind == "started"
    assert events[1].result.finished
