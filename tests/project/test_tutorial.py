"""Whoever follows docs/plugins.md to the letter has a working plugin."""

import re
import sys
from pathlib import Path

import pytest

import probseg

PAGE = "docs/plugins.md"


@pytest.fixture(scope="module")
def tutorial(blocks, tmp_path_factory) -> Path:
    """A folder with exactly the files that the page shows."""
    folder = tmp_path_factory.mktemp("tutorial")
    for block in blocks(PAGE):
        if block.title:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def site(tutorial, run, tmp_path_factory) -> Path:
    """A folder on the search path where that package is installed; no network is used."""
    site = tmp_path_factory.mktemp("site")
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index")
    run(*pip, "--no-build-isolation", "--no-deps", "--target", str(site), ".", cwd=tutorial)
    return site


@pytest.mark.slow
def test_the_installed_name_is_listed_and_builds_the_csae(tutorial, site, run):
    printed = run("use.py", cwd=tutorial, path=[site])
    names, *_, spec = printed.splitlines()
    assert "'radial'" in names and "'planar'" in names
    assert "(4, 2, 2, 64, 64)" in re.sub(r"torch.Size\(\[(.*?)\]\)", r"(\1)", printed)
    assert "radial" in spec and "'steps': 2" in spec


@pytest.mark.slow
def test_the_name_comes_and_goes_with_the_package(site, monkeypatch):
    assert "radial" not in probseg.projectors
    monkeypatch.syspath_prepend(site)
    assert "radial" in probseg.projectors


@pytest.mark.slow
def test_a_checkpoint_names_the_plugin_that_it_needs(site, monkeypatch, tmp_path):
    with monkeypatch.context() as installed:
        installed.syspath_prepend(site)
        probseg.build("csae", projector="radial").save(tmp_path / "m.safetensors")
        assert probseg.load(tmp_path / "m.safetensors").spec["projector"]["name"] == "radial"
    monkeypatch.delitem(sys.modules, "probseg_radial")
    with pytest.raises(probseg.errors.MissingPluginError, match="pip install"):
        probseg.load(tmp_path / "m.safetensors")


@pytest.mark.slow
def test_the_contract_of_the_page_passes(tutorial, site, run):
    quick = ("-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")
    printed = run("-m", "pytest", *quick, "tests/test_contract.py", cwd=tutorial, path=[site])
    assert re.search(r"\d+ passed", printed) and "skipped" not in printed


def test_the_page_shows_the_package_in_plugins(blocks, root):
    shown = {b.title: b.code for b in blocks(PAGE) if b.title and b.title != "use.py"}
    package = root / "plugins" / "probseg-radial"
    assert set(shown) == {
        "pyproject.toml",
        "src/probseg_radial/__init__.py",
        "tests/test_contract.py",
    }
    for name, code in shown.items():
        assert (package / name).read_text(encoding="utf-8") == code, f"{name} differs"
