"""`probseg data check` finds what people get wrong in their folders, and nothing in sound ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

SIZE, CASES = 48, 24
PEOPLE = {"anna": 0.8, "ben": 1.0, "chen": 1.25}
AFFINE = np.diag([-0.5, -0.5, 2.0, 1.0])


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PROBSEG_CACHE", str(tmp_path / "cache"))


def case(number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """An image, and how far three people think that its blob reaches."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:SIZE, :SIZE]
    row, column, radius = random.uniform((18, 18, 7), (30, 30, 10))
    distance = np.hypot(y - row, x - column)
    image = 900 / (1 + np.exp(distance - radius)) + random.normal(0, 40, (SIZE, SIZE)) - 1000
    masks = {who: (distance < reach * radius).astype(np.uint8) for who, reach in PEOPLE.items()}
    return image.astype(np.float32), masks


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A stranger's folder without fault."""
    folder = tmp_path / "strange"
    for number in range(CASES):
        image, masks = case(number)
        for name, pixels in {f"images/c{number}": image}.items():
            save(folder / f"{name}.npy", pixels)
        for who, mask in masks.items():
            save(folder / f"masks/c{number}/{who}.npy", mask)
    return folder


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, pixels)


def change(path: Path, how: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, how(np.load(path)))


def put(array: np.ndarray, value: float, *where: Any) -> np.ndarray:
    array[where] = value
    return array


def nifti(path: Path, pixels: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """Save pixels as NIfTI, in place of the array."""
    path.unlink()
    voxels = np.ascontiguousarray(pixels.T[..., None])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path.with_suffix(".nii.gz"))


def elsewhere(root: Path) -> None:
    """A mask 50 mm beside its image."""
    image, masks = case(4)
    nifti(root / "images/c4.npy", image)
    for who, mask in masks.items():
        moved = AFFINE.copy()
        moved[0, 3] = 50 if who == "ben" else 0
        nifti(root / f"masks/c4/{who}.npy", mask, moved)


def dangling(root: Path) -> None:
    (root / "masks/c5/chen.npy").unlink()
    (root / "masks/c5/chen.npy").symlink_to("/not/mounted/chen.npy")


EIGHT: dict[str, tuple[Callable[[Path], None], str, str]] = {
    # what is done to the folder, what is told, and the remedy
    "inverted": (
        lambda root: change(root / "masks/c0/ben.npy", lambda mask: 1 - mask),
        "a mask looks inverted: foreground covers more than half of the image, and its border: "
        "1 image: c0",
        "invert=True",
    ),
    "0/1 and 0/255": (
        lambda root: change(root / "masks/c1/anna.npy", lambda mask: 255 * mask),
        "with 255, which counts as 1 as well (such as masks/c1/anna.npy)",
        'values={255: "ignore"}',
    ),
    "255 beside 1": (
        lambda root: change(root / "masks/c2/ben.npy", lambda mask: put(mask, 255, slice(3))),
        "the values 0, 1, 255",
        "masks/c2/ben.npy",
    ),
    "an extreme pixel": (
        lambda root: change(root / "images/c3.npy", lambda image: put(image, 30000, 5, 5)),
        "a few extreme pixels take most of the range and flatten the image: 1 image: c3",
        'normalise="percentiles"',
    ),
    "elsewhere": (
        elsewhere,
        "lies elsewhere than its image, by up to 100 voxels",
        "resample_masks",
    ),
    "a link": (dangling, "is a link to /not/mounted/chen.npy", "git annex get"),
    "a copy": (
        lambda root: save(root / "images/c6.npy", np.load(root / "images/c7.npy")),
        "the same image in another group: it can be on both sides of a split: 2 images: c6, c7",
        "groups.csv",
    ),
    "a speck": (
        lambda root: change(root / "masks/c8/anna.npy", lambda mask: put(0 * mask, 1, 20, 20)),
        "a mask of a few pixels only: 1 image: c8",
        "leave that mask empty",
    ),
}


def checked(command: Any, *arguments: Any) -> tuple[int, str]:
    status, output, _ = command("data", "check", *arguments)
    return status, output


def test_a_clean_folder_is_told_nothing(root, command):
    status, output = checked(command, root)
    assert status == 0 and "next: probseg data preview" in output
    for heading in ("wrong", "worth a look", "left out,", "damaged", "--set"):
        assert heading not in output


def test_eight_planted_faults_are_told_by_one_check(root, command):
    for plant, _, _ in EIGHT.values():
        plant(root)
    status, output = checked(command, root)
    assert status == 1 and "next:" not in output
    for _, told, remedy in EIGHT.values():
        assert told in output and remedy in output
    assert "left out, 3 in all" in output


@pytest.mark.parametrize("fault", EIGHT)
def test_each_fault_is_told_alone(root, command, fault):
    plant, told, remedy = EIGHT[fault]
    plant(root)
    status, output = checked(command, root)
    assert told in output and remedy in output
    assert status == (fault not in ("0/1 and 0/255", "a speck"))
    headings = [line for line in output.splitlines() if line.startswith(("wrong", "left", "worth"))]
    assert 1 <= len(headings) <= 2  # an inverted mask, or a speck, is far from the others as well


def everywhere(who: str, how: Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray]) -> Any:
    """Change a person's masks, or all masks (``"*"``), given each and all of its image."""

    def plant(root: Path) -> None:
        for folder in (root / "masks").iterdir():
            before = {file.stem: np.load(file) for file in folder.iterdir()}
            for name, mask in before.items():
                if who in (name, "*"):
                    np.save(folder / f"{name}.npy", how(mask, before))

    return plant


def leave_one(root: Path) -> None:
    for folder in (root / "masks").iterdir():
        for who in ("ben", "chen"):
            (folder / f"{who}.npy").unlink()


def renamed(name: Callable[[int], str]) -> Any:
    def plant(root: Path) -> None:
        for number in range(CASES):
            (root / f"images/c{number}.npy").rename(root / f"images/{name(number)}.npy")
            (root / f"masks/c{number}").rename(root / f"masks/{name(number)}")

    return plant


def group(root: Path, name: Callable[[int], str]) -> None:
    rows = [f"c{number},{name(number)}" for number in range(CASES)]
    (root / "groups.csv").write_text("\n".join(["id,group", *rows]))


def two_spellings(root: Path) -> None:
    group(root, lambda number: "P01" if number == 3 else f"p{number // 3}")


def two_signs(root: Path) -> None:
    group(root, lambda number: "P-01" if number == 3 else f"p{number // 3}")


def two_resolutions(root: Path) -> None:
    for number in range(CASES):
        image, masks = case(number)
        affine = AFFINE * (2 if number == 9 else 1)
        nifti(root / f"images/c{number}.npy", image, affine)
        for who, mask in masks.items():
            nifti(root / f"masks/c{number}/{who}.npy", mask, affine)


def stray_class(root: Path) -> None:
    change(root / "masks/c9/ben.npy", lambda mask: put(mask, 2, 20, 20))


WHOLE: dict[str, tuple[Callable[[Path], None], str, str, int]] = {
    # what is done, what is told, the remedy, and the exit status
    "all inverted": (
        everywhere("*", lambda mask, _: 1 - mask),
        "most masks look",
        "invert=True",
        1,
    ),
    "identical annotators": (
        everywhere("chen", lambda _, masks: masks["ben"]),
        "annotators ben, chen drew exactly the same in all images that two of them drew on (24 of ",
        "leave it out",
        1,
    ),
    "one annotator": (leave_one, "one annotation an image", "second opinion", 0),
    "slices of patients": (
        renamed(lambda number: f"patient{number // 4}_slice{number % 4}"),
        "several images that seem to be of one patient (patient0_slice0 and patient0_slice1)",
        "    id,group\n    patient0_slice0,patient0\n    patient0_slice1,patient0\n",
        0,
    ),
    "two eyes": (
        renamed(lambda number: f"Image_{number // 2:02}{'LR'[number % 2]}"),
        "several images that seem to be of one patient (Image_00L and Image_00R)",
        "    id,group\n    Image_00L,Image_00\n    Image_00R,Image_00\n",
        0,
    ),
    "visits of people": (
        renamed(lambda number: f"{('anna', 'ben')[number % 2]}-{number // 2}-ct"),
        "several images that seem to be of one patient (anna-0-ct and anna-1-ct)",
        "    id,group\n    anna-0-ct,anna\n    anna-1-ct,anna\n",
        0,
    ),
    "a sign in one spelling": (
        two_signs,
        "only spelt differently, such as P-01 and p1",
        "groups.csv",
        0,
    ),
    "a marker": (
        lambda root: change(root / "images/c3.npy", lambda image: put(image, 30000, 0, slice(11))),
        "a few extreme pixels take most of the range and flatten the image: 1 image: c3",
        'normalise="percentiles"',
        1,
    ),
    "two spellings": (two_spellings, "only spelt differently, such as P01 and p1", "groups.csv", 0),
    "two resolutions": (two_resolutions, "a pixel is 0.5 to 1 mm wide: 1 image: c9", "resample", 0),
    "a stray class": (stray_class, "class 2 is in 1 of 72 masks: 1 image: c9", "classes=", 0),
}


@pytest.mark.parametrize("fault", WHOLE)
def test_a_fault_of_the_whole_folder_is_told(root, command, fault):
    plant, told, remedy, wrong = WHOLE[fault]
    plant(root)
    status, output = checked(command, root)
    assert (status, told in output, remedy in output) == (wrong, True, True)


@pytest.mark.parametrize(
    "name",
    [
        lambda number: f"img_{number:03}",
        lambda number: f"{number:04}",
        lambda number: f"{chr(97 + number)}_scan",
        lambda number: f"img_{number:03}" if number else "extra_1",
        lambda number: f"{('train', 'Test')[number % 2]}_{number}",
    ],
    ids=["one prefix", "numbers", "a prefix each", "one of another kind", "parts"],
)
def test_names_that_tell_of_no_patient_are_no_finding(root, command, name):
    renamed(name)(root)
    status, output = checked(command, root)
    assert status == 0 and "worth a look" not in output


def oblong(root: Path) -> None:
    affine = np.diag([-0.7, -2.5, 1.0, 1.0])
    for number in range(CASES):
        image, masks = case(number)
        nifti(root / f"images/c{number}.npy", image, affine)
        for who, mask in masks.items():
            nifti(root / f"masks/c{number}/{who}.npy", mask, affine)


def singles(root: Path) -> None:
    renamed(lambda number: f"p{number // 4}_slice{number % 4}")(root)
    rows = [f"{image.stem},{image.stem}" for image in (root / "images").iterdir()]
    (root / "groups.csv").write_text("\n".join(["id,group", *rows]))


CLEAN: dict[str, Callable[[Path], None]] = {
    "pixels that are not square": oblong,
    "letters and numbers": lambda root: group(root, lambda n: ("a1b", "ab1", "a11b")[n % 3]),
    "a table of single images": singles,
}


@pytest.mark.parametrize("what", CLEAN)
def test_what_only_looks_like_a_fault_is_no_finding(root, command, what):
    CLEAN[what](root)
    status, output = checked(command, root)
    assert status == 0 and "worth a look" not in output


def test_the_groups_that_are_shown_mend_it(root, command):
    renamed(lambda number: f"{('anna', 'ben')[number % 2]}_{number}")(root)
    head, *shown = checked(command, root)[1].partition("id,group\n")[1:]
    assert shown[0].split("\n")[0].strip() == "anna_0,anna"
    rows = [f"{path.stem},{path.stem.split('_')[0]}" for path in (root / "images").iterdir()]
    (root / "groups.csv").write_text("\n".join([head.strip(), *rows]))
    assert "worth a look" not in checked(command, root)[1]


def arranged(root: Path, image: str, mask: str) -> Path:
    """Copy three images and their masks by ann into another layout."""
    other = root.parent / "other"
    for case in range(3):
        for name, pixels in {image: np.eye(9), mask: np.eye(9)}.items():
            path = other / name.format(case=f"case{case}")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((255 * pixels).astype(np.uint8)).save(path)
    return other


LAYOUTS = {  # where an image and its mask lie, and what is told
    "side by side": ("{case}.png", "{case}_mask.png", "it holds: case0.png, case0_mask.png, case1"),
    "Tr": (
        "imagesTr/{case}.png",
        "labelsTr/{case}.png",
        "it holds: imagesTr/ (3 in it, such as case0.png), labelsTr/ (3 in it, such as case0.png)",
    ),
    "img and gt": (
        "img/{case}.png",
        "gt/{case}_gt.png",
        "it holds: gt/ (3 in it, such as case0_gt.png), img/ (3 in it, such as case0.png)",
    ),
    "a file of masks": (
        "images/{case}.png",
        "masks/{case}.png",
        "has no annotation masks/case0/ANNOTATOR.png; masks/ itself holds 3 files",
    ),
    "a file of another name": (
        "images/{case}.png",
        "masks/{case}_seg.png",
        "has no annotation masks/case0/ANNOTATOR.png; masks/ itself holds 3 files",
    ),
    "annotators' folders": (
        "images/{case}.png",
        "masks/ann/{case}.png",
        "has no image images/ann.png, but masks of image case0: it is masks/ID/ANNOTATOR.png",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_layout_is_named_with_the_wanted_one_and_where_scripts_are(root, command, layout):
    image, mask, told = LAYOUTS[layout]
    status, output = checked(command, arranged(root, image, mask))
    assert status == 1 and told in output
    assert "masks/ID/ANNOTATOR.png" in output or "masks/case0/ANNOTATOR.png" in output
    assert 'the page "My own data" of the documentation has scripts' in output
    assert output.count("scripts") == 1


def test_the_layout_in_an_inner_folder_is_found(root, command):
    (root.parent / "outer").mkdir()
    inner = root.rename(root.parent / "outer/train")
    status, output = checked(command, inner.parent)
    assert status == 1 and f"train in it has that layout: give {inner}" in output
    assert checked(command, inner)[0] == 0


def test_faults_of_one_kind_stand_together(root, command):
    for number in range(5):
        save(root / f"masks/c{number}/anna.npy", np.zeros((number + 3, 9), np.uint8))
    _, output = checked(command, root)
    assert "left out, 5 in all:" in output
    assert (
        "is 3x9, its image 48x48: 5 files, such as masks/c0/anna.npy, masks/c1/anna.npy" in output
    )


def test_a_folder_without_a_sound_sample_is_told_all_of_it(root, command):
    for number in range(CASES):
        change(root / f"masks/c{number}/anna.npy", lambda mask: mask * 0.7)
        (root / f"masks/c{number}/ben.npy").write_bytes(b"")
    status, output = checked(command, root)
    assert status == 1
    assert "is empty: 24 files, such as" in output and "has the values 0.7" in output


def test_images_of_eight_bits_are_not_stretched_so_a_bright_pixel_is_no_harm(root, command):
    for file in (root / "images").iterdir():
        pixels = np.clip(np.load(file) / 20 + 60, 0, 255).astype(np.uint8)
        Image.fromarray(put(pixels, 255, 5, 5)).save(file.with_suffix(".png"))
        file.unlink()
    assert checked(command, root)[0] == 0


def test_an_inverted_mask_fills_its_picture_in_the_preview():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from probseg.plots import Annotated, contact_sheet

    mask = case(0)[1]["ben"]
    filled = []
    for drawn in (mask, 1 - mask):
        panel = Annotated(np.full(mask.shape, 0.5), drawn[None], np.ones(1, bool), "", (0, 1))
        figure = contact_sheet([panel], ["ben"], columns=1)
        figure.set_layout_engine("none")
        figure.set_size_inches(4, 4)
        figure.axes[0].set_position((0, 0, 1, 1))
        figure.legends.clear()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
        filled.append(np.mean(np.ptp(pixels, axis=2) > 40))
    assert abs(filled[0] - mask.mean()) < 0.05 and abs(filled[1] - (1 - mask.mean())) < 0.05
