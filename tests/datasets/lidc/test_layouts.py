"""The same cases in every layout are the same data; which layout it is, is seen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lidc_written import (
    WRITERS,
    Cases,
    crops_files,
    entries,
    random_cases,
    real_cases,
    slices_files,
    write_files,
    write_pickle,
    write_zip,
)
from numpy.testing import assert_array_equal

from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.lidc import lidc
from probseg.errors import DataError, MissingDataError, OptionError


def holds(dataset: PackedDataset, cases: Cases) -> None:
    batch = dataset.batch(range(len(dataset)))
    assert list(dataset.groups) == cases.patients
    assert_array_equal(
        batch.image[:, 0].numpy(), cases.images.astype(np.float32) * np.float32(1 / 255)
    )
    assert_array_equal(batch.masks.numpy(), cases.masks)
    assert batch.present is not None and batch.present.all()
    assert dataset.skipped == []


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_same_tensors(layout: str, named: bool, tmp_path: Path) -> None:
    cases = random_cases()
    root = WRITERS[layout](tmp_path / "meine Daten ä" / "in", cases)
    dataset = lidc(root, layout=layout if named else None, cache=tmp_path / "cache")
    holds(dataset, cases)
    spacing = 0.5 if layout == "crops" else np.nan
    assert_array_equal(dataset.spacing, np.full((len(cases.images), 2), spacing, np.float32))


@pytest.mark.parametrize("layout", WRITERS)
def test_real_cases_are_the_same_in_every_layout(
    layout: str, data_root: Path, tmp_path: Path
) -> None:
    archive = data_root / "lidc_slices.zip"
    if not archive.is_file():
        pytest.skip("PROBSEG_DATA has no lidc_slices.zip")
    cases = real_cases(archive, ["LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0003"])
    assert len(cases.images) > 9 and cases.masks.any()
    holds(lidc(WRITERS[layout](tmp_path / "in", cases), cache=tmp_path / "cache"), cases)


@pytest.mark.parametrize("layout", ["crops", "slices", "pickle"])
def test_a_folder_that_holds_it_is_a_root(layout: str, tmp_path: Path) -> None:
    cases = random_cases(2)
    holder = tmp_path / "holder" / "in"
    WRITERS[layout](holder, cases)
    holds(lidc(holder if layout == "pickle" else holder.parent, cache=tmp_path / "cache"), cases)


@pytest.mark.parametrize("files", [crops_files, slices_files])
@pytest.mark.parametrize("prefix", ["", "data/LIDC crops/"])
def test_a_zip_file_is_recognised_by_its_names(files: Any, prefix: str, tmp_path: Path) -> None:
    cases = random_cases(2)
    members = {prefix + name: data for name, data in files(cases).items()}
    members["__MACOSX/train/images/P/z-1_c1.png"] = b"not of the data"
    archive = write_zip(tmp_path / "zips" / "any name.ZIP", members)
    holds(lidc(archive, cache=tmp_path / "cache"), cases)
    holds(lidc(archive.parent, cache=tmp_path / "cache"), cases)


def test_a_zip_file_is_preferred_to_its_unzipped_copy(tmp_path: Path) -> None:
    cases = random_cases(2)
    write_files(tmp_path / "in", slices_files(random_cases(1, seed=1)))
    write_zip(tmp_path / "in" / "lidc_slices.zip", slices_files(cases))
    write_zip(tmp_path / "in" / "others.zip", {"readme": b"another data set"})
    holds(lidc(tmp_path / "in", cache=tmp_path / "cache"), cases)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("size", [128, 180])
def test_crops_count_readers_from_0_or_1_and_have_any_one_size(
    first: int, size: int, tmp_path: Path
) -> None:
    cases = random_cases(3, size)
    write_files(tmp_path / "in", crops_files(cases, first))
    holds(lidc(tmp_path / "in", cache=tmp_path / "cache"), cases)


def test_two_layouts_at_one_root_need_a_name(tmp_path: Path) -> None:
    crops, slices = random_cases(2, seed=1), random_cases(3, seed=2)
    write_files(tmp_path / "in", crops_files(crops))
    write_files(tmp_path / "in", slices_files(slices))
    with pytest.raises(OptionError, match="choose with layout=") as caught:
        lidc(tmp_path / "in", cache=tmp_path / "cache")
    assert "crops: " in str(caught.value) and "slices: " in str(caught.value)
    holds(lidc(tmp_path / "in", layout="crops", cache=tmp_path / "cache"), crops)
    holds(lidc(tmp_path / "in", layout="slices", cache=tmp_path / "cache"), slices)
    with pytest.raises(OptionError, match="choose with layout="):  # nothing was remembered
        lidc(tmp_path / "in", cache=tmp_path / "cache")


def test_two_pickles_at_one_root_need_one_of_them(tmp_path: Path) -> None:
    cases = random_cases(1)
    for name in ("a.pickle", "b.pkl"):
        write_pickle(tmp_path / "in" / name, entries(cases))
    with pytest.raises(OptionError, match="give one as the root"):
        lidc(tmp_path / "in", cache=tmp_path / "cache")
    holds(lidc(tmp_path / "in" / "b.pkl", cache=tmp_path / "cache"), cases)


def test_an_unknown_layout_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="did you mean 'pickle'") as caught:
        lidc(tmp_path, layout="pickel")
    assert "crops" in str(caught.value) and "packed" in str(caught.value)


def test_what_is_nothing_known_is_told_with_what_is_known(tmp_path: Path) -> None:
    for number in range(12):
        write_files(tmp_path / "in", {f"other-{number:02}/file.txt": b"text"})
    with pytest.raises(MissingDataError) as caught:
        lidc(tmp_path / "in", cache=tmp_path / "cache")
    for part in ("other-00", "and 2 more", "crops: {train,val,test}", "slices: LIDC", "pickle: a"):
        assert part in str(caught.value)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_layout_that_is_not_there_is_refused(layout: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError):
        lidc(tmp_path / "in", layout=layout, cache=tmp_path / "cache")


def test_a_read_only_root_will_do_and_stays_as_it_is(tmp_path: Path) -> None:
    cases, root = random_cases(2), tmp_path / "in"
    write_files(root, crops_files(cases))
    before = sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        holds(lidc(root, cache=tmp_path / "cache"), cases)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert before == sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))


def test_loops_of_links_are_not_followed_and_other_links_are(tmp_path: Path) -> None:
    cases, root, other = random_cases(3), tmp_path / "in", tmp_path / "other"
    write_files(root, slices_files(cases))
    other.mkdir()
    patient = root / cases.patients[0]
    patient.rename(other / "patient")
    patient.symlink_to(other / "patient", target_is_directory=True)
    (other / "patient" / "nodule-7").symlink_to(root, target_is_directory=True)
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / "itself").symlink_to("itself")
    holds(lidc(root, cache=tmp_path / "cache"), cases)


def test_a_root_that_is_a_loop_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(MissingDataError, match="there is no"):
        lidc(tmp_path / "loop")


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are POSIX's")
def test_a_name_that_is_no_utf8_is_written_out(tmp_path: Path) -> None:
    cases = random_cases(1)
    files = crops_files(cases)
    odd = os.fsdecode(b"patient \xe9")
    root = tmp_path / os.fsdecode(b"in \xe9")
    write_files(root, {n.replace(cases.patients[0], odd): d for n, d in files.items()})
    dataset = lidc(root, cache=tmp_path / "cache")
    assert list(dataset.groups) == ["patient \\udce9"]
    holds(dataset, cases._replace(patients=["patient \\udce9"]))


def test_dicom_files_are_seen_and_cut(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "lidc_dicom").is_dir():
        pytest.skip("PROBSEG_DATA has no lidc_dicom")
    dataset = lidc(data_root / "lidc_dicom", cache=tmp_path)
    assert (dataset.source_state["layout"], dataset.annotators, len(dataset)) == ("dicom", 4, 67)
    assert all(name.startswith("LIDC-IDRI-") for name in dataset.ids)


@pytest.mark.parametrize("depth", [0, 5])
def test_dicom_files_without_a_scan_of_lidc_are_refused(depth: int, tmp_path: Path) -> None:
    folder = tmp_path.joinpath("root", *("deeper" for _ in range(depth)))
    folder.mkdir(parents=True)
    (folder / "1-001.dcm").write_bytes(b"no DICOM")
    with pytest.raises(MissingDataError, match="DICOM"):
        lidc(tmp_path / "root", cache=tmp_path / "cache")
