"""``python -m benchmarks.data`` as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.data.__main__ import main
from benchmarks.data.check import check, paper_numbers
from benchmarks.data.opening import Source, annotator_names, sample_name
from benchmarks.data.preview import draw
from probseg.datasets.cache.dataset import PackedDataset

SHAPES = ["ambiguous-shapes", "--set", "samples=20", "size=24"]
PARTS = ("images", *(f"mask-{k}" for k in range(4)))


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
                pixels[50:70, 50:70] = 255
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


def test_check_prints_what_was_found_beside_table_3(slices, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["check", "lidc", "--data-root", str(slices)]) == 0
    output = single_spaced(capsys.readouterr().out)
    assert "samples 6 15,096 differs" in output
    assert "size 128×128 128×128 annotators 4 4 channels 1 1" in output
    assert "groups 3" in output
    assert "samples a group 2" in output
    assert "mean pairwise IoU 1.000" in output
    assert "worth a look" not in output


def test_check_names_what_was_left_out_and_ends_with_1(slices, capsys):
    (slices / "LIDC-IDRI-0002/nodule-0/mask-1/slice-1.png").write_bytes(b"")
    assert main(["check", "lidc", "--data-root", str(slices)]) == 1
    output = capsys.readouterr().out
    assert "left out, 1 in all" in output
    assert "LIDC-IDRI-0002" in output.partition("left out")[2]


def test_only_what_was_asked_for_has_to_be_here(tmp_path, capsys):
    assert main(["check", "lidc", "--data-root", str(tmp_path)]) == 1
    assert check("lidc", Source(tmp_path), required=False)
    assert single_spaced(capsys.readouterr().out).count("not here: lidc") == 2


def test_preview_draws_who_annotated_in_colours_that_the_legend_explains(tmp_path):
    dataset = Source(options={"samples": 6}).open("ambiguous-shapes")
    out = tmp_path / "sheet.png"
    assert main(["preview", *SHAPES, "--out", str(out), "--samples", "6"]) == 0
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


def test_prepare_packs_what_the_data_set_holds(slices, tmp_path, capsys):
    out = tmp_path / "packed"
    command = ["prepare", "lidc", "--data-root", str(slices), "--out", str(out)]
    assert main(command) == 0
    packed, dataset = PackedDataset(out), Source(slices).open("lidc")
    assert list(packed.groups) == list(dataset.groups)
    found, expected = (data.batch(range(6)) for data in (packed, dataset))
    assert torch.equal(found.masks, expected.masks) and torch.equal(found.image, expected.image)
    assert "6 samples" in capsys.readouterr().out
    assert main(command) == 0  # again, onto what is there


def test_a_prepared_folder_is_a_data_root(slices, tmp_path):
    out = tmp_path / "packed"
    command = ["prepare", "lidc", "--data-root", str(slices), "--out", str(out)]
    assert main(command) == main(command) == 0
    assert len(Source(out).open("lidc")) == 6
    (out / "thesis.txt").write_text("mine")
    assert main(command) == 2


def test_prepare_leaves_other_folders_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["prepare", *SHAPES, "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "lidcc"], "did you mean 'lidc'"),
        (["check", "lidc", "--data-root", "/no/such"], "--data-root /no/such does not exist"),
        (["check", "lidc", "--set", "size"], "--set takes KEY=VALUE"),
        (["check", "--set", "size=64", "lidc"], "put other arguments before --set"),
        (["chek"], "invalid choice: 'chek'"),
        (["preview", "lidc"], "--out"),
        (["preview", *SHAPES, "--out", "sheet.jpg"], "call it FILE.png"),
        (["preview", *SHAPES, "--out", "s.png", "--samples", "0"], "at least 1"),
        (["preview", *SHAPES, "--out", "s.png", "--crop", "0"], "at least 1"),
        (["preview", *SHAPES, "--out", "s.png", "--channel", "1"], "--channel is 1"),
        (["prepare", *SHAPES, "--out", __file__], "is a file"),
        (["prepare", *SHAPES, "--out", "x"], "there is nothing to pack"),
        (["prepare", *SHAPES, "--out", "x", "--spacing", "1"], "give --dicom DIR too"),
        (["prepare", *SHAPES, "--out", "x", "--dicom", "."], "--dicom is for lidc"),
        (["prepare", "lidc", "--out", "x", "--dicom", "/no/such"], "is no folder"),
        (["prepare", "lidc", "--out", "x", "--dicom", ".", "--window", "lungs"], "'lungs'"),
        (
            ["prepare", "lidc", "--out", "x", "--dicom", ".", "--window=400,-1000"],
            "black and white",
        ),
        (["prepare", "lidc", "--out", "x", "--dicom", ".", "--spacing", "-1"], "positive"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, capsys):
    try:
        status = main(arguments)
    except SystemExit as left:
        status = left.code
    assert status == 2
    captured = capsys.readouterr().err
    assert message in captured
    assert captured.count("\n") == 1


def test_missing_data_are_one_line_and_status_1(tmp_path, capsys):
    arguments = ["preview", "lidc", "--data-root", str(tmp_path), "--out", str(tmp_path / "s.png")]
    assert main(arguments) == 1
    assert "LIDC-IDRI-XXXX" in capsys.readouterr().err


def test_an_unknown_option_of_the_data_set_is_named(capsys):
    assert main(["check", "ambiguous-shapes", "--set", "sise=3"]) == 1
    output = single_spaced(capsys.readouterr().out)
    assert "not checked: ambiguous-shapes" in output
    assert "did you mean 'size'" in output


def test_help_and_mistakes_import_no_torch():
    script = """
import sys
from benchmarks.data.__main__ import main
for arguments in (["--help"], ["check", "--help"], ["prepare", "--help"], ["check", "lidcc"]):
    try:
        main(arguments)
    except SystemExit:
        pass
assert "torch" not in sys.modules
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("examples:") == 3
