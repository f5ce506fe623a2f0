"""Modules import only from the layers below their own, as pyproject.toml lists them."""

import grimp
from importlinter.cli import lint_imports


def test_every_import_points_down(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    failed = lint_imports(config_filename=str(root / "pyproject.toml"), no_cache=True)
    assert not failed, capsys.readouterr().out


def test_later_imports_and_those_for_types_count():
    graph = grimp.build_graph("probseg", cache_dir=None)
    imported = graph.find_modules_directly_imported_by("probseg.models.base")
    assert "probseg.sharing.checkpoint" in imported  # inside a method
    assert "probseg.sharing.cards" in imported  # under TYPE_CHECKING
