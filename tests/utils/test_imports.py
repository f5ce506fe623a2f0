"""Optional packages: imported where they are, and named with the remedy where they are not."""

import math
import sys

import pytest

from probseg.errors import MissingDependencyError, ProbsegError
from probseg.utils.imports import require


def test_installed_module_is_returned():
    assert require("math", extra="train", for_="this test") is math
    assert require("os.path", extra="train", for_="this test").join("a", "b")


def test_missing_package_is_named_with_what_needs_it_and_the_command():
    with pytest.raises(MissingDependencyError) as raised:
        require("no_such_package.part", extra="plot", for_="probseg.plots")
    assert str(raised.value) == (
        "probseg.plots needs the package 'no_such_package', which is not installed; "
        "run: pip install 'probseg[plot]'"
    )
    assert isinstance(raised.value, ProbsegError)
    assert isinstance(raised.value, ImportError)
    assert raised.value.name == "no_such_package"


def test_a_package_that_is_broken_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("broken_package", extra="plot", for_="this test")
    assert "broken_package" not in sys.modules


def test_a_part_that_an_installed_package_lacks_is_not_called_missing():
    with pytest.raises(ModuleNotFoundError, match="not a package"):
        require("math.no_such_part", extra="plot", for_="this test")
