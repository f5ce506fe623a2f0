"""`probseg new-plugin`: the package installs, and its own tests pass, for every kind."""

import re
import shutil
import subprocess
import sys

import pytest

import probseg
from probseg.cli.new_plugin import package
from probseg.registry import KINDS


def _named(kind):
    return f"my-{kind.replace('_', '-')}"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A package of each kind, as the command writes it."""
    from probseg.cli import main

    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        out = str(folder / kind)
        assert main(["new-plugin", _named(kind), "--kind", kind, "--out", out]) == 0
    return folder


@pytest.fixture(scope="module")
def site(packages, python, tmp_path_factory):
    """A folder on the path where all of them are installed; no network is used."""
    site = tmp_path_factory.mktemp("site")
    copies = tmp_path_factory.mktemp("copies")  # setuptools leaves its own files beside the source
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index")
    sources = [shutil.copytree(packages / kind, copies / kind) for kind in KINDS]
    python(*pip, "--no-build-isolation", "--no-deps", "--target", site, *sources, cwd=copies)
    return site


@pytest.mark.slow
def test_its_own_tests_pass_once_it_is_installed(packages, site, python):
    from probseg.testing import checks

    apart = ("-q", "-p", "no:cacheprovider", "-W", "error", "--import-mode=importlib")
    quick = ("-p", "no:hypothesispytest", "-p", "no:anyio")  # of which they use nothing
    printed = python("-m", "pytest", *apart, *quick, *KINDS, cwd=packages, path=[site])
    assert f"{sum(len(checks[kind]) + 1 for kind in KINDS)} passed" in printed


def test_the_command_sees_what_is_installed(site, python):
    output = python("-m", "probseg", "list", cwd=site, path=[site])
    for kind in KINDS:
        line = rf"^{kind} +{_named(kind)} +probseg_my_{kind} 0.1.0 +\w"
        assert re.search(line, output, re.M), output
    assert "broken" not in output


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_of_it_is_documented(site, command, monkeypatch, kind):
    monkeypatch.syspath_prepend(str(site))
    status, output, _ = command("show", kind, _named(kind))
    assert status == 0 and f"my_{kind}/__init__.py" in output
    rows = output.partition("options\n")[2].partition("\n\n")[0].splitlines()[1:]
    for option in (row.split()[0] for row in rows):
        assert re.search(rf"^    \*{{0,2}}{option}(?: \([^)]*\))?: *\S", output, re.M), option


def test_models_take_the_parts(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    parts = {kind: f"my-{kind}" for kind in ("backbone", "encoder", "projector", "decoder")}
    model = probseg.build("csae", **parts, divergence="my-divergence")
    assert model.spec["projector"]["name"] == "my-projector"
    model = probseg.build("energy", set_loss="my-set-loss")
    assert model.spec["set_loss"]["name"] == "my-set-loss"


@pytest.mark.parametrize("verb", ["check", "format"])
def test_it_is_written_in_the_projects_style(packages, verb):
    google = ("--config", 'lint.pydocstyle.convention="google"')
    rules = ("--select", "E,F,I,B,UP,D", "--ignore", "D105,D107")
    more = (*google, *rules) if verb == "check" else ("--check",)
    sources = [packages / kind / "src" for kind in KINDS]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", verb, "--isolated", "--line-length", "100", *more, *sources],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_its_texts_call_the_kind_as_people_do(packages, kind):
    words = kind.replace("_", " ")
    texts = {file: (packages / kind / file).read_text() for file in ("README.md", "pyproject.toml")}
    assert f"The {words} `{_named(kind)}` for probseg." in texts["README.md"]
    assert f"check {kind.replace('_', '-')} {_named(kind)} " in texts["README.md"]
    assert f'description = "The {words} {_named(kind)} for probseg"' in texts["pyproject.toml"]
    test = (packages / kind / "tests/test_contract.py").read_text()
    assert test.startswith(f'"""The {words} keeps the contract') and f'checks["{kind}"]' in test


def test_what_it_prints_calls_a_set_loss_one(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    _, output, _ = command("new-plugin", "mine", "--kind", "set-loss")
    assert "a package with the set loss 'mine'" in output
    assert "probseg check set-loss mine" in output and "set_loss" not in output


def test_the_range_of_versions_takes_this_one():
    from packaging.requirements import Requirement

    (line,) = re.findall(r'"(probseg~.*?)"', package("metric", "mine")["pyproject.toml"])
    specifier = Requirement(line).specifier
    assert probseg.__version__ in specifier and "99.0" not in specifier


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["radial", "--kind", "projecter"], "did you mean 'projector'"),
        (["Ra dial", "--kind", "projector"], "is no name for a part"),
        (["planar", "--kind", "projectors"], "exists already, of probseg"),
        (["radial", "--kind", "projector", "--out", "."], "exists already; choose another folder"),
    ],
)
def test_what_makes_no_sense_is_refused(command, monkeypatch, tmp_path, arguments, message):
    (tmp_path / "mine").write_text("mine")
    monkeypatch.chdir(tmp_path)
    status, _, stderr = command("new-plugin", *arguments)
    assert status == 2 and message in stderr and stderr.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_the_package_is_called_after_the_part(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert command("new-plugin", "probseg-radial", "--kind", "projector")[0] == 0
    assert (tmp_path / "probseg-radial/src/probseg_radial/__init__.py").is_file()
