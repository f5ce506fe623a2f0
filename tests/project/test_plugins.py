"""The packages under plugins/ come and go one by one, and a broken one breaks only itself."""

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

import probseg
from probseg.errors import PluginError
from probseg.registry import Registry, registry

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
NAMES = sorted(path.parent.name for path in PLUGINS.glob("*/pyproject.toml"))
KINDS = [name for name in probseg.__all__ if isinstance(getattr(probseg, name), Registry)]

BROKEN = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "probseg-broken"
version = "0.3"

[project.entry-points."probseg.projectors"]
broken = "probseg_broken:Broken"

[tool.setuptools]
py-modules = ["probseg_broken"]
"""


class Environment(NamedTuple):
    """A fresh environment on top of this one; this process sees what is installed there."""

    site: Path
    pip: Callable[..., str]

    def install(self, *sources: Path) -> None:
        offline = ("--no-index", "--no-build-isolation", "--no-deps", "--no-compile")
        self.pip("install", *offline, *map(str, sources))

    def uninstall(self, *names: str) -> None:
        self.pip("uninstall", "--yes", *names)

    def files(self) -> set[Path]:
        return {path for path in self.site.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def environment(run, tmp_path_factory) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("environment")
    run("-m", "venv", "--without-pip", "env", cwd=folder)
    (site,) = folder.glob("env/lib/python3*/site-packages")
    (site / "this.pth").write_text("\n".join(filter(None, sys.path)), encoding="utf-8")
    quiet = ("--python", str(folder / "env/bin/python"), "--disable-pip-version-check", "--quiet")

    def pip(*arguments: str) -> str:
        return run("-m", "pip", *quiet, *arguments, cwd=folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        yield Environment(site, pip)


@pytest.fixture
def source(tmp_path) -> Callable[[str], Path]:
    """A function that copies a plugin, because a build leaves files beside its source."""

    def copy(plugin: str) -> Path:
        left_out = ignore_patterns("build", "*.egg-info", "__pycache__")
        return copytree(PLUGINS / plugin, tmp_path / plugin, ignore=left_out)

    return copy


@pytest.fixture
def broken(tmp_path) -> Path:
    """The source of a plugin that raises when it is imported."""
    folder = tmp_path / "probseg-broken"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(BROKEN, encoding="utf-8")
    (folder / "probseg_broken.py").write_text("raise RuntimeError('no such device')\n")
    return folder


def _project(plugin: str) -> dict:
    text = (PLUGINS / plugin / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]


def _offered(plugin: str) -> list[tuple[str, str]]:
    """The registry and the name of each part, as the package's own file has them."""
    groups = _project(plugin)["entry-points"]
    return [(group.removeprefix("probseg."), name) for group in groups for name in groups[group]]


def _listed() -> set[tuple[str, str]]:
    return {(kinds, name) for kinds in KINDS for name in registry(kinds)}


@pytest.mark.slow
def test_plugins_come_one_by_one_and_go_without_a_trace(environment, source):
    before, files = _listed(), environment.files()
    for plugin in NAMES:
        known = _listed()
        environment.install(source(plugin))
        assert _listed() - known == set(_offered(plugin)) != set(), plugin
    environment.uninstall(*NAMES)
    assert _listed() == before
    assert environment.files() == files


def test_a_plugin_that_raises_at_import_breaks_only_itself(environment, source, broken):
    environment.install(broken, source("probseg-radial"))
    assert {"broken", "planar", "radial"} <= set(probseg.projectors)
    assert probseg.build("csae", projector="radial").spec["projector"]["name"] == "radial"
    with pytest.raises(PluginError, match=r"probseg_broken 0\.3 .*no such device"):
        probseg.build("csae", projector="broken")
    assert probseg.build("csae").spec["projector"]["name"] == "planar"
    environment.uninstall("probseg-broken", "probseg-radial")
    assert not {"broken", "radial"} & set(probseg.projectors)


@pytest.mark.install
@pytest.mark.parametrize("plugin", NAMES)
def test_a_plugins_own_tests_pass_where_it_alone_is_installed(
    plugin, environment, source, run, root
):
    folder = source(plugin)
    environment.install(folder)
    try:
        quiet = ("-q", "-p", "no:cacheprovider")
        path = [environment.site, root]  # the benchmark is in the checkout only
        printed = run("-m", "pytest", *quiet, "tests", cwd=folder, path=path)
    finally:
        environment.uninstall(plugin)
    assert " passed" in printed and "skipped" not in printed


@pytest.mark.parametrize("plugin", NAMES)
def test_a_plugin_names_the_versions_of_probseg_that_it_works_with(plugin):
    needs = map(Requirement, _project(plugin)["dependencies"])
    (own,) = (need for need in needs if need.name == "probseg")
    assert probseg.__version__ in own.specifier
    assert "0.2" not in own.specifier and "1.0" not in own.specifier


@pytest.mark.parametrize("plugin", NAMES)
def test_the_core_does_not_know_the_plugin(plugin, root):
    known = [
        path
        for package in ("probseg", "benchmarks")
        for path in (root / package).rglob("*.py")
        if plugin.replace("-", "_") in path.read_text("utf-8")
    ]
    assert not known


@pytest.fixture(autouse=True)
def _forget_imported_plugins():
    yield
    for name in [name for name in sys.modules if name.startswith("probseg_")]:
        del sys.modules[name]
