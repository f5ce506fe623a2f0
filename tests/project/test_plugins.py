"""The packages under plugins/ come and go one by one, and a broken one breaks only itself."""

import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

import probseg
from probseg.errors import PluginError
from probseg.registry import registry

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
NAMES = sorted(path.name for path in PLUGINS.iterdir())
NEEDS = {"probseg-monai": "monai", "probseg-zuko": "zuko"}
KINDS = [name for name in probseg.__all__ if hasattr(getattr(probseg, name), "create")]

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

    def install(self, source: Path) -> None:
        offline = ("--no-index", "--no-build-isolation", "--no-deps")
        self.pip("install", *offline, str(source))

    def uninstall(self, name: str) -> None:
        self.pip("uninstall", "--yes", name)

    def files(self) -> set[Path]:
        return {path for path in self.site.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture
def environment(run, tmp_path, monkeypatch) -> Environment:
    run("-m", "venv", "--without-pip", "env", cwd=tmp_path)
    (site,) = tmp_path.glob("env/lib/python3*/site-packages")
    (site / "this.pth").write_text("\n".join(filter(None, sys.path)), encoding="utf-8")
    quiet = ("--python", str(tmp_path / "env/bin/python"), "--disable-pip-version-check", "--quiet")

    def pip(*arguments: str) -> str:
        return run("-m", "pip", *quiet, *arguments, cwd=tmp_path)

    monkeypatch.syspath_prepend(site)
    return Environment(site, pip)


@pytest.fixture
def source(tmp_path):
    """A function that copies a plugin, because a build leaves files beside its source."""

    def copy(plugin: str) -> Path:
        left_out = ignore_patterns("build", "*.egg-info", "__pycache__")
        return copytree(PLUGINS / plugin, tmp_path / plugin, ignore=left_out)

    return copy


def _project(plugin: str) -> dict:
    text = (PLUGINS / plugin / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]


def _offered(plugin: str) -> list[tuple[str, str]]:
    """The registry and the name of each part, as the package's own file has them."""
    groups = _project(plugin)["entry-points"]
    return [(group.removeprefix("probseg."), name) for group in groups for name in groups[group]]


def _listed() -> dict[str, list[str]]:
    return {kinds: list(registry(kinds)) for kinds in KINDS}


@pytest.mark.slow
@pytest.mark.parametrize("plugin", NAMES)
def test_a_plugin_comes_and_goes_without_a_trace(plugin, environment, source):
    before, files, offered = _listed(), environment.files(), _offered(plugin)
    assert offered and not any(name in before[kinds] for kinds, name in offered)
    environment.install(source(plugin))
    assert all(name in registry(kinds) for kinds, name in offered)
    environment.uninstall(plugin)
    assert _listed() == before
    assert environment.files() == files


@pytest.mark.slow
@pytest.mark.parametrize("plugin", NAMES)
def test_a_plugins_own_tests_pass_where_it_is_installed(plugin, environment, source, run):
    needed = NEEDS.get(plugin)
    if needed and not find_spec(needed):
        pytest.skip(f"{plugin} needs {needed}")
    environment.install(source(plugin))
    quiet = ("-q", "-p", "no:cacheprovider")
    printed = run("-m", "pytest", *quiet, "tests", cwd=PLUGINS / plugin, path=environment.site)
    assert " passed" in printed and "skipped" not in printed


@pytest.mark.slow
def test_a_plugin_that_raises_at_import_breaks_only_itself(environment, source, tmp_path):
    broken = tmp_path / "probseg-broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text(BROKEN, encoding="utf-8")
    (broken / "probseg_broken.py").write_text("raise RuntimeError('no such device')\n")
    environment.install(broken)
    environment.install(source("probseg-radial"))
    assert {"broken", "planar", "radial"} <= set(probseg.projectors)
    assert probseg.build("csae", projector="radial").spec["projector"]["name"] == "radial"
    with pytest.raises(PluginError, match=r"probseg-broken 0\.3 .*no such device"):
        probseg.build("csae", projector="broken")
    assert probseg.build("csae").spec["projector"]["name"] == "planar"
    environment.uninstall("probseg-broken")
    assert "broken" not in probseg.projectors


@pytest.mark.parametrize("plugin", NAMES)
def test_a_plugin_names_the_versions_of_probseg_that_it_works_with(plugin):
    needs = map(Requirement, _project(plugin)["dependencies"])
    (own,) = (need for need in needs if need.name == "probseg")
    assert probseg.__version__ in own.specifier
    assert "0.2" not in own.specifier and "1.0" not in own.specifier


@pytest.mark.parametrize("plugin", NAMES)
def test_the_core_does_not_know_the_plugin(plugin, root):
    module = plugin.replace("-", "_")
    known = [p for p in (root / "probseg").rglob("*.py") if module in p.read_text("utf-8")]
    assert not known


@pytest.fixture(autouse=True)
def _forget_imported_plugins():
    yield
    for name in [name for name in sys.modules if name.startswith("probseg_")]:
        del sys.modules[name]
