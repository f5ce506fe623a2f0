"""The command for a few minutes on a GPU: its time, what it keeps, and its page."""

import json
import random
import subprocess
import sys
import time
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from benchmarks import run as run_command
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import kit
from benchmarks.gpu.__main__ import (
    Options,
    Run,
    Step,
    main,
    make_parser,
    make_steps,
    read_outcomes,
    wait_or_end,
)
from benchmarks.speed import __main__ as speed
from probseg.cli.parser import Parser

ROOT = Path(__file__).parents[3]


def run(tmp_path, *arguments):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    return Run(Options(**vars(make_parser().parse_args(["--out", str(out), *arguments]))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tests", "step"], "no step is called 'step'"),
        (["--minutes", "0"], "more than zero"),
        (["--kit", "nowhere"], "make gpu-kit"),
        (["--data-root", "nowhere"], "--data-root nowhere is no folder"),
        (["--out", "/dev/null/out"], "--out /dev/null/out cannot be written: Not a directory"),
    ],
)
def test_a_wrong_choice_is_named(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


STEPS = make_steps(Options(out=Path()))


def limits(running, names, *, used=0.0):
    """The limit of each step, where each uses a share of it."""
    steps, limits = [STEPS[name] for name in names], []
    for index, step in enumerate(steps):
        limits.append(running._limit(step, steps[index + 1 :]))
        running.end -= used * limits[-1]
    return limits


@pytest.mark.parametrize("minutes", [4, 8, 20])
def test_each_step_has_its_share_and_the_last_what_the_others_leave(tmp_path, minutes):
    shares = [step.seconds * minutes / 8 for step in STEPS.values()]
    assert sum(shares) == minutes * 60
    limited = limits(run(tmp_path, "--minutes", str(minutes)), STEPS, used=1.0)
    assert limited == pytest.approx(shares, abs=2)
    running = run(tmp_path, "--minutes", str(minutes))
    *_, last = limits(running, STEPS, used=0.5)
    assert running.end - time.monotonic() == pytest.approx(
        last / 2, abs=2
    )  # it got all that was left
    assert last > 1.5 * shares[-1]
    (alone,) = limits(run(tmp_path, "--minutes", str(minutes)), ["train-paper"])
    assert alone == pytest.approx(minutes * 60, abs=2)


def test_no_step_begins_without_time(tmp_path, capsys):
    running = run(tmp_path, "--minutes", "0.01", "environment")
    assert running.run() == 0
    assert "environment: no time is left" in capsys.readouterr().out


def test_what_is_done_is_kept_and_the_rest_goes_on(tmp_path, capsys, monkeypatch):
    running = run(tmp_path)
    outcomes = {name: {"outcome": "done", "seconds": 1} for name in STEPS}
    outcomes["tests"]["outcome"], outcomes["train-paper"]["outcome"] = "failed", "stopped"
    (running.options.out / "run.json").write_text(json.dumps(outcomes))
    for name in STEPS:
        (running.options.out / f"{name}.log").touch()
    begun = []
    monkeypatch.setattr(running, "_run_step", lambda name, *_: begun.append(name) or "done")
    assert running.run() == 0
    assert begun == ["tests", "train-paper"]
    assert capsys.readouterr().out.count(": kept") == len(STEPS) - 2


def test_a_step_that_outlasts_its_time_is_ended_with_all_it_started():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        began = time.monotonic()
        assert wait_or_end(process, 1) is None
        assert time.monotonic() - began < 15
        assert process.poll() is not None


def test_a_step_really_runs_and_leaves_its_page(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--out", str(tmp_path)]
    done = subprocess.run([*command, "environment"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = read_outcomes(tmp_path)["environment"]
    assert outcome["outcome"] == "done" and "benchmarks.gpu.environment" in outcome["command"]
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "A rehearsal" in page
    assert f'"torch": "{version("torch")}"' in page


def parsed(command, arguments):
    parser = Parser()
    command.configure(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("small", [False, True])
def test_the_commands_of_the_steps_are_valid(small):
    steps = make_steps(Options(out=Path(), small=small))
    for name in ("speed-train", "speed-sample"):
        _, module, *arguments = steps[name].arguments
        assert module == "benchmarks.speed"
        assert parsed(speed.COMMAND, arguments).gpu is not small
    for name, batch in (("train-paper", 32), ("train-quick", 16)):
        _, module, *arguments = steps[name].arguments
        assert module == "benchmarks.run"
        plan = run_command.make_plan(run_command.options_of(parsed(run_command.COMMAND, arguments)))
        assert [one.row for one in plan.experiments] == ["punet", "2p-planar", "csae"]
        training = plan.experiments[0].training
        assert (training["max_steps"], training["batch_size"]) == (
            (4, 2) if small else (1500, batch)
        )


def test_the_tests_step_runs_every_file_with_tests_for_a_gpu():
    arguments = make_steps(Options(out=Path()))["tests"].arguments
    files = {Path(one).relative_to(ROOT).as_posix() for one in arguments if one.endswith(".py")}
    assert {"tests/devices/test_gpu_models.py", "tests/devices/test_transfer.py"} <= files
    assert "tests/metrics/test_kernels.py" in files and "tests/metrics/test_ged.py" not in files


@pytest.mark.slow
def test_a_rehearsal_runs_through(tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("PROBSEG_DATA", raising=False)
    steps = ["environment", "speed-sample", "train-paper"]  # of each kind one, save the tests
    assert main(["--small", "--minutes", "30", "--out", str(tmp_path), *steps]) == 0
    outcomes = read_outcomes(tmp_path)
    assert [name for name in outcomes if name != "small"] == steps
    assert {outcomes[name]["outcome"] for name in steps} == {"done"}
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    for part in ("from the image on", "textbook", "2p-planar", "GED"):
        assert part in page
    capfd.readouterr()
    assert main(["--small", "--out", str(tmp_path), *steps]) == 0
    assert capfd.readouterr().out.count(": kept") == len(steps)


def test_a_step_that_fails_is_named_and_costs_the_others_nothing(tmp_path, capfd, monkeypatch):
    failing = {"tests": Step("to fail", 10, ["-c", "raise SystemExit('no cheese')"])}
    failing["environment"] = Step("to go well", 10, ["-c", "print('cheese')"])
    running = run(tmp_path, "--small")
    monkeypatch.setattr(command, "make_steps", lambda options: failing)
    assert running.run() == 1
    assert "no cheese" in capfd.readouterr().out
    page = (running.options.out / "summary.md").read_text()
    assert "failed after" in page and "no cheese" in page and "\ncheese" in page
    assert read_outcomes(running.options.out)["environment"]["outcome"] == "done"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_told_so():
    command = [sys.executable, "-m", "benchmarks.gpu.environment", "cuda"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no CUDA device here; --small rehearses on the CPU" in done.stderr


def test_without_a_gpu_nothing_is_measured(tmp_path, monkeypatch):
    steps = {"environment": Step("the machine", 10, ["-c", "1 / 0"]), "tests": STEPS["tests"]}
    running = run(tmp_path)
    monkeypatch.setattr(command, "make_steps", lambda options: steps)
    assert running.run() == 1
    assert "tests" not in read_outcomes(running.options.out)


def test_a_rehearsal_and_real_figures_are_kept_apart(tmp_path, capsys):
    known = ["--minutes", "0.01", "environment", "--out"]
    assert main(["--small", *known, str(tmp_path)]) == main([*known, str(tmp_path / "real")]) == 0
    for arguments, message in (
        ([*known, str(tmp_path)], "holds a rehearsal"),
        (["--small", *known, str(tmp_path / "real")], "holds real figures"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err


def test_a_run_that_is_ended_takes_its_step_along(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--out", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert "environment" in process.stdout.readline()
        began = time.monotonic()
        while not (children := _children(process.pid)) and time.monotonic() - began < 30:
            time.sleep(0.1)
        time.sleep(1)  # the step has begun, and the command waits for it
        process.terminate()
        assert process.wait(30) == 143
    assert len(children) == 1
    assert not any(_alive(child) for child in children)


def _children(number):
    listed = Path(f"/proc/{number}/task/{number}/children")
    if not listed.exists():
        pytest.skip("the system does not list a process's children")
    return [int(child) for child in listed.read_text().split()]


def _alive(number):
    return Path(f"/proc/{number}").exists()


def test_wheels_that_were_not_all_installed_are_no_site(tmp_path):
    (tmp_path / "kit" / "wheels").mkdir(parents=True)
    (tmp_path / "kit" / "wheels" / "broken-1-py3-none-any.whl").write_bytes(b"no zip")
    running = run(tmp_path, "--kit", str(tmp_path / "kit"), "environment")
    with pytest.raises(SystemExit, match="cannot install"):
        running.run()
    assert not (tmp_path / "kit" / "site").exists()


@pytest.fixture
def parts_of_lidc(tmp_path):
    """A kit with a packed folder in five parts, and what is in its only file."""
    kit, packed = tmp_path / "kit", tmp_path / "lidc-0123"
    kit.mkdir()
    packed.mkdir()
    content = random.Random(0).randbytes(10_000)
    (packed / "images.npy").write_bytes(content)
    archive = tmp_path / "archive"
    subprocess.run(["tar", "-cJf", archive, "-C", tmp_path, packed.name], check=True)
    split = ["split", "--number=5", "--numeric-suffixes", "--suffix-length=3", archive]
    subprocess.run([*split, kit / "lidc.tar.xz."], check=True)
    return kit, content


def test_data_are_unpacked_once_and_found(tmp_path, parts_of_lidc):
    kit, content = parts_of_lidc
    running = run(tmp_path, "--kit", str(kit))
    (kit / "incoming").mkdir()  # of a run that was interrupted
    (kit / "lidc.tar.xz.json").write_text("{}")  # which older kits have
    running._unpack()
    folder = kit / "data" / "lidc-0123"
    assert str(folder) in make_steps(running.options)["train-paper"].arguments
    assert (folder / "images.npy").read_bytes() == content
    (kit / "lidc.tar.xz.000").unlink()
    running._unpack()
    assert (folder / "images.npy").is_file()


@pytest.mark.parametrize("part", range(5))
def test_a_missing_part_is_an_error(tmp_path, parts_of_lidc, part, capsys):
    kit, _ = parts_of_lidc
    (kit / f"lidc.tar.xz.{part:03}").unlink()
    running = run(tmp_path, "--kit", str(kit))
    running._unpack()
    assert not (kit / "data").exists()
    assert "is missing or damaged" in capsys.readouterr().out


def test_a_kit_without_data_says_so(tmp_path, capsys):
    (tmp_path / "kit").mkdir()
    run(tmp_path, "--kit", str(tmp_path / "kit"))._unpack()
    assert "there is no lidc.tar.xz.000" in capsys.readouterr().out


def test_the_kit_brings_what_probseg_needs_and_gpu_machines_lack():
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        _name(need)
        for need in needs["dependencies"] + needs["optional-dependencies"]["bench"]
        if not need.startswith("probseg")
    }
    there = set(
        "filelock huggingface-hub jinja2 joblib lightning matplotlib numba numpy pillow rich "
        "safetensors scipy tensorboard torch torchmetrics".split()
    )
    brought = {_name(line) for line in kit.names()}
    assert declared - there <= brought
    assert not brought & there


def _name(requirement):
    return requirement.partition(">")[0].partition("=")[0].strip().lower()
