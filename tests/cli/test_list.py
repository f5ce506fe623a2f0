"""`probseg list`: every part in one line, read without importing it."""

import json

import pytest

import probseg
from probseg.cli.kinds import KINDS
from probseg.cli.reading import summary
from probseg.errors import PluginError

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

constant = 3
'''A number that says what it is.'''

silent = object()
"""


def _listed(command, *arguments):
    status, output, _ = command("list", "--json", *arguments)
    assert status == 0
    return {(one["kind"], one["name"]): one for one in json.loads(output)}


def test_every_part_has_a_line_with_its_summary(command):
    listed = _listed(command, "--no-import")
    names = {(one, name) for one, many in KINDS.items() for name in getattr(probseg, many)}
    assert set(listed) == names
    builtin = [one for one in listed.values() if one["source"] == "probseg"]
    assert len(builtin) > 50
    assert all(one["summary"] and one["broken"] is None for one in builtin)
    assert listed["projector", "planar"]["target"] == "probseg.projectors.planar:planar"


def test_the_summary_is_that_of_the_docstring(command):
    listed = _listed(command, "encoders", "--no-import")
    imported = probseg.encoders["axis-aligned"].__doc__.partition("\n")[0]
    assert listed["encoder", "axis-aligned"]["summary"] == imported.replace(":math:", "").replace(
        "`", ""
    )


@pytest.mark.parametrize("kind", ["projector", "projectors", "Projectors"])
def test_a_kind_is_singular_or_plural_and_a_name_one_line(command, kind):
    status, output, _ = command("list", kind, "--no-import")
    heading, *lines = output.splitlines()
    assert status == 0 and heading.split()[:3] == ["kind", "name", "from"]
    assert [line.split()[1] for line in lines] == list(probseg.projectors)
    assert "\x1b" not in output and "…" not in output


def test_broken_plugins_are_told_in_their_line_and_break_nothing_else(command, install):
    install("acme_fine", "[probseg.projectors]\nfine = acme_fine:fine\n", "def fine(): 'Fine.'\n")
    install("acme_raises", "[probseg.projectors]\nraises = acme_raises:x\n", "x = 1 / 0\n")
    install("acme_quits", "[probseg.projectors]\nquits = acme_quits:x\n", "x = 1\nexit(3)\n")
    install("acme_gone", "[probseg.projectors]\ngone = acme_none:x\n")
    install("acme_lost", "[probseg.projectors]\nlost = acme_lost:x\n", "y = 1\n")
    install("acme_typo", "[probseg.projectors]\ntypo = acme_typo:x\n", "x = (\n")
    install("acme_twice", "[probseg.projectors]\nplanar = acme_twice:x\n", "def x(): pass\n")
    install("acme_talks", "[probseg.decoders]\ntalks = acme_talks:x\n", "print(1)\ndef x(): 0\n")
    listed = _listed(command)
    broken = {name: one["broken"] for (_, name), one in listed.items() if one["broken"]}
    assert set(broken) == {"raises", "quits", "gone", "lost", "typo", "planar"}
    assert (
        "acme_raises 1.2 (acme_raises:x) cannot be imported: division by zero" in broken["raises"]
    )
    assert "status 3" in broken["quits"]
    assert broken["gone"] == "there is no module acme_none"
    assert broken["lost"] == "there is no x in acme_lost"
    assert "was never closed" in broken["typo"]
    assert "probseg and acme_twice 1.2 offer it" in broken["planar"]
    assert listed["projector", "fine"]["source"] == "acme_fine 1.2"
    _, output, _ = command("list", "projectors")
    assert sum("broken: " in line for line in output.splitlines()) == 6


def test_plugins_are_not_imported_where_that_is_not_wanted(command, install):
    install("acme_raises", "[probseg.projectors]\nraises = acme_raises:x\n", "def x(): 1\n1 / 0\n")
    assert _listed(command, "--no-import")["projector", "raises"]["broken"] is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("fine", "Does what it should."),
        ("halved", "Does what it should. (2, mode='half')"),
        ("constant", "A number that says what it is."),
        ("silent", ""),
        ("helped", "Helps."),
    ],
)
def test_a_summary_is_read_where_it_stands(install, name, wanted):
    install("acme", "", ACME)
    install("acme_helper", "", "class helped:\n    'Helps.'\n")
    from probseg.cli import reading

    reading._body.cache_clear()
    assert summary("acme", name) == wanted
    with pytest.raises(PluginError, match="there is no missing in acme"):
        summary("acme", "missing")


def test_a_wrong_kind_gets_the_nearest_right_one(command):
    status, output, complaint = command("list", "projecters")
    assert (status, output) == (2, "") and "did you mean 'projector'?" in complaint
    assert complaint.count("\n") == 1


def test_in_a_terminal_a_line_is_cut_where_the_terminal_ends(command, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    _, output, _ = command("list", "metrics", "--no-import")
    lines = output.splitlines()
    assert len(lines) == 1 + len(probseg.metrics) and "…" in output
    assert all(name in output for name in probseg.metrics), "a name is cut"
