"""The command for a few minutes on a GPU: its time, what it keeps, and the page that it writes."""

import json
import random
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from benchmarks.gpu import kit
from benchmarks.gpu.__main__ import Run, RunOptions, _wait, main, make_parser
from benchmarks.gpu.parts import PARTS, TOTAL, PartResults, read_results
from benchmarks.gpu.report import summary

ROOT = Path(__file__).parents[3]


def run(tmp_path, *arguments):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    return Run(RunOptions(**vars(make_parser().parse_args(["--out", str(out), *arguments]))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sampling", "step"], "no part is called 'step'"),
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


@pytest.mark.parametrize("minutes", [4, 8, 20])
def test_the_training_takes_what_the_others_leave(tmp_path, minutes):
    running = run(tmp_path, "--minutes", str(minutes))
    names = list(PARTS)
    seconds = running._seconds("train", names[names.index("train") + 1 :])
    scores = PARTS["scores"].seconds * min(1, minutes * 60 / TOTAL)
    assert seconds == pytest.approx(minutes * 60 - scores, abs=2)
    assert all(
        running._seconds(name, ()) <= PARTS[name].seconds for name in names if name != "train"
    )


def test_no_part_begins_without_time(tmp_path, capsys):
    running = run(tmp_path, "--minutes", "0.01", "environment")
    assert running.run() == 0
    assert "environment: no time is left" in capsys.readouterr().out


def test_a_finished_part_is_kept_and_a_training_goes_on(tmp_path, capsys, monkeypatch):
    running = run(tmp_path)
    for name in PARTS:
        PartResults(running.out, name)["finished"] = True
    begun = []
    monkeypatch.setattr(running, "_run_part", lambda name, seconds: begun.append(name) or True)
    assert running.run() == 0
    assert begun == ["train", "scores"]
    assert capsys.readouterr().out.count(": kept") == len(PARTS) - 2


def test_a_part_that_outlasts_its_time_is_ended_with_all_it_started():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        began = time.monotonic()
        assert _wait(process, 1) is None
        assert time.monotonic() - began < 15
        assert process.poll() is not None


def test_a_part_really_runs_and_leaves_its_page(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--out", str(tmp_path)]
    done = subprocess.run([*command, "environment"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    written = read_results(tmp_path, "environment")
    assert written["finished"]
    assert written["measured"]["fp32"] > 0
    page = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "A rehearsal" in page
    assert written["provenance"]["versions"]["torch"] in page


@pytest.mark.slow
def test_a_part_that_fails_is_named_and_costs_the_others_nothing(tmp_path, capfd, monkeypatch):
    running = run(tmp_path, "--small", "scores", "environment")
    assert running.run() == 1  # nothing was trained
    assert "no model was trained yet" in capfd.readouterr().out
    assert read_results(running.out, "environment")["finished"]


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


def test_a_run_that_is_ended_takes_its_part_along(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--out", str(tmp_path), "steps"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert "steps" in process.stdout.readline()
        began = time.monotonic()
        while not (children := _children(process.pid)) and time.monotonic() - began < 30:
            time.sleep(0.1)
        time.sleep(1)  # the part has begun, and the command waits for it
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


def unpack(running):
    process = running._begin_to_unpack()
    running._finish_unpacking(process)
    running._finish_unpacking(process)  # for the next part that needs the data


def test_data_are_unpacked_once_and_found(tmp_path, parts_of_lidc):
    kit, content = parts_of_lidc
    running = run(tmp_path, "--kit", str(kit))
    (kit / "incoming").mkdir()  # of a run that was interrupted
    unpack(running)
    assert running._data_root() == kit / "data" / "lidc-0123"
    assert (running._data_root() / "images.npy").read_bytes() == content
    assert running._begin_to_unpack() is None


@pytest.mark.parametrize("part", range(5))
def test_a_missing_part_is_an_error(tmp_path, parts_of_lidc, part, capsys):
    kit, _ = parts_of_lidc
    (kit / f"lidc.tar.xz.{part:03}").unlink()
    running = run(tmp_path, "--kit", str(kit))
    unpack(running)
    assert running._data_root() is None
    assert "is missing or damaged" in capsys.readouterr().out


def test_a_kit_without_data_says_so(tmp_path, capsys):
    (tmp_path / "kit").mkdir()
    assert run(tmp_path, "--kit", str(tmp_path / "kit"))._begin_to_unpack() is None
    assert "there is no lidc.tar.xz.000" in capsys.readouterr().out


def test_a_file_is_whole_at_any_moment(tmp_path):
    results = PartResults(tmp_path, "steps")
    results["a"] = 1
    results["b"] = {"c": [1, 2]}
    assert json.loads((tmp_path / "steps.json").read_text()) == {"a": 1, "b": {"c": [1, 2]}}
    assert [path.name for path in tmp_path.iterdir()] == ["steps.json"]
    assert PartResults(tmp_path, "steps").has("b")
    assert not PartResults(tmp_path, "steps", keep=False).has("b")


def test_what_failed_or_was_measured_on_another_card_is_measured_again(tmp_path):
    results = PartResults(tmp_path, "steps", device="H100")
    results["32/textbook"] = {"seconds": 1.0}
    results["32/csae, eager"] = {"error": "out of memory"}
    again = PartResults(tmp_path, "steps", device="H100")
    assert again.has("32/textbook") and not again.has("32/csae, eager")
    assert not PartResults(tmp_path, "steps", device="H200").has("32/textbook")


def test_the_page_has_ratios_to_the_textbook_and_what_failed(tmp_path):
    results = PartResults(tmp_path, "steps")
    results["size"] = 128
    row = {"lowest": 0.01, "highest": 0.03, "calls": 7, "peak_mb": 1234.0}
    results["32/textbook"] = row | {"seconds": 0.03}
    results["32/csae, eager"] = row | {"seconds": 0.012}
    results["256/csae, eager"] = {"error": "RuntimeError: no"}
    page = summary(tmp_path)
    assert "| csae, eager | 12.00 | 10.00 to 30.00 | 2.50 | 1,234 |" in page
    assert "| csae, eager | – | RuntimeError: no |  |  |" in page


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
