"""Packing for a machine without a network: parts, their manifest, and back."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import probseg
from benchmarks import pack
from benchmarks.unpack import ArchiveError, unpack

NAMES = st.text("abcdeéß日 .-_", min_size=1, max_size=12).filter(lambda name: name.strip(". "))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Ten kilobytes in parts of two."""
    (tmp_path / "content").write_bytes(bytes(range(250)) * 40)
    pack.pack([("in/content", tmp_path / "content")], tmp_path / "a.tar", 2000)
    return tmp_path / "a.tar"


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=3000), min_size=1, max_size=5),
    size=st.integers(1, 20_000),
    suffix=st.sampled_from(["tar", "tar.gz", "tar.xz"]),
)
def test_what_is_packed_comes_out(files, size, suffix, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    (tmp_path / "in").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    where = tmp_path / f"packed.{suffix}"
    parts = pack.pack([("there", tmp_path / "in")], where, max(size, 200))
    assert all(part.stat().st_size <= max(size, 200) for part in parts)
    assert unpack(where, tmp_path / "out") == len(files)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out" / "there").iterdir()}
    assert found == files


def test_parts_are_full_but_for_the_last(archive: Path) -> None:
    sizes = [part["size"] for part in json.loads(Path(f"{archive}.json").read_text())["parts"]]
    assert len(sizes) > 5
    assert set(sizes[:-1]) == {2000}
    assert 0 < sizes[-1] <= 2000


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda part: part.unlink(), "a.tar.002 (missing)"),
        (lambda part: part.write_bytes(b"?" + part.read_bytes()[1:]), "a.tar.002 (damaged)"),
        (lambda part: part.write_bytes(part.read_bytes()[:9]), "a.tar.002 (9 of 2000 bytes)"),
    ],
)
def test_a_part_that_is_not_whole_is_named_and_nothing_is_unpacked(archive, spoil, told) -> None:
    spoil(Path(f"{archive}.002"))
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, archive.parent / "out")
    assert str(caught.value).endswith(f"bring again: {told}")
    assert not (archive.parent / "out").exists()


def test_no_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"cannot read the manifest .*a\.tar\.json"):
        unpack(tmp_path / "a.tar", tmp_path)


def test_the_parts_of_a_larger_archive_before_are_gone(archive: Path) -> None:
    (archive.parent / "small").touch()
    pack.pack([("small", archive.parent / "small")], archive, 100_000)
    assert [path.name for path in archive.parent.glob("a.tar.0*")] == ["a.tar.000"]


def test_the_checkout_and_data_are_unpacked_by_the_script_beside_them(tmp_path: Path) -> None:
    root = tmp_path / "data" / "LIDC-IDRI-0001" / "nodule-0"
    import numpy as np
    from PIL import Image

    for folder in ("images", "mask-0", "mask-1", "mask-2", "mask-3"):
        (root / folder).mkdir(parents=True)
        pixels = np.full((128, 128), 255 if folder == "images" else 0, np.uint8)
        pixels[20:60, 20:60] = 255 - pixels[0, 0]
        Image.fromarray(pixels).save(root / folder / "slice-0.png")
    where = tmp_path / "carry" / "there.tar.xz"
    choice = ["--datasets", "lidc", "--data-root", str(tmp_path / "data"), "--parts", "1MB"]
    assert pack.main([str(where), *choice]) == 0
    shutil.rmtree(tmp_path / "data")
    command = [sys.executable, "-I", "unpack.py", where.name, "--into", "../there"]
    subprocess.run(command, cwd=where.parent, check=True, capture_output=True)
    there = tmp_path / "there"
    assert (there / "checkout/benchmarks/run.py").read_bytes() == (
        pack.ROOT / "benchmarks/run.py"
    ).read_bytes()
    dataset = probseg.datasets.create(
        "lidc", root=there / "data" / "lidc", cache=tmp_path / "elsewhere"
    )
    assert len(dataset) == 1
    assert dataset[0].masks[:, 30, 30].tolist() == [1, 1, 1, 1]


def test_results_come_back_without_checkpoints(tmp_path: Path, finished_run: Path) -> None:
    where = tmp_path / "back.tar.gz"
    assert pack.main([str(where), "--results", str(finished_run), "--without", "*.ckpt"]) == 0
    unpack(where, tmp_path)
    came = {path.relative_to(tmp_path / "results") for path in (tmp_path / "results").rglob("*.*")}
    went = {path.relative_to(finished_run) for path in finished_run.rglob("*.*")}
    assert went - came == {path for path in went if path.suffix == ".ckpt"}
    for path in came:
        if (finished_run / path).is_file():
            assert (tmp_path / "results" / path).read_bytes() == (finished_run / path).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--parts", "many"], "such as 60MB"),
        (["--datasets", "ldic"], "did you mean 'lidc'"),
        (["--datasets", "ambiguous-shapes"], "needs no packing"),
        (["--results", "nowhere"], "is no folder"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, told, tmp_path, capsys) -> None:
    assert pack.main([str(tmp_path / "a.tar"), *arguments]) == 2
    captured = capsys.readouterr().err
    assert told in captured
    assert captured.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("60MB", 60_000_000), ("1.5 GiB", 1_610_612_736), ("500", 500), ("2k", 2000)],
)
def test_sizes_are_read_as_people_write_them(text, size) -> None:
    assert pack.parse_size(text) == size
