"""`probseg list`: every part in one line, read without importing it."""

import json

import pytest

import probseg
from probseg.cli.list import _statements, summary
from probseg.registry import KINDS

ACME = """
from functools import partial
from acme_helper import helped
from os.path import join as joined


def fine():
    '''Does what it should.

    Args:
        none: There is none.
    '''

halved = partial(fine, 2, mode="half")
first_half, other_half = (partial(fine, "first", half) for half in (1, 2))

constant = 3
'''A number that says what it is.'''

silent = object()
"""


def _listed(command, *arguments):
    status, output, _ = command("list", "--json", *arguments)
    assert status == 0
    return {(one["kind"], one["name"]): one for one in json.loads(output)}


def test_every_part_has_a_line_with_its_summary(command):
    listed = _listed(command)
    names = {(one, name) for one, many in KINDS.items() for name in getattr(probseg, many)}
    assert set(listed) == names
    builtin = [one for one in listed.values() if one["source"] == "probseg"]
    assert len(builtin) > 50
    assert all(one["summary"] for one in builtin)
    assert listed["projector", "planar"]["target"] == "probseg.projectors.planar:planar"


def test_the_summary_is_that_of_the_docstring(command):
    listed = _listed(command, "encoders")
    imported = probseg.encoders["axis-aligned"].__doc__.partition("\n")[0]
    assert listed["encoder", "axis-aligned"]["summary"] == imported.replace(":math:", "").replace(
        "`", ""
    )


@pytest.mark.parametrize("kind", ["projector", "projectors", "Projectors"])
def test_a_kind_is_singular_or_plural_and_a_name_one_line(command, kind):
    status, output, _ = command("list", kind)
    heading, *lines = output.splitlines()
    assert status == 0 and heading.split()[:3] == ["kind", "name", "from"]
    assert [line.split()[1] for line in lines] == list(probseg.projectors)
    assert "\x1b" not in output and "…" not in output


def test_plugins_are_listed_and_not_imported(command, install):
    install("acme_fine", "[probseg.projectors]\nfine = acme_fine:fine\n", "def fine(): 'Fine.'\n")
    install("acme_quits", "[probseg.projectors]\nquits = acme_quits:x\n", "x = 1\nexit(3)\n")
    install("acme_gone", "[probseg.projectors]\ngone = acme_none:x\n")
    install("acme_typo", "[probseg.projectors]\ntypo = acme_typo:x\n", "x = (\n")
    install("acme_twice", "[probseg.projectors]\nplanar = acme_twice:x\n", "def x(): 'Mine.'\n")
    status, output, _ = command("list", "projectors")
    lines = {tuple(line.split()[1:3]): line for line in output.splitlines()[1:]}
    assert status == 0
    assert {("quits", "acme_quits"), ("gone", "acme_gone"), ("typo", "acme_typo")} < set(lines)
    assert lines["fine", "acme_fine"].split() == ["projector", "fine", "acme_fine", "1.2", "Fine."]
    for source in ("probseg", "acme_twice"):
        assert "offered 2 times; uninstall one. " in lines["planar", source]


def test_a_summary_follows_imports_within_a_package(install):
    site = install("acme_package", "")
    (site / "acme_package.py").unlink()
    (site / "acme_package/inner").mkdir(parents=True)
    (site / "acme_package/__init__.py").write_text(
        "1 / 0\nfrom acme_package.one import first\nfrom .inner import Second as second\n"
    )
    (site / "acme_package/one.py").write_text("def first(): 'First.'\n")
    (site / "acme_package/inner/__init__.py").write_text("from ..two import Second\n")
    (site / "acme_package/two.py").write_text("from .one import first\nclass Second: 'Second.'\n")
    assert summary("acme_package", "first") == "First."
    assert summary("acme_package", "second") == "Second."
    assert summary("acme_package.two", "first") == "First."


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("fine", "Does what it should."),
        ("halved", "Does what it should (2, mode='half')"),
        ("first_half", "Does what it should (first)"),
        ("constant", "A number that says what it is."),
        ("silent", "object()"),
        ("helped", "Helps."),
        ("missing", ""),
    ],
)
def test_a_summary_is_read_where_it_stands(install, name, wanted):
    install("acme", "", ACME)
    install("acme_helper", "", "class helped:\n    'Helps.'\n")
    assert summary("acme", name) == wanted


@pytest.fixture(autouse=True)
def _forget_sources():
    yield
    _statements.cache_clear()


def test_a_wrong_kind_gets_the_nearest_right_one(command):
    status, output, stderr = command("list", "projecters")
    assert (status, output) == (2, "") and "did you mean 'projector'?" in stderr
    assert stderr.count("\n") == 1


def test_in_a_terminal_a_line_is_cut_where_the_terminal_ends(command, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    _, output, _ = command("list", "metrics")
    lines = output.splitlines()
    assert len(lines) == 1 + len(probseg.metrics) and "…" in output
    assert all(name in output for name in probseg.metrics), "a name is cut"
