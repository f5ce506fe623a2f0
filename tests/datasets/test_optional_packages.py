"""Data sets without the packages of the extra "data": what does not need them goes on working."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
from lidc_written import crops_files, random_cases, write_files

from probseg.datasets.formats.dicom import read_hounsfield
from probseg.datasets.formats.nifti import read_nifti
from probseg.datasets.lidc.nodules import rasterise
from probseg.errors import MissingDependencyError

PACKAGES = ("nibabel", "pydicom", "pylidc", "SimpleITK", "skimage")


class Missing(MetaPathFinder):
    """Finds no module of a package, as if it were not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


@pytest.mark.slow
def test_png_files_need_none_of_them(tmp_path: Path) -> None:
    root = write_files(tmp_path / "crops", crops_files(random_cases(2, 16)))
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({PACKAGES}))\n"
        "from probseg.datasets.contours import contours\n"
        "from probseg.datasets.folder import folder\n"
        "from probseg.datasets.qubiq import qubiq\n"
        "from probseg.datasets.lidc import lidc\n"
        f"print(len(lidc({str(root)!r}, cache={str(tmp_path / 'cache')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "2", done.stderr


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("nibabel", lambda: read_nifti(b"x", flat=True)),
        ("pydicom", lambda: read_hounsfield(Path("x.dcm"))),
        ("skimage", lambda: rasterise([], (0, 0), 8)),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    package: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(package), *sys.meta_path])
    with pytest.raises(MissingDependencyError, match=rf"'{package}'.*'probseg\[data\]'"):
        call()
