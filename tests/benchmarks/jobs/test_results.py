"""Results: written whole, checked when read, never mixed."""

import json
import resource
import signal
from pathlib import Path

import pytest

from benchmarks.jobs.cells import Cell, plan
from benchmarks.jobs.results import (
    ResultError,
    digest,
    finished,
    make_room,
    read_result,
    result_path,
    write_result,
)
from benchmarks.suite.definition import read_suite
from benchmarks.suite.validation import ChoiceError
from probseg.utils.atomic_files import WriteError


@pytest.fixture
def cell():
    suite = read_suite()
    choice = {"datasets": ["contours"], "rows": ["punet"], "folds": [0], "seeds": [0]}
    return plan(suite, suite.profiles["quick"], **choice)[0]


@pytest.fixture
def result(cell):
    return {
        "schema": 2,
        "status": "finished",
        "key": cell.key,
        "config": cell.config,
        "error": None,
        "data": {
            "fingerprint": "ab12",
            "provenance": "made up for a test",
            "split": "by patient",
            "train": 8,
            "validation": 4,
            "test": 2,
        },
        "provenance": {"versions": {}, "git": {"revision": None, "dirty": None}, "machine": {}},
        "timings": {"wall_s": 1.0},
        "training": None,
        "history": [{"step": 5, "prior/gini": 0.25}],
        "images": {"index": [3, 7], "group": ["p1", "p2"]},
        "scores": {"base": {"ged": [0.5, float("nan")]}},
        "means": {"base": {"ged": 0.5}},
    }


def test_what_is_written_is_read_with_null_for_what_is_undefined(result, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.json"
    written = write_result(path, result)
    assert read_result(path) == written
    assert written["scores"]["base"]["ged"] == [0.5, None]
    assert [child.name for child in path.parent.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": 1}, "has schema 1, this code reads 2"),
        ({"key": "00000000"}, "is not that of its config"),
        ({"images": {"index": [3], "group": ["p1"]}}, "not one per image"),
        ({"status": "perhaps"}, "'perhaps' is none of"),
        ({"error": "but finished"}, "error"),
        ({"extra": 1}, "unknown key 'extra'"),
    ],
)
def test_a_result_at_odds_with_the_schema_or_itself_is_refused(
    result, tmp_path: Path, change, told
) -> None:
    path = tmp_path / "result.json"
    changed = {**json.loads(json.dumps(result).replace("NaN", "null")), **change}
    path.write_text(json.dumps({**changed, "digest": digest(changed)}))
    with pytest.raises(ResultError, match=told):
        read_result(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"schema": 2, "means": NaN}', "NaN is no JSON"),
        ("[" * 10**5, "recursion"),
        ("[2]", "has schema None"),
        ("\xff", "cannot read the result"),
    ],
)
def test_what_is_no_result_is_named(tmp_path: Path, content, told) -> None:
    path = tmp_path / "result.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ResultError, match=told):
        read_result(path)


def test_an_altered_number_is_found(result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    path.write_text(path.read_text().replace("0.25", "0.24"))
    with pytest.raises(ResultError, match="was damaged or altered"):
        read_result(path)


def test_writing_checks_too(result, tmp_path: Path) -> None:
    with pytest.raises(ChoiceError, match="key"):
        write_result(tmp_path / "result.json", {**result, "key": "x"})
    assert not list(tmp_path.iterdir())


def test_a_truncated_result_is_named_and_set_aside_not_deleted(
    cell, result, tmp_path: Path, caplog
) -> None:
    path = result_path(cell, tmp_path)
    write_result(path, result)
    assert finished(cell, tmp_path) is not None
    for _ in range(2):
        path.write_text(path.read_text()[:-40] if path.exists() else "{")
        assert finished(cell, tmp_path) is None
        make_room(cell, tmp_path, "ab12")
    aside = {child.name for child in path.parent.iterdir()}
    assert aside == {"result-set-aside-1.json", "result-set-aside-2.json"}
    assert caplog.text.count(f"cannot read the result {path}") == 2


def test_a_result_of_another_cell_is_not_taken(cell, result, tmp_path: Path) -> None:
    other = Cell({**cell.config, "seed": 1})
    write_result(result_path(cell, tmp_path), {**result, "key": other.key, "config": other.config})
    assert finished(cell, tmp_path) is None


def test_a_failed_result_counts_as_not_done(cell, result, tmp_path: Path) -> None:
    write_result(result_path(cell, tmp_path), {**result, "status": "failed", "error": "because"})
    assert finished(cell, tmp_path) is None


def test_a_full_disk_leaves_the_old_result(cell, result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*result\.json"):
            write_result(path, {**result, "data": {**result["data"], "train": 9}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["result.json"]
