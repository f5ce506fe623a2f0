"""The command as a user runs it, on real experiments that are tiny."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.jobs.results import Result, read_result, write_result
from benchmarks.run import main
from probseg.datasets.splits import Split
from probseg.training.checkpoints import RunCheckpoint

ONE = ["--datasets", "ambiguous-shapes", "--models", "punet", "--baselines"]


def command(suite: Path, out: Path, *more: str) -> list[str]:
    start = ["--suite", str(suite), "--profile", "quick", "--device", "cpu", "--out", str(out)]
    return [*start, *more]


@pytest.fixture
def one_experiment(suite_file: Path, tmp_path: Path):
    """Run one trained experiment; more arguments may change it."""

    def run(*more: str, out: Path = tmp_path) -> int:
        return main(command(suite_file, out, *ONE, *more))

    return run


@pytest.fixture(scope="module")
def kept_experiment(suite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of that experiment; tests must not change it."""
    out = tmp_path_factory.mktemp("experiment")
    assert main(command(suite_file, out, *ONE)) == 0
    return out


@pytest.fixture
def ran(kept_experiment: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(kept_experiment, tmp_path, dirs_exist_ok=True)


def results(out: Path) -> dict[Path, Result]:
    return {path: read_result(path) for path in out.glob("cells/**/result.json")}


def which(result: Result) -> tuple[str, int]:
    return result.experiment.row, result.experiment.fold


def test_a_run_leaves_results_tables_and_pictures(finished_run: Path) -> None:
    done = results(finished_run)
    experiments = sorted(which(r) for r in done.values() if r.training)
    assert experiments == [("csae", 0), ("csae", 1), ("punet", 0), ("punet", 1)]
    assert len(done) == 4 + 3
    names = {path.name for path in finished_run.iterdir()} - {"cells"}
    sheets = {f"samples-ambiguous-shapes-{n}.png" for n in range(1, 4)}
    statistics = {"statistics.md", "paired-tests.csv", "correlations.csv"}
    assert names == {
        "run.json",
        "table.md",
        "table.csv",
        "gini.png",
        "loss.png",
        "report.html",
        *statistics,
        *sheets,
    }
    text = (finished_run / "table.md").read_text()
    rows = (
        *("punet", "punet (stratified samples)", "csae (projected prior)"),
        *("always-empty", "one-annotator", "annotators"),
    )
    assert all(f"| {row} |" in text for row in rows)
    assert "synthetic shapes" in text
    assert "Folds 0, 1" in text


def test_a_result_says_everything_about_its_experiment(finished_run: Path) -> None:
    (result,) = (r for r in results(finished_run).values() if which(r) == ("csae", 1))
    assert result.training.spec["divergence"]["samples"] == 3
    assert result.training.spec["in_channels"] == 1
    assert result.experiment.training["max_steps"] == result.training.steps == 4
    assert [record["step"] for record in result.history] == [2, 4]
    assert all(0 <= record["prior/gini"] <= 0.5 for record in result.history)
    assert set(result.scores) == {"base", "projected"}
    assert {len(v) for v in result.scores["base"].values()} == {5}
    assert len(set(result.images.group)) == 5
    (punet,) = (r for r in results(finished_run).values() if which(r) == ("punet", 1))
    assert set(punet.scores) == {"base", "stratified"}
    entropies = [punet.scores[variant]["w-cross-entropy"] for variant in ("base", "stratified")]
    assert entropies[0] != entropies[1]
    assert result.provenance.machine["device"] == "cpu"


def test_folds_share_the_test_images(finished_run: Path) -> None:
    shown = {tuple(r.images.index) for r in results(finished_run).values()}
    assert len(shown) == 1


def test_the_split_is_kept_beside_the_result(finished_run: Path) -> None:
    for path, result in results(finished_run).items():
        part = Split.from_json((path.parent / "split.json").read_text())
        assert len(part.train) == result.data.train
        assert set(result.images.index) <= set(part.test)
        assert part.fold == (result.experiment.fold or 0)


def test_finished_experiments_are_kept(one_experiment, ran: Path, capsys) -> None:
    ((path, first),) = results(ran).items()
    table, time = (ran / "table.csv").read_bytes(), path.stat().st_mtime_ns
    assert one_experiment() == 0
    assert path.stat().st_mtime_ns == time
    assert results(ran)[path] == first
    assert (ran / "table.csv").read_bytes() == table
    assert "kept" in capsys.readouterr().out


def test_changed_settings_make_another_experiment_and_the_old_one_stays(
    one_experiment, ran: Path
) -> None:
    (before,) = results(ran)
    assert one_experiment("--set", "beta=3", "max_steps=2") == 0
    after = results(ran)
    assert len(after) == 2
    assert before in after
    (new,) = set(after) - {before}
    assert after[new].training.spec["beta"] == 3
    # the table is of what was asked for last
    lines = (ran / "table.csv").read_text().splitlines()
    ged, _ = (line for line in lines if ",ged," in line)  # of independent and stratified samples
    assert float(ged.split(",")[3]) == after[new].means["base"]["ged"]


def test_an_interrupted_run_goes_on_to_the_very_same_numbers(
    one_experiment, kept_experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    whole, broken = kept_experiment, tmp_path / "broken"
    record = RunCheckpoint.on_train_epoch_end

    def interrupt(self, trainer, module) -> None:
        record(self, trainer, module)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpoint, "on_train_epoch_end", interrupt)
        assert one_experiment(out=broken) == 130
    told = capsys.readouterr().err.strip()
    assert told.splitlines()[-1] == "interrupted; the same command goes on from here"
    assert not results(broken)
    assert main_dry(one_experiment, broken, capsys).count("to resume") == 1
    assert one_experiment(out=broken) == 0
    (one,), (other,) = results(whole).values(), results(broken).values()
    assert one.scores == other.scores
    assert [r["step"] for r in other.history] == [2, 4]
    assert (whole / "table.csv").read_bytes() == (broken / "table.csv").read_bytes()


def main_dry(one_experiment, out: Path, capsys) -> str:
    assert one_experiment("--dry-run", out=out) == 0
    return capsys.readouterr().out


def test_a_corrupt_checkpoint_is_set_aside_and_training_begins_anew(
    one_experiment, ran: Path, capsys
) -> None:
    ((path, first),) = results(ran).items()
    path.unlink()
    checkpoint = path.parent / "training" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    assert one_experiment() == 0
    assert results(ran)[path].scores == first.scores
    assert (path.parent / "training-set-aside-1" / "last.ckpt").stat().st_size == 5000
    assert "last.ckpt cannot be read" in capsys.readouterr().out


def test_results_on_other_data_are_set_aside(one_experiment, ran: Path, capsys) -> None:
    (path,) = results(ran)
    result = read_result(path)
    write_result(path, replace(result, data=replace(result.data, fingerprint="feedbeef00")))
    assert one_experiment("--dry-run") == 0
    assert "1 to run, 0 finished" in capsys.readouterr().out
    assert one_experiment() == 0
    assert read_result(path).data.fingerprint != "feedbeef00"
    assert len(results(ran)) == 1
    aside = path.parent.with_name(f"{path.parent.name}-set-aside-1") / "result-set-aside-1.json"
    assert read_result(aside).data.fingerprint == "feedbeef00"


def test_a_failed_experiment_is_recorded_and_the_rest_goes_on(
    suite_file: Path, tmp_path: Path, capsys
) -> None:
    rows = ["--models", "broken", "--baselines", "always-empty"]
    choice = ["--datasets", "ambiguous-shapes", *rows]
    assert main(command(suite_file, tmp_path, *choice)) == 1
    by_row = {r.experiment.row: r for r in results(tmp_path).values()}
    assert by_row["always-empty"].status == "finished"
    assert by_row["broken"].status == "failed"
    assert "kl_on must be one of" in by_row["broken"].error
    told = capsys.readouterr().out
    assert "failed: ambiguous-shapes · broken" in told
    assert "Traceback" not in told


def test_missing_data_is_listed_with_the_remedy_and_the_rest_runs(
    suite_file: Path, tmp_path: Path, capsys
) -> None:
    choice = ["--datasets", "lidc", "ambiguous-shapes", "--models", "always-empty", "--baselines"]
    assert main(command(suite_file, tmp_path, *choice, "--data-root", str(tmp_path))) == 0
    told = capsys.readouterr().out
    assert "not run: lidc" in told
    assert "LIDC-IDRI-XXXX" in told
    assert len(results(tmp_path)) == 1


def test_all_on_a_fresh_machine_runs_what_is_there_and_says_how_to_run_the_rest(
    suite_file: Path, tmp_path: Path, capsys
) -> None:
    suite = tmp_path / "suite.toml"
    chosen = 'datasets = ["lidc", "qubiq-kidney", "ambiguous-shapes"]\nmodels = ["always-empty"]'
    suite.write_text(f'extends = "{suite_file}"\n[all]\n{chosen}\nbaselines = ["annotators"]\n')
    run = command(suite, tmp_path / "out", "--all")
    assert main([*run, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "2 to run, 0 finished, 4 without data" in told
    assert not (tmp_path / "out").exists()
    assert main(run) == 0
    told = capsys.readouterr().out
    assert len(results(tmp_path / "out")) == 2
    assert "not run, as their data are not here: lidc, qubiq-kidney" in told
    assert "with --data-root DIR" in told
    assert main([*run, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "0 to run, 2 finished, 4 without data" in told


@pytest.mark.parametrize("how", ["--dry-run", "--estimate"])
def test_ctrl_c_ends_a_plan_in_one_line(
    one_experiment, how: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.execution.remaining.dataset_of", interrupt)
    assert one_experiment(how) == 130
    assert capsys.readouterr().err == "\ninterrupted; the same command begins anew\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "say what to run"),
        (["--datasets", "contour"], "did you mean 'contours'"),
        (["--all", "--models", "cse"], "did you mean 'csae'"),
        (["--all", "--baselines", "always-emty"], "did you mean 'always-empty'"),
        (["--all", "--folds", "7"], "--folds must be one of 0, 1, 2, not 7"),
        (["--all", "--folds", "one"], "invalid int value: 'one'"),
        (["--all", "--seed", "-1"], "at least 0"),
        (["--all", "--suite", "contxt"], "did you mean 'context'"),
        (["--all", "--suite", "none.toml"], "cannot read the suite none.toml"),
        (["--all", "--set", "backbone=unett"], "did you mean 'unet'"),
        (["--all", "--profile", "quik"], "did you mean 'quick'"),
        (["--all", "--data-root", "/no/such/folder"], "--data-root /no/such/folder does not exist"),
        (["--all", "--device", "gpu"], "--device must be one of auto, cpu"),
        (["--all", "--set", "max_step=3"], "did you mean 'max_steps'"),
        (["--all", "--set", "max_steps"], "--set takes KEY=VALUE"),
        (["--all", "--set", "annotator=stapel"], "did you mean 'staple'"),
        (["--all", "--out", __file__], "is a file"),
        (["--al", "--nonsense"], "no option is called '--nonsense'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, told, capsys) -> None:
    try:
        status = main(arguments)
    except SystemExit as left:  # what argparse itself finds
        status = left.code
    assert status == 2
    captured = capsys.readouterr().err
    assert told in captured
    assert captured.count("\n") == 1


def test_what_there_is_to_run_is_listed(suite_file: Path, capsys) -> None:
    assert main(["--list", "--suite", "latents"]) == 0
    told = capsys.readouterr().out
    for name in ("divergence", "csae-latents-64*", "csae-own ", "paper", "qubiq-prostate-2"):
        assert f"  {name}" in told or f", {name}" in told
    assert "csae-own*" not in told  # a row of the main suite, but not of this one's --all
    assert main(["--list", "--suite", str(suite_file)]) == 0
    assert "broken" in capsys.readouterr().out


def test_an_absent_device_is_refused_before_anything_runs(suite_file, tmp_path, capsys) -> None:
    choice = ["--datasets", "ambiguous-shapes", "--device", "cuda:99"]
    assert main(command(suite_file, tmp_path, *choice)) == 2
    assert "cuda:99" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_mistakes_and_the_plan_import_no_torch(suite_file: Path, tmp_path: Path) -> None:
    plan = command(suite_file, tmp_path, "--datasets", "contours", "lidc", "--dry-run")
    script = f"""
import sys
from benchmarks.run import main
for arguments in (["--help"], ["--list"], {plan!r}, ["--datasets", "contour", "--dry-run"]):
    try:
        main(arguments)
    except SystemExit:
        pass
assert "torch" not in sys.modules
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "10 experiments" in done.stdout
    assert "5 to run, 0 finished, 5 without data" in done.stdout
