"""The command `probseg-bench` works from an installed copy as well as from the checkout."""

import shutil
import subprocess
import tomllib
import zipfile
from importlib.metadata import EntryPoint

import pytest

from benchmarks.cli import COMMANDS, main


@pytest.fixture(scope="module")
def wheel(root, run, tmp_path_factory):
    """A wheel of what git tracks."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        [
            "git",
            "ls-files",
            "-z",
            "probseg",
            "benchmarks",
            "pyproject.toml",
            "README.md",
            "LICENSE",
        ],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, tracked.split("\0")):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / "source" / name)
    pip = ("-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index")
    run(*pip, "--no-build-isolation", "--no-deps", "--wheel-dir", ".", "./source", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_file_that_the_benchmark_reads(wheel, root) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = root / "benchmarks"
    folders = [source, *(p for p in source.rglob("*") if (p / "__init__.py").exists())]
    kinds = {".py", ".toml", ".json", ".csv", ".css", ".js", ".j2"}
    read = {
        path.relative_to(root).as_posix()
        for path in source.rglob("*")
        if path.suffix in kinds and not path.is_relative_to(source / "results")
        if not path.is_relative_to(source / "out")
    }
    assert len(folders) > 4 and read
    assert read <= packed
    assert not any(name.startswith(("tests/", "benchmarks/results/")) for name in packed)


def test_the_wheel_holds_what_the_command_and_the_plugin_of_pytest_need(wheel, root) -> None:
    templates = {
        path.relative_to(root).as_posix()
        for path in (root / "probseg/cli/templates").rglob("*.txt")
    }
    archive = zipfile.ZipFile(wheel)
    assert len(templates) == 12 and templates <= set(archive.namelist())
    (points,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    text = archive.read(points).decode()
    assert "probseg = probseg.cli:main" in text
    assert "[pytest11]\nprobseg = probseg.pytest_plugin" in text


def test_the_installed_copy_finds_its_suite_and_its_template(wheel, run, tmp_path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "from benchmarks import cli, suite; from benchmarks.html.page import _templates, _asset;"
        "suite.read_suite(); _templates().get_template('report.html.j2'); _asset('report.css');"
        "print(cli.__file__)"
    )
    assert str(tmp_path) in run("-c", code, cwd=tmp_path, path=tmp_path)


def test_the_entry_point_is_the_command(root) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    point = EntryPoint("probseg-bench", project["scripts"]["probseg-bench"], "console_scripts")
    assert point.load() is main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_without_torch(run, root, command: str) -> None:
    code = (
        "import sys; from benchmarks.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    assert "usage" in run("-c", code, cwd=root)


def test_an_unknown_command_is_refused_in_a_line(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["benchmark"])
    assert stop.value.code == 2
    assert "invalid choice: 'benchmark'" in capsys.readouterr().err
