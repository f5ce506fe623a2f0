"""`pytest --probseg-check` makes a test of each check, and is out of the way otherwise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from probseg.testing import checks

ROOT = Path(__file__).resolve().parents[2]
# The others' plugins would take most of the time until pytest has started.
QUICK = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")
BROKEN = """
from probseg.projectors.planar import planar


def detached(features, context_features):
    flow = planar(features, context_features)
    forward = flow.forward
    flow.forward = lambda base, context: forward(base, context.detach())
    return flow


def raising(features, context_features):
    raise RuntimeError("out of ideas")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder on the path where the plugin is installed, and a package of broken projectors."""
    site = tmp_path_factory.mktemp("site")
    installed = {
        "pytest-probseg": "[pytest11]\nprobseg = probseg.testing.pytest_plugin\n",
        "acme": "[probseg.projectors]\ndetached = acme:detached\nraising = acme:raising\n"
        "kl = acme:detached\n",
    }
    for name, entries in installed.items():
        info = site / f"{name.replace('-', '_')}-1.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text(entries)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (site / "acme.py").write_text(BROKEN)
    return site


@pytest.fixture
def run(site, tmp_path):
    """A function that runs pytest in an empty folder, and returns its status and its output."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *QUICK, *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
                "OMP_NUM_THREADS": "1",
                "PYTEST_ADDOPTS": "",
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_each_check_is_a_test_without_any_file(run, tmp_path):
    (tmp_path / "test_other.py").write_text("def test_other(): raise SystemExit\n")
    status, output = run("-v", "--probseg-check", "projectors:planar", "--probseg-check", "ged")
    assert status == 0, output
    passed = re.findall(r"(\w+:\w+)::(\w+) PASSED", output)
    wanted = [("projector:planar", c.__name__) for c in checks["projector"]]
    assert passed == wanted + [("metric:ged", c.__name__) for c in checks["metric"]]


def test_what_is_broken_fails_with_the_reason_and_an_error_with_its_traceback(run):
    status, output = run(
        *("--probseg-check", "detached", "--probseg-check", "raising", "-k", "gradients_reach_the")
    )
    others = 2 * (len(checks["projector"]) - 2)
    assert status == 1 and f"3 failed, 1 passed, {others} deselected" in output, output
    # each failure stands under a line with its name
    _, detached, *raising = re.split(r"_+ projector:\w+: \w+ _+\n", output)
    assert detached.startswith("projector 'detached': gradients_reach_the_context: expected a ")
    assert len(detached.splitlines()) == 2, "the reason and the promise, no traceback"
    assert len(raising) == 2
    assert all('raise RuntimeError("out of ideas")' in failure for failure in raising)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("projecter:planar", "did you mean 'projector'"),
        ("projector:plannar", "did you mean 'planar'"),
        ("plannar", "no part is called 'plannar'; did you mean 'planar'"),
        ("kl", "say projector:kl or divergence:kl"),
    ],
)
def test_a_wrong_name_gets_the_nearest_right_one(run, wanted, message):
    status, output = run("--probseg-check", wanted)
    assert status == pytest.ExitCode.USAGE_ERROR and message in output
    assert "INTERNALERROR" not in output


def test_named_files_are_collected_as_well(run, tmp_path):
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    status, output = run("--probseg-check", "identity", "test_other.py")
    assert status == 0 and f"{len(checks['projector']) + 1} passed" in output


@pytest.mark.slow
def test_workers_share_the_checks(run):
    status, output = run("--probseg-check", "identity", "--numprocesses", "2")
    assert status == 0 and f"{len(checks['projector'])} passed" in output, output


def test_pytest_starts_without_torch_and_without_the_plugin(run, tmp_path):
    (tmp_path / "test_light.py").write_text(
        "import sys\n"
        "def test_light(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('probseg')\n"
        "    assert not {'torch', 'numpy'} & set(sys.modules)\n"
    )
    assert run()[0] == 0
    (tmp_path / "test_light.py").write_text(
        "def test_light(pytestconfig):\n"
        "    assert not pytestconfig.pluginmanager.has_plugin('probseg')\n"
    )
    assert run("-p", "no:probseg")[0] == 0


def test_the_project_offers_the_plugin():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {
        "probseg": "probseg.testing.pytest_plugin"
    }
