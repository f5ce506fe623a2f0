"""Arrays in .npy files: as NumPy reads them, damaged ones refused, in many threads at once."""

import ast
import gc
import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from probseg.datasets.formats.arrays import read_array
from probseg.errors import DataError

KINDS = st.one_of(
    arrays.integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?"),
    arrays.boolean_dtypes(),
)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@given(arrays.arrays(KINDS, arrays.array_shapes(min_dims=0, min_side=0, max_side=4)), st.booleans())
def test_an_array_is_as_it_was_saved(array, by_columns):
    data = npy(np.asfortranarray(array) if by_columns else array)
    got = read_array(data)
    assert got.dtype == array.dtype and got.flags.writeable
    np.testing.assert_array_equal(got, array)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "not a complete NumPy file"),
        (npy(np.zeros(3))[:50], "not a complete NumPy file"),
        (npy(np.zeros(3))[:-1], "is truncated: it claims 3 elements"),
        (npy(np.zeros(3)).replace(b"(3,)", b"(-3,)"), "not a complete NumPy file"),
        (npy(np.array(["a"])), "not real numbers"),
        (npy(np.array([None])), "not real numbers"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(data, message):
    with pytest.raises(DataError, match=message):
        read_array(data)


def test_threads_that_parse_python_at_once_read_the_same():
    """CPython keeps the depth of its syntax trees for all threads together (cpython#106905)."""
    data, thresholds, interval = npy(np.zeros((8, 8))), gc.get_threshold(), sys.getswitchinterval()

    def read(_):
        for _ in range(300):
            with suppress(SystemError):
                ast.literal_eval("{'shape': (8, 8)}")  # as another library would
            assert read_array(data).shape == (8, 8)

    def give_way(*_):
        time.sleep(0)

    gc.callbacks.append(give_way)
    gc.set_threshold(50)
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read, range(8)))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(give_way)
