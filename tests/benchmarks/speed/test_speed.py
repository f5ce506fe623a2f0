"""The speed benchmark: turns, failures, reports and the command line."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from speed_toys import Broken, Dead, Environment, Hungry, Toy, Uninstalled, Unready

from benchmarks.speed import __main__ as command
from benchmarks.speed import report
from benchmarks.speed.comparison import (
    Candidate,
    Comparison,
    Disagreement,
    Floor,
    Row,
    Settings,
    compare,
)
from benchmarks.speed.timing import Machine
from benchmarks.speed.workers import Worker, WorkloadError

MACHINE = Machine(
    {"device": "cpu", "processor": "a loom", "cores": 2, "threads": 1, "system": "none"},
    *(1e9, 2e9, 3e9),
)


def settings(rounds: int = 1) -> Settings:
    return Settings(machine=MACHINE, rounds=rounds)


def equal(ours: float, theirs: float) -> str:
    if ours != theirs:
        raise Disagreement(f"{ours} is not {theirs}")
    return "equal"


def test_candidates_take_turns_and_the_first_one_moves_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    candidates = [Candidate(name=n, make=Toy, options={"name": n, "log": log}) for n in "abc"]
    table = compare("turns", candidates, settings(rounds=3))
    runs = log.read_text().split()
    turns = [name for name, before in zip(runs, [None, *runs], strict=False) if name != before]
    assert "".join(turns) == "abc" + "abc" + "bca" + "cab"  # to warm up, then the rounds
    assert [row.name for row in table.rows] == ["a", "b", "c"]
    assert all(len(row.seconds) == 3 for row in table.rows)
    assert table.row("a").ratios == [1, 1, 1]
    b = table.row("b")
    wanted = [other / a for other, a in zip(b.seconds, table.row("a").seconds, strict=True)]
    assert b.ratios == wanted and b.ratio == statistics.median(wanted)


def test_who_lacks_a_package_is_left_out_with_the_remedy() -> None:
    kinds = (Toy, Uninstalled, Unready)
    candidates = [Candidate(name=make.__name__, make=make) for make in kinds]
    table = compare("lacking", candidates, settings())
    assert [row.name for row in table.rows] == ["Toy"]
    assert "no_such_package" in table.missing["Uninstalled"]
    assert "pip install 'probseg[peers]'" in table.missing["Uninstalled"]
    assert table.missing["Unready"] == "no compiler; install one"


@pytest.mark.parametrize(
    ("make", "message"),
    [(Broken, r"Broken failed in its process\n.*out of cheese"), (Dead, "Dead ended with 3")],
)
def test_a_workload_that_fails_ends_the_comparison(make: type[Toy], message: str) -> None:
    with pytest.raises(WorkloadError, match=f"(?s){message}"):
        compare("failing", [Candidate(name="it", make=make)], settings())


def test_candidates_that_disagree_are_named() -> None:
    candidates = [
        Candidate(name=f"number {value}", make=Toy, options={"value": value}, agree=equal)
        for value in (1.0, 2.0)
    ]
    with pytest.raises(Disagreement, match=r"number 1\.0 and number 2\.0: 1\.0 is not 2\.0"):
        compare("quarrel", candidates, settings())


def test_an_environment_is_that_process_s_alone() -> None:
    with Worker(Environment, {}, {"A_TOY": "1"}) as worker:
        assert worker.answer() == "1" and "A_TOY" not in os.environ


@pytest.mark.parametrize("child", [False, True])
def test_the_peak_is_of_the_process_or_of_one_that_it_ran(child: bool) -> None:
    with Worker(Hungry, {"megabytes": 150, "child": child}) as worker:
        worker.seconds()
        memory = worker.memory()
    assert memory["start"] < 150 < memory["peak"] < 150 + memory["start"] + 20


@pytest.fixture
def finished() -> report.Report:
    rows = [
        Row(name="ours", seconds=[1.0, 3.0, 2.0], ratios=[1.0] * 3, peak=9, start=8, agreement=""),
        Row(
            name="theirs",
            seconds=[4.0, 6.0, 9.0],
            ratios=[4.0, 2.0, 4.5],
            peak=1234,
            start=8,
            agreement="to 1e-06",
        ),
    ]
    table = Comparison(
        title="A race",
        rows=rows,
        missing={"nobody": "gone"},
        floor=Floor(seconds=0.5, why="physics"),
        notes=["A note."],
    )
    return report.Report(
        command="python -m benchmarks.speed race",
        machine=MACHINE,
        topics={"race": [table]},
        absent={"data": "there is none"},
    )


def test_the_report_says_everything(finished: report.Report, tmp_path: Path) -> None:
    report.write_report(tmp_path, finished)
    text = (tmp_path / "speed.md").read_text()
    assert "| theirs | 6.00 s | 4.00 s – 9.00 s | 4.00 (2.00–4.50) | 1,226 MB | to 1e-06 |" in text
    assert "Floor: 500 ms (physics); ours reaches 25% of it." in text
    for part in ("`python -m benchmarks.speed race`", "a loom", "A note.", "nobody (gone)"):
        assert part in text
    assert "## data\n\nNot here: there is none" in text
    data = json.loads((tmp_path / "speed.json").read_text())
    (race,) = data["topics"]["race"]
    assert race["medians"]["theirs"] == {"seconds": 6.0, "ratio": 4.0}
    assert race["rows"][1]["seconds"] == [4.0, 6.0, 9.0]
    assert data["absent"] == {"data": "there is none"} and data["machine"]["bf16"] == 2e9


def test_a_topic_without_data_fails_only_who_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "TOPICS", {"data": "the only one"})
    out = ["--small", "--out", str(tmp_path)]
    assert command.main(out) == 0
    assert "data is not here: there is no lidc_slices.zip" in capsys.readouterr().out
    assert "lidc_slices.zip" in json.loads((tmp_path / "speed.json").read_text())["absent"]["data"]
    assert command.main(["data", *out]) == 1
    assert "PROBSEG_DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sinkhron"], "no topic is called 'sinkhron'; did you mean 'sinkhorn'"),
        (["start", "--rounds", "0"], "--rounds must be an integer of at least 1, not 0"),
        (["start", "--rounds", "many"], "invalid int value"),
        (["start", "--out", "file"], "--out file is a file"),
        (["data", "--data-root", "nowhere"], "--data-root nowhere does not exist"),
        (["start", "--quick"], "no option is called '--quick'"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    try:
        status = command.main(arguments)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    err = capsys.readouterr().err
    assert status == 2 and message in err and err.count("\n") == 1


def test_help_and_mistakes_import_no_torch() -> None:
    script = """
import sys
from benchmarks.speed.__main__ import main
for arguments in (["--help"], ["sinkhron"]):
    try:
        main(arguments)
    except SystemExit:
        pass
assert "torch" not in sys.modules
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(topic in done.stdout for topic in command.TOPICS)
