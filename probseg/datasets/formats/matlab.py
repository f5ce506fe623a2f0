"""MATLAB files of numbers, among them the annotations of BSDS500."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probseg.errors import DataError

_LARGEST = 1 << 29  # bytes
_ANNOTATIONS = "groundTruth"  # BSDS500: a cell of structures, one an annotator
_MASK = "Boundaries"  # beside Segmentation, whose numbers are regions and not classes


def read_matlab(data: bytes) -> NDArray[Any]:
    """Decode the one array of numbers in a file, or BSDS500's masks (A, H, W), as it numbers them.

    Those are what each annotator marked as boundaries between regions.

    Raises:
        DataError: The bytes are not a complete file of MATLAB 4 to 7.2, or hold anything else.
    """
    variables = _load(data)
    if _ANNOTATIONS in variables:
        return _boundaries(variables[_ANNOTATIONS])
    if len(variables) != 1:
        raise DataError(f"holds {len(variables)} variables ({', '.join(variables)}); save one")
    (array,) = variables.values()
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise DataError("holds no array of real numbers")
    return array


def count_annotations(data: bytes) -> int:
    """Return the number of BSDS500's annotators in a file, 0 if it is none of that data set.

    Raises:
        DataError: The bytes are not a complete file.
    """
    variables = _load(data)
    return len(_boundaries(variables[_ANNOTATIONS])) if _ANNOTATIONS in variables else 0


def _load(data: bytes) -> dict[str, Any]:
    from scipy.io import loadmat, whosmat

    try:
        for name, shape, _ in whosmat(io.BytesIO(data)):
            if 8 * math.prod(map(int, shape)) > _LARGEST:
                raise DataError(f"claims {'x'.join(map(str, shape))} elements of {name}")
        variables = loadmat(io.BytesIO(data))
    except DataError:
        raise
    except NotImplementedError as error:
        raise DataError("is a file of MATLAB 7.3; save it with the option -v7") from error
    except Exception as error:  # a damaged file can raise anything
        raise DataError("is not a complete MATLAB file") from error
    return {name: value for name, value in variables.items() if not name.startswith("__")}


def _boundaries(cells: Any) -> NDArray[np.uint8]:
    try:
        masks = [np.asarray(one[_MASK][0, 0]) for one in np.asarray(cells, object).flat]
        return np.stack([mask.astype(bool) for mask in masks]).view(np.uint8)
    except Exception as error:
        raise DataError(f"holds a {_ANNOTATIONS} without {_MASK} of one size") from error
