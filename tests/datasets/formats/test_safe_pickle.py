"""Pickles of plain data are read as Python reads them; code in one is named and never run."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from probseg.datasets.formats.safe_pickle import read_pickle
from probseg.errors import DataError

KINDS = [np.bool_, np.uint8, np.int64, np.float16, np.float32, np.float64, np.dtype(">f4")]


class OldPickler(pickle._Pickler):
    """Writes names as NumPy before 2.0 did."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = str(getattr(obj, "__module__", ""))
        if not module.startswith("numpy._core"):
            return super().save_global(obj, name)
        old = module.replace("_core", "core")
        self.write(pickle.GLOBAL + f"{old}\n{obj.__name__}\n".encode())
        self.memoize(obj)


def same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        assert_array_equal(found, wanted)
    else:
        assert found == wanted


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | arrays(st.sampled_from(KINDS), st.tuples(st.integers(0, 3), st.integers(0, 3)))
    | arrays(np.uint8, (2, 3)).map(np.asfortranarray)
    | arrays(np.uint8, (4, 5)).map(lambda array: array[::2, 1:]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(value=values, protocol=st.integers(0, 5))
def test_plain_data_are_read_as_they_were(
    value: Any, protocol: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("pickle") / "plain.pickle"
    path.write_bytes(pickle.dumps(value, protocol))
    same(read_pickle(path), value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_names_of_older_numpy_are_known(protocol: int, tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    with open(tmp_path / "old.pickle", "wb") as file:
        OldPickler(file, protocol).dump({"a": array, "b": [array, array > 2]})
    assert b"numpy.core" in (tmp_path / "old.pickle").read_bytes()
    same(read_pickle(tmp_path / "old.pickle"), {"a": array, "b": [array, array > 2]})


def test_numpy_numbers_become_python_numbers(tmp_path: Path) -> None:
    path = tmp_path / "number.pickle"
    path.write_bytes(pickle.dumps([np.float64(0.5), np.uint8(7)]))
    same(read_pickle(path), [0.5, 7])


PYTHON_2 = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
    b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x01\x02\xfftb."
)


def test_arrays_of_python_2_are_read(tmp_path: Path) -> None:
    (tmp_path / "two.pickle").write_bytes(PYTHON_2)
    same(read_pickle(tmp_path / "two.pickle"), np.array([[0, 1], [2, 255]], np.uint8))


class Calls:
    """Pickles as a call of whatever it was given."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


class Masked(np.ndarray):
    pass


def touch(path: Path) -> dict[str, tuple[Any, str]]:
    """Return what would make a file, and how the refusal calls it."""
    command, code = f"touch {path}", f"open({str(path)!r}, 'w')"
    return {
        "os.system": (Calls(os.system, command), "os.system"),
        "eval": (Calls(eval, code), "builtins.eval"),
        "exec": (Calls(exec, code), "builtins.exec"),
        "open": (Calls(open, str(path), "w"), "io.open"),
        "getattr": (Calls(getattr, Calls(builtins.__import__, "os"), "system"), "getattr"),
        "subprocess": (Calls(subprocess.Popen, ["touch", str(path)]), "subprocess.Popen"),
        "numpy.load": (Calls(np.load, str(path)), "numpy.load"),
        "numpy.save": (Calls(np.save, str(path), [1]), "numpy.save"),
        "numpy.fromfile": (Calls(np.memmap, str(path), "u1", "w+", 0, (9,)), "memmap"),
        "in a list": ({"a": [{"b": Calls(os.system, command)}]}, "os.system"),
        "objects": (np.array([Calls(os.system, command)], object), "type 'O8'"),
        "nothing but objects": (np.array([None, 1], object), "type 'O8'"),
        "records": (np.zeros(2, [("a", "f4")]), "type 'V4'"),
        "texts": (np.array(["a"]), "type 'U1'"),
        "a subclass": (np.zeros(2).view(Masked), "Masked"),
        "other classes": (collections.OrderedDict(a=1), "collections.OrderedDict"),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])  # older ones have names of Python 2
@pytest.mark.parametrize("exploit", touch(Path()))
def test_code_is_named_and_never_run(exploit: str, protocol: int, tmp_path: Path) -> None:
    content, name = touch(tmp_path / "made")[exploit]
    path = tmp_path / "evil.pickle"
    path.write_bytes(pickle.dumps([np.zeros(3), content], protocol))
    with pytest.raises(DataError, match="is unsafe: it asks for") as caught:
        read_pickle(path)
    assert protocol < 4 or name in str(caught.value)
    assert "none of it was run" in str(caught.value)
    assert not (tmp_path / "made").exists()


DTYPE = b"cnumpy\ndtype\nX\x02\0\0\0u8\x89\x88\x87R"
SHELL = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
UNSAFE: dict[str, bytes] = {
    "f2py": b"\x80\x02cnumpy.f2py.crackfortran\nmyeval\nX\x01\0\0\x001\x85R.",
    "a dotted name": b"\x80\x04\x8c\x07_codecs\x8c\x12encode.__globals__\x93.",
    "a name of the reader": b"\x80\x02cprobseg.datasets.formats.safe_pickle\n_view\n.",
    "an inner name": b"\x80\x02cnumpy\ncore.multiarray.scalar\n.",
    "a persistent id": b"\x80\x02X\x01\0\0\0aQ.",
    "an extension": b"\x80\x02\x82\x07.",
    "an instance": b"(X\x04\0\0\0trueios\nsystem\n.",
    "a function's defaults": b"\x80\x02c_codecs\nencode\nN}X\x0c\0\0\0__defaults__)s\x86b.",
    "a function's code": b"\x80\x02c_codecs\nencode\n}X\x05\0\0\0_callNsb.",
    "a compound type": DTYPE + b"(K\x03X\x01\0\0\0|NX\x01\0\0\0a\x85}tb.",
    "another class of array": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN)C\x01b\x87R.",
}
HUGE = (1 << 40).to_bytes(8, "little")
ENCODE = b"c_codecs\nencode\n"
DAMAGED: dict[str, bytes] = {
    "nothing": b"",
    "text": b"this is no pickle",
    "cut": pickle.dumps({"a": np.zeros((40, 40))})[:-500],
    "a shape without bytes": SHELL + b"(K\x01\x8a\x06\0\0\0\0\0\x01\x85" + DTYPE + b"\x89C\x08"
    + bytes(8) + b"tb.",
    "a negative shape": SHELL + b"(K\x01J\xff\xff\xff\xff\x85" + DTYPE + b"\x89C\x08" + bytes(8)
    + b"tb.",
    "no type": SHELL + b"(K\x01K\x08\x85N\x89C\x08" + bytes(8) + b"tb.",
    "huge bytes": b"\x80\x04\x8e" + HUGE + b"abc.",
    "a huge text": b"\x80\x04\x8d" + HUGE + b"abc.",
    "a huge bytearray": b"\x80\x05\x96" + HUGE + b"abc.",
    "a huge frame": b"\x80\x05\x95" + HUGE + b"abc.",
    "many bytes from a number": b"\x80\x02c__builtin__\nbytes\n\x8a\x06\0\0\0\0\0\x01\x85R.",
    "one text again and again": b"\x80\x02" + ENCODE + b"X\x00\x10\0\0" + b"a" * 4096
    + b"X\x06\0\0\0latin1\x86q\x010]" + (ENCODE + b"h\x01Ra") * 4000 + b".",
    "a call of no function": b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    "a class of no class": b"\x80\x02cnumpy\nndarray\nK\x05\x85\x81.",
    "a changed text": b"\x80\x02cnumpy\nndarray\n}X\x01\0\0\0aK\x01sb.",
    "out-of-band data": b"\x80\x05\x97.",
}  # fmt: skip


@pytest.mark.parametrize("exploit", UNSAFE)
def test_tricks_are_refused(exploit: str, tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(UNSAFE[exploit])
    with pytest.raises(DataError, match="is unsafe: it asks for"):
        read_pickle(tmp_path / "a.pickle")


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_damaged_or_claims_too_much_is_refused(damage: str, tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(DAMAGED[damage])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="not a complete pickle of plain data"):
        read_pickle(tmp_path / "a.pickle")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_huge_memo_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(b"\x80\x02K\x07r\xff\xff\xff\x7f.")
    assert read_pickle(tmp_path / "a.pickle") == 7


def test_loops_of_containers_end(tmp_path: Path) -> None:
    loop: list[Any] = [np.ones(2)]
    loop.append({"loop": loop})
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(loop))
    found = read_pickle(tmp_path / "a.pickle")
    assert found[1]["loop"] is found and found[0].tolist() == [1, 1]


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_changed_pickle_is_refused_or_plain(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pickled = bytearray(
        pickle.dumps({"a": np.ones((2, 2)), "b": [1, "x"]}, data.draw(st.sampled_from([2, 4, 5])))
    )
    for _ in range(data.draw(st.integers(1, 3))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "a.pickle"
    path.write_bytes(pickled)
    with suppress(DataError):
        read_pickle(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path / "none.pickle")
