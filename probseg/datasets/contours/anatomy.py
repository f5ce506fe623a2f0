"""A window of a scan and what surrounds a nodule in it: lung, wall, ribs, spine and vessels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from probseg.datasets.lidc.nodules import Nodule

SIZE = 128  # height and width of the picture, pixels
_SLICE = 512  # of a CT slice

Pixels = NDArray[np.float32]  # (H, W) or (n, H, W)


class Window(NamedTuple):
    """Pixels around one nodule, in its slices; distances are from the middle of the scan."""

    origin: tuple[int, int]  # column and row of the first pixel within the slice
    spacing: float  # mm a pixel
    z: NDArray[np.float64]  # (n,) height of the slices, mm

    @property
    def view(self) -> float:
        """Width of the whole slice, mm."""
        return _SLICE * self.spacing

    @property
    def x(self) -> Pixels:
        """Columns, (1, SIZE) in mm."""
        return self._axis(0)[np.newaxis, :]

    @property
    def y(self) -> Pixels:
        """Rows, (SIZE, 1) in mm."""
        return self._axis(1)[:, np.newaxis]

    @property
    def middle(self) -> NDArray[np.float64]:
        """Position of the nodule, x and y in mm."""
        return (np.array(self.origin) + SIZE / 2 - _SLICE / 2) * self.spacing

    @property
    def heights(self) -> Pixels:
        """Heights of the slices above the nodule's middle, (n,) in mm."""
        heights: Pixels = (self.z - (self.z.min() + self.z.max()) / 2).astype(np.float32)
        return heights

    def _axis(self, axis: int) -> Pixels:
        first = self.origin[axis] - _SLICE / 2
        return (first + np.arange(SIZE, dtype=np.float32)) * np.float32(self.spacing)


def window_around(nodule: Nodule) -> Window:
    """Return the window whose middle is the middle of a nodule's bounding box."""
    contours = [contour for part in nodule.annotations for contour in part.contours]
    points = np.concatenate([contour.points for contour in contours])
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    column, row = np.floor(middle).astype(int) - SIZE // 2
    z = np.unique([contour.z for contour in contours if contour.inclusion])
    return Window((int(column), int(row)), nodule.scan.spacing, z)


LUNG, MUSCLE, FAT, BONE, MARROW, AIR = -860, 45, -95, 620, 230, -1000  # HU
_CENTRE, _AXES = (0.20, 0.05), (0.18, 0.27)  # of a lung, as shares of the view; where nodules are

_FINE = 2  # sub-pixels per pixel, for partial volumes at the edges of vessels
_TYPICAL = 0.7  # mm per pixel, for which the sizes of vessels are meant


class Chest(NamedTuple):
    """Attenuation without vessels, and how much of a pixel is lung."""

    hounsfield: Pixels
    lung: Pixels  # 0 to 1


def chest(window: Window, random: Generator) -> Chest:
    """Draw a chest around a nodule, whose position in the scan gives the distance to the wall.

    Its pixels (H, W) serve all slices of the nodule: a chest changes little within its height.
    """
    side = -1 if window.middle[0] < 0 else 1
    depth, angle = _depth(window, side, random)
    depth = np.minimum(depth, _depth(window, -side, random)[0])
    wall = _wall(depth, angle, random)
    between = _step(window.view * random.uniform(0.07, 0.11) - np.abs(window.x), 3)
    wall += between * (_mediastinum(window, random) - wall)
    lung = _step(-depth, 0.4)
    return Chest(wall + lung * (LUNG + random.normal(0, 25) - wall), lung)


class _Ellipse(NamedTuple):
    """A lung with a wavy outline; plain numbers, since NumPy's would make pixels of 64 bits."""

    centre: list[float]  # x, y in mm
    axes: list[float]  # mm
    heights: list[float]  # of the waves, shares of the radius
    phases: list[float]
    side: int  # of the body: -1 or 1

    def polar(self, x: Any, y: Any) -> tuple[Any, Any, Any]:
        """Distance from the centre, in mm and as a share of the outline's, and angle."""
        x, y = x - self.centre[0], y - self.centre[1]
        angle = np.arctan2(y, x * self.side)
        terms = zip(range(2, 6), self.heights, self.phases, strict=True)
        outline = 1 + sum(h * np.cos(order * angle + phase) for order, h, phase in terms)
        return np.hypot(x, y), np.hypot(x / self.axes[0], y / self.axes[1]) / outline, angle


def _depth(window: Window, side: int, random: Generator) -> tuple[Pixels, Pixels]:
    """Distance of a pixel from one lung in mm (inside: negative), and its direction."""
    radius, share, angle = _lung(window, side, random).polar(window.x, window.y)
    return radius * (1 - 1 / np.maximum(share, 1e-3)), angle


def _lung(window: Window, side: int, random: Generator) -> _Ellipse:
    centre = np.array(_CENTRE) * window.view * (side, 1)
    axes = np.array(_AXES) * window.view * random.uniform(0.9, 1.05, 2)
    waves = random.normal(0, 0.03, 4).tolist(), random.uniform(0, 2 * np.pi, 4).tolist()
    lung = _Ellipse(centre.tolist(), axes.tolist(), *waves, side)
    _, reach, _ = lung.polar(*window.middle)
    if reach > 0.95 and window.middle[0] * side >= 0:  # the lung must hold its nodule
        axes *= reach / random.uniform(0.9, 1.0)
    return lung._replace(axes=axes.tolist())


def _wall(depth: Pixels, angle: Pixels, random: Generator) -> Pixels:
    ripple = 2.5 * np.sin(angle * random.uniform(5, 9) + random.uniform(0, 6))
    fat_from, skin = random.uniform(13, 20), random.uniform(26, 60)
    tissue = MUSCLE + (FAT - MUSCLE) * _step(depth + ripple - fat_from, 1.5)
    tissue += (MUSCLE - FAT) * _step(depth - ripple - skin, 1) * 0.6
    tissue += (AIR - tissue) * _step(depth - skin - 3, 0.5)
    return _ribs(tissue, depth, angle, random)


def _ribs(tissue: Pixels, depth: Pixels, angle: Pixels, random: Generator) -> Pixels:
    radius = random.uniform(85, 110)  # mm, of the rib cage
    first, apart = random.uniform(-3.2, -2.6), random.uniform(0.45, 0.7)
    for direction in np.arange(first, 3.1, apart).tolist():
        slant, centre = random.uniform(-0.25, 0.25), random.uniform(5, 9)
        length, width = random.uniform(11, 22), random.uniform(3, 5)
        along = radius * (angle - direction - random.uniform(-0.08, 0.08))
        near = (np.abs(along) < 1.2 * length) & (np.abs(depth - centre) < 10)
        if near.any():
            along, across = along[near], depth[near] - centre
            share = np.hypot(along / length, (across - slant * along) / width)
            tissue[near] = _bone(tissue[near], share)
    return tissue


def _bone(tissue: Pixels, share: Pixels) -> Pixels:
    """Bone where ``share`` is below one, with marrow inside."""
    tissue = tissue + _step(1 - share, 0.08) * (BONE - tissue)
    return tissue + _step(0.62 - share, 0.1) * (MARROW - tissue)


def _mediastinum(window: Window, random: Generator) -> Pixels:
    blood = float(random.choice([45, 150]))  # HU; half of the scans were made with contrast
    x0, y0 = (window.view * random.uniform((-0.04, -0.12), (0.04, 0))).tolist()
    heart = np.hypot(window.x - x0, window.y - y0) / (window.view * random.uniform(0.06, 0.12))
    tissue = MUSCLE + (blood - MUSCLE) * _step(1 - heart, 0.05)
    phase = random.uniform(0, 6, 2).tolist()
    fat = np.sin(window.x / 9 + phase[0]) * np.sin(window.y / 7 + phase[1])
    tissue += 0.7 * _step(fat - 0.55, 0.1) * _step(heart - 1.1, 0.05) * (FAT - tissue)
    spine: Pixels = np.hypot(window.x, (window.y - 0.2 * window.view) * 1.15) / 19  # mm
    return _bone(tissue, spine)


def _step(value: NDArray[np.floating], softness: float) -> Pixels:
    """From 0 to 1 around zero, over four times ``softness``."""
    step: Pixels = np.clip(0.5 + value / (4 * softness), 0, 1)
    return step


class Tree(NamedTuple):
    """A branching vessel that lies in the plane at one height."""

    picture: Pixels  # (H, W), 0 to 1
    height: float  # mm
    thickness: float  # mm


def vessels(window: Window, random: Generator) -> Pixels:
    """Draw how much of each pixel of each slice is a vessel, (n, H, W) from 0 to 1."""
    heights, scale = window.heights, _TYPICAL / window.spacing
    crossing = _crossing(heights, scale, random)
    for _ in range(random.poisson(5 + 0.15 * np.ptp(heights))):
        tree = _tree(window, scale, random)
        away = (heights - tree.height) / tree.thickness
        for slice_ in np.flatnonzero(np.abs(away) < 2):
            faded = tree.picture * np.float32(np.exp(-(away[slice_] ** 2)))
            np.maximum(crossing[slice_], faded, out=crossing[slice_])
    return crossing


def _tree(window: Window, scale: float, random: Generator) -> Tree:
    outwards = 0.0 if window.middle[0] > 0 else np.pi  # away from the hilum
    low, high = window.heights.min() - 3, window.heights.max() + 3
    width = scale * random.gamma(3, 0.7)
    image, draw = _canvas()
    x, y = random.uniform(-0.2 * SIZE, 1.2 * SIZE, 2).tolist()
    for path, thickness in _grow(x, y, outwards + random.normal(0, 0.8), width, random):
        draw.line([_FINE * xy for xy in path], 235, max(1, round(_FINE * thickness)))
    return Tree(_coarse(image), random.uniform(low, high), 0.8 + width / scale * _TYPICAL)


def _grow(
    x: float, y: float, direction: float, width: float, random: Generator
) -> Iterator[tuple[list[float], float]]:
    """Yield x, y, x, y, … of a bending branch and its width, then those that leave its end."""
    path, bend = [x, y], random.normal(0, 0.08)
    for turn in random.normal(bend, 0.12, random.integers(4, 10)).tolist():
        direction += turn
        x, y = x + 4.5 * math.cos(direction), y + 4.5 * math.sin(direction)
        path += [x, y]
    yield path, width
    if width > 0.75:
        for turn in random.normal(0, 0.5, random.integers(1, 3)).tolist():
            yield from _grow(x, y, direction + turn, 0.65 * width, random)


def _crossing(heights: Pixels, scale: float, random: Generator) -> Pixels:
    """Vessels that cross the slices and drift from one to the next."""
    count = random.poisson(28)
    position, drift = random.uniform(0, SIZE, (count, 2)), random.normal(0, 0.6, (count, 2))
    radii = scale * random.gamma(3, 0.28, (count, 1)) * random.uniform(1, 1.7, (count, 2))
    bright = random.integers(90, 235, count)
    return np.stack([_dots(position + drift * z, radii, bright) for z in heights])


def _dots(
    position: NDArray[np.float64], radii: NDArray[np.float64], bright: NDArray[np.int64]
) -> Pixels:
    image, draw = _canvas()
    boxes = np.hstack([position % SIZE - radii, position % SIZE + radii]) * _FINE
    for box, fill in zip(boxes.tolist(), bright.tolist(), strict=True):
        draw.ellipse(box, fill)
    return _coarse(image)


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (SIZE * _FINE, SIZE * _FINE))
    return image, ImageDraw.Draw(image)


def _coarse(image: Image.Image) -> Pixels:
    return np.asarray(image.reduce(_FINE), np.float32) / np.float32(255)
