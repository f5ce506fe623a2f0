"""What is done to images between their files and a model, as a record that travels with both."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.datasets.formats.mask_values import MaskValues
from probseg.datasets.formats.preprocessing import (
    Size,
    check_size,
    resize_images,
    resize_masks,
    stretch,
)
from probseg.datasets.geometry import (
    RESIZE,
    Placement,
    crop_offset,
    fitting,
    middle,
    moved,
    placed,
)
from probseg.datasets.intensities import (
    NORMALISE,
    Window,
    check_range,
    check_window,
    faint,
    in_words,
    is_window,
    scale,
)
from probseg.errors import DataError, InputError, OptionError
from probseg.options import check_choice, is_list

_OTHERWISE = 'open the data with window=(LOW, HIGH), or normalise="percentiles"'
_AS_TRAINED = "scale them as the images were that the model learnt from"
_SAME_SPACING = 1.1  # of images that are one scale

_HOW = {"pad": "padded", "stretch": "stretched", "crop": "their sides cut off"}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What was done to the images of a data set, from their files to tensors; plain data.

    A data set has it as ``preprocessing``. :func:`probseg.fit` gives it to the model, whose files
    carry it, and ``probseg predict`` does the same to new images: :meth:`apply`, :meth:`undo`. What
    is unknown is None.

    Args:
        size: (H, W) that images were resized to, or that they had in their files.
        resize: How: ``"pad"`` keeps the aspect and fills up with 0, ``"crop"`` keeps it and cuts
            off what stands out, ``"stretch"`` does not keep it; None where images were not resized.
        crop: (H, W) of the middle that was cut out afterwards.
        normalise: ``"stretch"``, ``"window"``, ``"percentiles"`` or ``"none"``; None stretches all
            but 8-bit images.
        window: The values, or the percentiles, that became 0 and 1; of ``"none"`` the range of the
            files' whole numbers, (0, 255) or (0, 65535).
        channels: Names of the channels, in their order.
        classes: Names of the classes, background included.
        mask_values: What the values in the files of masks mean.
        ignore: The class index of pixels that nobody labelled.
        annotators: Names of the annotators.
        spacing: mm between the rows and the columns of the tensors, where it is the same in all.

    Raises:
        OptionError: It is resized to no size, or a window that is none.

    Examples:
        >>> import numpy as np
        >>> trained = Preprocessing(size=(4, 4), resize="pad", normalise="window", window=(0, 10))
        >>> seen = trained.apply(np.full((1, 2, 4), 5))
        >>> seen[0, :, 0].tolist()
        [0.0, 0.5, 0.5, 0.0]
        >>> trained.undo(seen, (2, 4)).shape
        (1, 2, 4)
    """

    size: Size | None = None
    resize: str | None = None
    crop: Size | None = None
    normalise: str | None = None
    window: Window | None = None
    channels: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    mask_values: MaskValues | None = None
    ignore: int | None = None
    annotators: tuple[str, ...] | None = None
    spacing: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.resize:
            if check_size(self.size) is None:
                raise OptionError(f"resize={self.resize!r} needs a size")
        if self.normalise == "window" and not self.window:
            raise OptionError('normalise="window" needs a window, such as (-1000, 400)')

    @property
    def shape(self) -> Size | None:
        """(H, W) of the tensors."""
        return self.crop or self.size

    @property
    def options(self) -> dict[str, Any]:
        """The options with which a data set is opened alike; the crop is no such option."""
        square = self.size is not None and self.size[0] == self.size[1]
        size = self.size[0] if self.size and square else self.size
        resized = {"size": size, "resize": self.resize} if self.resize else {}
        window = {"window": self.window} if self.window else {}
        normalised = {"normalise": self.normalise} if self.normalise else {}
        masks = self.mask_values.options if self.mask_values else {}
        return {**resized, **normalised, **window, **masks}

    @property
    def remedy(self) -> str:
        """What to do with data of other preprocessing."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        opened = f"open the data with {options or 'the options of the training data'}"
        crop = f", crop them with probseg.datasets.views.CentreCrop(data, {self.crop})"
        return f"{opened}{crop if self.crop else ''}"

    def __str__(self) -> str:
        """A sentence for users."""
        size = f"images are resized to {_by(self.size)}, {_HOW.get(self.resize or '')}"
        crop = f"their middle {_by(self.crop)} is cut out"
        geometry = [*([size] if self.resize else []), *([crop] if self.crop else [])]
        return "; ".join([*geometry, self._values()])

    def to_plain(self) -> dict[str, Any]:
        """Return what is known, of the types that JSON has."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.mask_values is not None:
            known["mask_values"] = self.mask_values.options
        return {name: _listed(value) for name, value in known.items() if value is not None}

    @classmethod
    def from_plain(cls, plain: object) -> Preprocessing:
        """Return what :meth:`to_plain` gave.

        Raises:
            DataError: It is damaged, or of a newer version of probseg.
            OptionError: Two of its values contradict each other.
        """
        if not isinstance(plain, Mapping):
            raise DataError(f"preprocessing must be a mapping, not {plain!r:.80}")
        names = {one.name for one in fields(cls)}
        if others := sorted(map(str, plain.keys() - names)):
            raise DataError(
                f"preprocessing has {others[0]!r:.80}, which this probseg does not know; update it "
                "with pip install --upgrade probseg"
            )
        for name, value in plain.items():
            if not _CHECKS[name](value):
                raise DataError(f"preprocessing has the {name} {value!r:.80}")
        known = {name: _tupled(value) for name, value in plain.items()}
        if "mask_values" in known:
            known["mask_values"] = MaskValues.of(**known["mask_values"])
        return cls(**known)

    def differences(
        self, other: Preprocessing, names: tuple[str, str] = ("the model", "the data")
    ) -> list[str]:
        """Return in words what gives a model other images, with both values; unknown is no reason.

        Names of annotators make no difference, nor does the size of files where neither were
        resized.
        """
        lines = []
        sizes = self._geometry(other), other._geometry(self)
        if sizes[0] != sizes[1]:
            lines.append(f"size {sizes[0]} of {names[0]}, {sizes[1]} of {names[1]}")
        if self._normalised_otherwise(other):
            lines.append(
                f"normalisation of {names[0]}: {self._values()}; of {names[1]}: {other._values()}"
            )
        for name in ("channels", "classes"):
            one, two = getattr(self, name), getattr(other, name)
            if one and two and len(one) == len(two) and one != two:  # another number is told apart
                lines.append(f"{name} {_listed(one)} of {names[0]}, {_listed(two)} of {names[1]}")
        if not (self.resize or other.resize) and _spaced_otherwise(self.spacing, other.spacing):
            one, two = (_by(spacing) for spacing in (self.spacing, other.spacing))
            lines.append(f"spacing {one} mm of {names[0]}, {two} mm of {names[1]}")
        return lines

    def mask_differences(
        self, other: Preprocessing, names: tuple[str, str] = ("the model", "the data")
    ) -> list[str]:
        """Return in words what gives masks another meaning; unknown is no reason."""
        one, two = self.mask_values, other.mask_values
        if one is None or two is None or one == two:
            return []
        return [f"masks of {names[0]}: {one}; of {names[1]}: {two}"]

    def placement(self, native: Size) -> Placement:
        """Return where an image of a size goes in the frame that it is resized into."""
        return placed(native, self.size, self.resize)

    def images(self, pixels: NDArray[Any], remedy: str = _OTHERWISE) -> NDArray[Any]:
        """Return images (n, C, H, W) of files as they are packed: uint8 for [0, 1], or float16.

        Args:
            pixels: As in the files.
            remedy: What to do about values that are too large.

        Raises:
            DataError: Values are far too large to be left as they are, or of another range than
                the values that were.
        """
        inner, size, offset = self.placement(pixels.shape[-2:])
        if self.normalise == "none" and self.window:
            check_range(pixels.dtype, self.window)
        normalise = self.normalise or ("none" if pixels.dtype == np.uint8 else "stretch")
        if normalise == "stretch":  # of what is left after interpolation
            return moved(stretch(resize_images(pixels, inner)), size, offset)
        if normalise == "none" and pixels.dtype == np.uint8:
            resized = resize_images(pixels, inner)
            return moved(np.rint(resized).astype(np.uint8), size, offset)
        scaled = resize_images(scale(pixels, normalise, self.window, remedy), inner)
        return moved(scaled.astype(np.float16), size, offset)

    def faint(self, pixels: NDArray[Any]) -> NDArray[np.bool_]:
        """Return to which images (n, C, H, W) the window leaves nearly one value.

        See :func:`probseg.datasets.intensities.faint`.
        """
        if self.normalise != "window" or not self.window or not pixels.size:
            return np.zeros(len(pixels), np.bool_)
        return faint(pixels, self.window)

    def masks(self, masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return masks (n, A, H, W) at the size of the images.

        What is filled up is ignored, if some pixels are, and otherwise background.
        """
        inner, size, offset = self.placement(masks.shape[-2:])
        return moved(resize_masks(masks, inner), size, offset, fill=self.ignore or 0)

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Return the pixels (C, H, W) of a file as a model is to see them.

        An image smaller than the crop is left whole. One to which the window leaves nearly one
        value warns.

        Raises:
            DataError: Values are far too large to be left as they are, or of another range.
            InputError: The array has other axes.
        """
        if (pixels := np.asarray(pixels)).ndim != 3:
            raise InputError(
                f"pixels must be (C, H, W), not {pixels.shape}; a grey image is pixels[None]"
            )
        if self.faint(pixels[None])[0]:
            _warn_of_window(pixels, self._values())
        images = middle(self.images(pixels[None], _AS_TRAINED)[0], self.crop)
        unit = np.float32(1 / 255 if images.dtype == np.uint8 else 1)
        seen: NDArray[np.float32] = np.multiply(images, unit, dtype=np.float32)
        return seen

    def undo(self, pixels: NDArray[Any], native: Size) -> NDArray[Any]:
        """Return label maps or probabilities (..., H, W) at the size of the file that they are of.

        Integers are label maps, resized by nearest neighbour, others by linear interpolation.
        Padding is cut off. Outside of a crop, which a model does not see, everything is 0.
        """
        inner, size, offset = self.placement(native)
        framed = moved(pixels, size, crop_offset(size, fitting(self.crop, size)))
        own = moved(framed, inner, (-offset[0], -offset[1]))
        resize: Any = resize_masks if pixels.dtype.kind in "bui" else resize_images
        resized: NDArray[Any] = resize(own.reshape(1, -1, *inner), native)
        return resized.reshape(*pixels.shape[:-2], *native).astype(pixels.dtype)

    def _values(self) -> str:
        return in_words(self.normalise, self.window)

    def _normalised_otherwise(self, other: Preprocessing) -> bool:
        if not self.normalise or not other.normalise:
            return False
        ranges = self.window and other.window  # which images of real numbers lack
        known = self.normalise != other.normalise or self.normalise != "none" or ranges
        return bool(known) and self._values() != other._values()

    def _geometry(self, other: Preprocessing) -> str:
        """Return the size in words, or a part of it, where it must equal that of another."""
        if not self.size or not other.size:
            crops = self.crop and other.crop
            return f"cropped to {_by(self.crop)}" if crops else ""
        comparable = bool(self.resize or other.resize)
        how = f" {_HOW[self.resize]}" if self.resize and other.resize else ""
        whole = f"{_by(self.size)}{how}" if comparable else ""
        if self.shape == other.shape or not (self.crop or other.crop):
            return whole
        return f"{_by(self.size)}{how}, {f'cropped to {_by(self.crop)}' if self.crop else 'whole'}"


def wanted(
    size: int | Sequence[int] | None = None,
    resize: str = "pad",
    normalise: str | None = None,
    window: Sequence[float] | None = None,
) -> Preprocessing:
    """Return the preprocessing that options of a data set ask for.

    Args:
        size: An edge, or height and width, in pixels; None leaves images as they are.
        resize: ``"pad"``, ``"stretch"`` or ``"crop"``.
        normalise: ``"stretch"``, ``"window"``, ``"percentiles"`` or ``"none"``.
        window: Two values, or two percentiles with ``normalise="percentiles"``.

    Raises:
        OptionError: One makes no sense.

    Examples:
        >>> wanted(64, window=(-1000, 400)).options
        {'size': 64, 'resize': 'pad', 'normalise': 'window', 'window': (-1000.0, 400.0)}
    """
    check_choice("resize", resize, RESIZE)
    checked = check_size(size)
    if normalise is None:
        normalise = "window" if window is not None else None
    else:
        check_choice("normalise", normalise, NORMALISE)
    return Preprocessing(
        size=checked,
        resize=resize if checked else None,
        normalise=normalise,
        window=check_window(normalise, window),
    )


def preprocessing_of(owner: object) -> Preprocessing | None:
    """Return what a data set or a model says was done to its images, if it says so."""
    known = getattr(owner, "preprocessing", None)  # which a stranger may use for something else
    return known if isinstance(known, Preprocessing) else None


def cropped(preprocessing: Preprocessing | None, crop: Size) -> Preprocessing | None:
    """Return the preprocessing of images whose middle is cut out."""
    known = preprocessing or Preprocessing()
    return preprocessing if crop == known.shape else replace(known, crop=crop)


def common_spacing(spacing: NDArray[np.floating[Any]]) -> tuple[float, float] | None:
    """Return the spacing of images (N, 2) where it is known and the same in all of them."""
    if not len(spacing) or not np.isfinite(spacing).all():
        return None
    low, high = spacing.min(0), spacing.max(0)
    if low.min() <= 0 or (high > low * 1.01).any():
        return None
    rows, columns = np.median(spacing, 0).tolist()
    return round(rows, 6), round(columns, 6)


def _warn_of_window(pixels: NDArray[Any], window: str) -> None:
    from probseg.utils.model_inputs import ScaleWarning  # imports torch, which takes seconds

    warnings.warn(
        f"the image has values from {pixels.min():g} to {pixels.max():g}, and {window}, so that "
        f"hardly any contrast is left: if it is stored in other units, {_AS_TRAINED}",
        ScaleWarning,
        stacklevel=3,
    )


def _spaced_otherwise(one: tuple[float, float] | None, two: tuple[float, float] | None) -> bool:
    if one is None or two is None:
        return False
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    return max(*ratios, *(1 / ratio for ratio in ratios)) > _SAME_SPACING


def _by(size: tuple[float, float] | None) -> str:
    return "unknown" if size is None else f"{size[0]:g}x{size[1]:g}"


def _listed(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, (list, tuple)) else value


def _is_size(value: Any) -> bool:
    return is_list(value, Integral, 2) and min(value) > 0


def _is_spacing(value: Any) -> bool:
    return is_list(value, Real, 2) and 0 < min(value) and max(value) < math.inf


def _is_names(value: object) -> bool:
    return is_list(value, str)


_CHECKS: dict[str, Any] = {
    "size": _is_size,
    "resize": lambda value: value in RESIZE,
    "crop": _is_size,
    "normalise": lambda value: value in NORMALISE,
    "window": is_window,
    "channels": _is_names,
    "classes": _is_names,
    "mask_values": lambda value: (
        isinstance(value, Mapping) and value.keys() <= {one.name for one in fields(MaskValues)}
    ),
    "ignore": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "annotators": _is_names,
    "spacing": _is_spacing,
}
