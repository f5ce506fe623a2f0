"""What pyproject.toml and the Makefile promise."""

import shutil
import subprocess
import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import probseg

SHIPPED = ("train", "plot", "data", "export", "bench", "ray", "all")


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _requirement(requirements, name):
    return next(r for r in map(Requirement, requirements) if r.name == name)


def test_the_version_is_the_packages(project, root):
    assert "version" not in project and "version" in project["dynamic"]
    assert version("probseg") == probseg.__version__
    assert f"## {probseg.__version__}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_the_malicious_releases_of_lightning_are_excluded(project, version):
    lightning = _requirement(project["optional-dependencies"]["train"], "lightning")
    assert Version(version) not in lightning.specifier
    assert Version("2.6.6") in lightning.specifier


def test_the_environment_satisfies_what_is_declared(project):
    extras = project["optional-dependencies"]
    declared = [
        *project["dependencies"],
        *(r for extra in SHIPPED for r in extras[extra]),
        *extras["dev"],
    ]
    for requirement in map(Requirement, declared):
        assert Version(version(requirement.name)) in requirement.specifier, str(requirement)


@pytest.fixture
def plan(root, tmp_path):
    """A function from targets to the commands that make would run, in a copy of the checkout."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(root / name, tmp_path)

    def commands(*targets: str) -> str:
        make = ["make", "--dry-run", "VENV=env", *targets]
        return subprocess.run(make, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    return commands


def test_make_installs_once(plan, tmp_path):
    assert "-m venv env" in plan("bench") and "pip install" in plan("bench")
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").touch()
    (tmp_path / "env/.probseg-bench").touch()
    again = plan("bench")
    assert "benchmarks.run" in again and "pip install" not in again and "-m venv" not in again


@pytest.mark.parametrize(
    "target",
    ["setup", "bench", "test", "test-all", "oldest", "lint", "stats", "docs", "extras", "mutation"],
)
def test_make_has_the_target(plan, target):
    assert plan(target)
