"""Results: written whole, checked when read, never mixed."""

import gzip
import json
import re
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.jobs.plan import plan_experiments
from benchmarks.jobs.provenance import GitState, Provenance
from benchmarks.jobs.results import (
    DataSummary,
    Result,
    ResultError,
    TestImages,
    Timings,
    digest,
    finished_result,
    read_result,
    result_path,
    set_aside_unusable,
    write_result,
)
from benchmarks.suite.definition import read_suite
from probseg.utils.atomic_files import WriteError

COMMITTED = Path(__file__).parents[3] / "benchmarks" / "results"


@pytest.fixture
def experiment():
    suite = read_suite()
    choice = {"datasets": ["contours"], "rows": ["punet"], "folds": [0], "seeds": [0]}
    return plan_experiments(suite, suite.profiles["quick"], **choice)[0]


@pytest.fixture
def result(experiment):
    data = DataSummary("ab12", "made up for a test", "by patient", train=8, validation=4, test=2)
    return Result(
        experiment=experiment,
        provenance=Provenance({}, GitState(None, None), {}),
        data=data,
        timings=Timings(wall_s=1.0),
        history=[{"step": 5, "prior/gini": 0.25}],
        images=TestImages([3, 7], ["p1", "p2"]),
        scores={"base": {"ged": [0.5, float("nan")]}},
        means={"base": {"ged": 0.5}},
    )


def test_what_is_written_is_read_with_null_for_what_is_undefined(result, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    written = write_result(path, result)
    assert read_result(path) == written
    assert written.scores["base"]["ged"] == [0.5, None]
    assert [child.name for child in path.parent.iterdir()] == ["result.json"]


def test_committed_results_keep_their_bytes() -> None:
    paths = list(COMMITTED.rglob("result.json.gz"))
    assert len(paths) > 40
    for path in paths:
        result, text = read_result(path), gzip.decompress(path.read_bytes()).decode()
        assert json.dumps(result.to_json(), separators=(",", ":")) == text
        assert result.experiment.folder(Path()).name == path.parent.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 1}, "has schema 1, this code reads 2"),
        ({"key": "00000000"}, "is not that of its config"),
        ({"images": {"index": [3], "group": ["p1"]}}, "not one per image"),
        ({"status": "perhaps"}, "status 'perhaps' does not fit"),
        ({"error": "but finished"}, "error"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"images": {"indx": [3]}}, "images: unknown key 'indx'; did you mean 'index'"),
        ({"data": {"fingerprint": "a"}}, "data lacks provenance, split, test, train, validation"),
        ({"timings": {"wall_s": "long"}}, "timings: wall_s must be float | None, not 'long'"),
    ],
)
def test_a_result_at_odds_with_the_schema_or_itself_is_refused(
    result, tmp_path: Path, change, message
) -> None:
    path = tmp_path / "result.json"
    changed = {**result.to_json(), **change}
    path.write_text(json.dumps({**changed, "digest": digest(changed)}))
    with pytest.raises(ResultError, match=re.escape(message)):
        read_result(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema": 2, "means": NaN}', "NaN is no JSON"),
        ("[" * 10**5, "recursion"),
        ("[2]", "has schema None"),
        ("\xff", "cannot read the result"),
    ],
)
def test_what_is_no_result_is_named(tmp_path: Path, content, message) -> None:
    path = tmp_path / "result.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ResultError, match=message):
        read_result(path)


def test_an_altered_number_is_found(result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    path.write_text(path.read_text().replace("0.25", "0.24"))
    with pytest.raises(ResultError, match="was damaged or altered"):
        read_result(path)


def test_writing_checks_too(result, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="not one per image"):
        write_result(tmp_path / "result.json", replace(result, images=TestImages([3], ["p1"])))
    assert not list(tmp_path.iterdir())


def test_a_truncated_result_is_named_and_set_aside_not_deleted(
    experiment, result, tmp_path: Path, caplog
) -> None:
    path = result_path(experiment, tmp_path)
    write_result(path, result)
    assert finished_result(experiment, tmp_path) is not None
    for _ in range(2):
        path.write_text(path.read_text()[:-40] if path.exists() else "{")
        assert finished_result(experiment, tmp_path) is None
        set_aside_unusable(experiment, tmp_path, "ab12")
    aside = {child.name for child in path.parent.iterdir()}
    assert aside == {"result-set-aside-1.json", "result-set-aside-2.json"}
    assert caplog.text.count(f"cannot read the result {path}") == 2


def test_a_result_of_another_experiment_is_not_taken(experiment, result, tmp_path: Path) -> None:
    other = replace(result, experiment=replace(experiment, seed=1))
    write_result(result_path(experiment, tmp_path), other)
    assert finished_result(experiment, tmp_path) is None


def test_a_failed_result_counts_as_not_done(experiment, result, tmp_path: Path) -> None:
    write_result(result_path(experiment, tmp_path), replace(result, error="because"))
    assert finished_result(experiment, tmp_path) is None


def test_a_full_disk_leaves_the_old_result(experiment, result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*result\.json"):
            write_result(path, replace(result, data=replace(result.data, train=9)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["result.json"]
