"""Modules import only from the layers below their own, as pyproject.toml lists them."""

import subprocess
import sys

import grimp


def test_every_import_points_down(root):
    code = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    # in a process of its own, for it configures logging, which silences the loggers of this one
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_later_imports_and_those_for_types_count():
    graph = grimp.build_graph("probseg", cache_dir=None)
    inside_a_function = graph.find_modules_directly_imported_by("probseg.cli.predict")
    assert "probseg.sharing.checkpoint" in inside_a_function
    for_type_checkers = graph.find_modules_directly_imported_by("probseg")
    assert "probseg.sharing.checkpoint" in for_type_checkers
