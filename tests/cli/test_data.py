"""`probseg data` as a user runs it: check, preview, pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import probseg
from probseg.cli.data.check import paper_numbers
from probseg.cli.data.preview import draw
from probseg.datasets.annotators import annotator_names
from probseg.datasets.cache.dataset import PackedDataset
from probseg.datasets.views import sample_name

SHAPES = ["ambiguous-shapes", "--set", "data.samples=20", "data.size=24"]
PARTS = ("images", *(f"mask-{k}" for k in range(4)))


@pytest.fixture(autouse=True)
def _no_real_data(monkeypatch, tmp_path):
    monkeypatch.delenv("PROBSEG_DATA", raising=False)
    monkeypatch.setenv("PROBSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of four images; two people drew on all of them, a third one on the first."""
    root, random = tmp_path / "my-data", np.random.default_rng(0)
    for case in range(4):
        files = {root / f"images/case{case}.png": random.integers(0, 256, (32, 32), np.uint8)}
        for name in ("anna", "ben", *(["chen"] if case == 0 else [])):
            pixels = np.zeros((32, 32), np.uint8)
            pixels[8:20, 8 : 20 + len(name)] = 255
            files[root / f"masks/case{case}/{name}.png"] = pixels
        for path, pixels in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """A data root with LIDC in the layout "slices": three patients of two slices each."""
    root, random = tmp_path / "data", np.random.default_rng(0)
    for patient in range(1, 4):
        for number in range(2):
            for part in PARTS:
                folder = root / f"LIDC-IDRI-{patient:04}" / "nodule-0" / part
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.zeros((128, 128), np.uint8)
                pixels[50:70, 50 : 71 - PARTS.index(part)] = 255
                if part == "images":
                    pixels = random.integers(0, 256, (128, 128), np.uint8)
                Image.fromarray(pixels).save(folder / f"slice-{number}.png")
    return root


def single_spaced(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_the_numbers_of_table_3_are_the_papers():
    rows = {  # transcribed from the paper: samples, annotators, channels; all are 128 x 128
        "lidc": (15096, 4, 1),
        "qubiq-pancreas": (869, 2, 1),
        "qubiq-pancreatic-lesion": (156, 2, 1),
        "qubiq-brain-growth": (39, 7, 1),
        **{f"qubiq-brain-tumor-{task}": (32, 7, 4) for task in (1, 2, 3)},
    }
    columns = ("samples", "annotators", "channels")
    known = paper_numbers()
    assert {name: tuple(row[c] for c in columns) for name, row in known.items()} == rows
    assert all(row["size"] == [128, 128] for row in known.values())


def test_check_prints_what_was_found_beside_table_3(slices, command):
    status, output, _ = command("data", "check", "lidc", "--root", slices)
    lines = [single_spaced(line) for line in output.splitlines()]
    assert status == 0
    for wanted in (
        "samples 6 15,096 differs",
        "size 128×128 128×128",
        "annotators 4 4",
        "groups 3",
        "samples a group 2",
        # of 20, 19, 18 and 17 columns
        "mean pairwise IoU 0.914 (two empty masks score 1)",
    ):
        assert wanted in lines
    assert "worth a look" not in output and "wrong" not in output
    assert f"probseg data preview --out sheet.png lidc --root {slices}" in output
    assert "training needs 4 groups or more, such as patients, not 3" in output


def test_check_tells_of_a_folder_of_ones_own_and_nothing_of_the_paper(own, command):
    status, output, _ = command("data", "check", own, "--set", "data.size=16")
    lines = [single_spaced(line) for line in output.splitlines()]
    assert status == 0 and "paper" not in output
    for wanted in ("samples 4", "size 16×16", "annotators 3"):
        assert wanted in lines
    (chen,) = [line for line in lines if line.startswith("chen")]
    assert chen.startswith("chen 1 0 ")
    assert f"--data {own} --set data.size=16" in output


def test_check_names_what_was_left_out_and_ends_with_1(slices, command):
    (slices / "LIDC-IDRI-0002/nodule-0/mask-1/slice-1.png").write_bytes(b"")
    status, output, _ = command("data", "check", "lidc", "--root", slices)
    assert status == 1
    assert "left out, 1 in all" in output and "next:" not in output
    assert "LIDC-IDRI-0002" in output.partition("left out")[2]


def test_only_what_was_asked_for_has_to_be_here(tmp_path, command, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert command("data", "check", "lidc", "--root", empty)[0] == 1
    monkeypatch.setattr("probseg.cli.data.check._names", lambda root: ["lidc"])
    status, output, _ = command("data", "check", "--root", empty)
    assert status == 0 and "not here: lidc" in output


def test_without_a_root_only_what_needs_none_is_checked(monkeypatch, command):
    from probseg.cli.data.check import _names

    assert _names(None) == ["ambiguous-shapes", "contours"]
    monkeypatch.setenv("PROBSEG_DATA", "somewhere")
    assert "lidc" in _names(None)


def test_preview_draws_who_annotated_in_colours_that_the_legend_explains(tmp_path, command):
    dataset = probseg.datasets.create("ambiguous-shapes", samples=6)
    out = tmp_path / "sheet.png"
    assert command("data", "preview", *SHAPES, "--out", out, "--images", "6")[0] == 0
    with Image.open(out) as sheet:
        assert min(sheet.size) > 300
        assert len(sheet.convert("RGB").getcolors(10**7)) > 500
    figure = draw(dataset, [0, 3], title="six")
    drawn = [axes for axes in figure.axes if axes.get_title()]
    names = [sample_name(dataset, index) for index in (0, 3)]
    assert [axes.get_title() for axes in drawn] == names
    (legend,) = figure.legends
    colours = [line.get_color() for line in legend.get_lines()]
    assert len(set(colours)) == 4
    assert [text.get_text().split()[-1] for text in legend.get_texts()] == annotator_names(dataset)


def test_preview_names_the_extra_that_is_missing_before_it_reads(own, command, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, error = command("data", "preview", own, "--out", own / "sheet.png")
    assert status == 1 and "pip install 'probseg[plot]'" in error
    assert not (own.parent / "cache").exists()


def test_a_packed_folder_holds_what_the_data_set_holds(slices, tmp_path, command):
    out = tmp_path / "packed"
    pack = ("data", "pack", "lidc", "--root", slices, "--out", out)
    status, output, _ = command(*pack)
    assert status == 0 and "6 samples of 3 groups" in output
    packed, dataset = PackedDataset(out), probseg.datasets.create("lidc", root=slices)
    assert list(packed.groups) == list(dataset.groups)
    found, expected = (data.batch(range(6)) for data in (packed, dataset))
    assert torch.equal(found.masks, expected.masks) and torch.equal(found.image, expected.image)
    assert command(*pack)[0] == 0  # again, onto what is there
    for opened in (("lidc", "--root", out), (out,)):  # it is a root, and a folder as well
        assert "samples 6" in single_spaced(command("data", "check", *opened)[1])
    (out / "thesis.txt").write_text("mine")
    status, _, error = command(*pack)
    assert status == 2 and "holds other files" in error
    assert (out / "thesis.txt").read_text() == "mine"


def test_an_interrupted_pack_leaves_nothing(own, tmp_path, command, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("probseg.cli.data.pack.shutil.copy2", interrupt)
    out = tmp_path / "packed" / "my-data"
    assert command("data", "pack", own, "--out", out)[0] == 130
    assert list(out.parent.iterdir()) == []
    monkeypatch.undo()
    assert command("data", "pack", own, "--out", out)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "lidcc"], "did you mean 'lidc'"),
        (["check", "lidc", "--root", "/no/such"], "--root /no/such does not exist"),
        (["check", "lidc", "--set", "size"], "--set takes KEY=VALUE"),
        (["check", "lidc", "--set", "size=3"], "--set takes SECTION.KEY=VALUE"),
        (["check", "--set", "data.size=64", "lidc"], "put other arguments before --set"),
        (["chek"], "did you mean 'check'"),
        (["check", "--rot", "x"], "did you mean '--root'"),
        (["preview", "lidc"], "--out"),
        (["preview", *SHAPES, "--out", "sheet.jpg"], "call it FILE.png"),
        (["preview", *SHAPES, "--out", "s.png", "--images", "0"], "at least 1"),
        (["preview", *SHAPES, "--out", "s.png", "--crop", "0"], "at least 1"),
        (["preview", *SHAPES, "--out", "s.png", "--channel", "1"], "--channel is 1"),
        (["pack", *SHAPES, "--out", __file__], "is a file"),
        (["pack", *SHAPES, "--out", "x"], "there is nothing to pack"),
        (["pack", *SHAPES, "--out", "x", "--spacing", "1"], "give --dicom DIR too"),
        (["pack", *SHAPES, "--out", "x", "--dicom", "."], "--dicom is for lidc"),
        (["pack", "lidc", "--out", "x", "--dicom", "/no/such"], "is no folder"),
        (["pack", "lidc", "--out", "x", "--dicom", ".", "--window", "lungs"], "'lungs'"),
        (["pack", "lidc", "--out", "x", "--dicom", ".", "--root", "."], "neither --root nor --set"),
        (
            ["pack", "lidc", "--out", "x", "--dicom", ".", "--window=400,-1000"],
            "black and white",
        ),
        (["pack", "lidc", "--out", "x", "--dicom", ".", "--spacing", "-1"], "positive"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, command):
    status, _, error = command("data", *arguments)
    assert status == 2 and message in error
    assert error.count("\n") == 1


def test_missing_data_are_one_line_and_status_1(tmp_path, command):
    sheet = ["--out", tmp_path / "s.png"]
    status, _, error = command("data", "preview", "lidc", "--root", tmp_path, *sheet)
    assert status == 1 and "LIDC-IDRI-XXXX" in error


def test_the_nearest_folder_is_proposed(tmp_path, command):
    (tmp_path / "my-data").mkdir()
    status, _, error = command("data", "check", tmp_path / "my-dta")
    assert status == 2 and f"did you mean '{tmp_path / 'my-data'}'?" in error
    status, _, error = command("data", "check", "contuors")
    assert status == 2 and "did you mean 'contours'?" in error


def test_a_folder_of_named_data_sets_is_told_with_the_command_that_lists_them(slices, command):
    status, output, _ = command("data", "check", slices)
    remedy = f"probseg data check --root {slices}"
    assert status == 1 and remedy in output
    assert "\nLIDC-IDRI" not in output and "samples" not in output


def test_an_unknown_option_of_the_data_set_is_named(command):
    status, output, _ = command("data", "check", "ambiguous-shapes", "--set", "data.sise=3")
    assert status == 1 and "not checked: ambiguous-shapes" in output
    assert "did you mean 'size'" in single_spaced(output)


@pytest.mark.parametrize("name", ["check", "preview", "pack"])
def test_help_shows_examples_without_torch(python, name):
    code = (
        "import sys; from probseg.cli import main\n"
        f"try: main(['data', {name!r}, '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
    )
    assert f"examples:\n  probseg data {name} my-data" in python("-c", code)


@pytest.fixture
def partly(own: Path) -> Path:
    """The same folder, of which nobody labelled the last rows."""
    for path in own.glob("masks/*/*.png"):
        pixels = np.asarray(Image.open(path)) // 255
        pixels[28:] = 255
        Image.fromarray(pixels).save(path)
    return own


def test_check_names_the_option_for_values_that_mean_nothing(command, partly):
    status, output, _ = command("data", "check", partly)
    assert status == 1 and "--set data.values.255=ignore" in " ".join(output.split())
    status, output, _ = command("data", "check", partly, "--set", "data.values.255=ignore")
    assert status == 0 and "12.50% of the masks" in output
    assert f"probseg train punet --out run --data {partly} --set data.values.255=ignore" in output


def test_preview_hatches_what_nobody_labelled(command, partly, tmp_path):
    out = tmp_path / "sheet.png"
    options = ["--out", out, "--set", "data.values.255=ignore"]
    assert command("data", "preview", partly, *options)[0] == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("data.values=255", r"values must be a mapping"),
        ("data.values.255=ignored", "must map numbers in files to classes"),
        ("data.soft=yes", "must be bool"),
        ("data.threshold=half", "must be float"),
    ],
)
def test_a_wrong_meaning_of_masks_is_refused(command, own, option, text):
    status, output, error = command("data", "check", own, "--set", option)
    assert status != 0 and text in " ".join((output + error).split())


def test_soft_masks_are_refused_with_both_ways_out(command, own):
    for path in own.glob("masks/case1/*.png"):
        np.save(path.with_suffix(".npy"), np.asarray(Image.open(path)) / 300)
        path.unlink()
    status, output, _ = command("data", "check", own)
    told = " ".join(output.split())
    assert status == 1 and "--set data.threshold=0.5 makes two classes of them" in told
    assert "--set data.soft=true takes probabilities" in told
    status, output, _ = command("data", "check", own, "--set", "data.soft=true")
    assert status == 0 and "soft: probabilities" in output
    assert command("data", "check", own, "--set", "data.threshold=0.5")[0] == 0
