"""`probseg show` says what a part takes; `probseg check` whether it keeps its contract."""

import inspect
import json

import pytest

import probseg
from probseg.cli.docstrings import parse
from probseg.cli.kinds import KINDS
from probseg.testing import checks

DETACHED = """
from probseg.projectors.planar import planar

def detached(features, context_features, *, steps: int = 2):
    flow = planar(features, context_features, steps=steps)
    return lambda base, context: flow(base, context.detach())
"""


@pytest.mark.parametrize(
    ("kind", "name"),
    [(one, name) for one, many in KINDS.items() for name in getattr(probseg, many)],
)
def test_every_part_can_be_shown_with_its_options(command, kind, name):
    status, output, _ = command("show", KINDS[kind], name, "--json")
    shown = json.loads(output)
    signature = inspect.signature(getattr(probseg, KINDS[kind])[name]).parameters
    given = [n for n, p in signature.items() if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
    assert status == 0 and [one["name"] for one in shown["options"]] == given
    assert shown["summary"] and shown["calls"] and shown["file"].startswith("/")
    if shown["source"] == "probseg":
        assert all(one["meaning"] for one in shown["options"]), "an option without a word on it"


def test_what_the_model_gives_is_told_from_what_the_user_chooses(command):
    _, output, _ = command("show", "projector", "planar")
    lines = [line.split() for line in output.splitlines()]
    assert ["features", "int", "given", "by", "the", "model", "L."] in lines
    assert ["steps", "int", "2", *"How many planar steps are composed.".split()] in lines
    assert "probseg.projectors.planar:planar" in output and "planar.py:" in output


def test_a_line_of_the_source_is_where_the_part_is(command):
    _, output, _ = command("show", "divergence", "kl", "--json")
    file, _, line = json.loads(output)["file"].rpartition(":")
    with open(file, encoding="utf-8") as source:
        assert source.readlines()[int(line) - 1].startswith("class KL")


@pytest.mark.parametrize("verb", ["show", "check"])
@pytest.mark.parametrize(
    ("part", "meant"),
    [(("projecter", "planar"), "projector"), (("projector", "plannar"), "planar")],
)
def test_a_wrong_kind_or_name_gets_the_nearest_right_one(command, verb, part, meant):
    status, output, complaint = command(verb, *part)
    assert (status, output) == (2, "") and f"did you mean {meant!r}?" in complaint
    assert complaint.count("\n") == 1


def test_a_docstring_is_taken_apart():
    doc = parse(
        "Sum ``a``.\n\nMore of it,\nand more.\n\nArgs:\n    a: First,\n        of two: one.\n"
        "    **more: Rest.\n\nReturns:\n    A number.\n\nReferences:\n    Somebody, 2020.\n"
    )
    assert (doc.summary, doc.text) == ("Sum `a`.", "More of it,\nand more.")
    assert doc.entries("Args") == {"a": "First, of two: one.", "more": "Rest."}
    assert doc.entries("Raises") == {} and doc.sections["References"] == "Somebody, 2020."


def test_check_tells_what_holds(command):
    status, output, _ = command("check", "projectors", "planar")
    *lines, total = output.splitlines()
    assert status == 0 and total == f"projector planar: {len(lines)} of {len(lines)} checks hold"
    assert lines == [f"holds   {one.__name__}" for one in checks["projector"]]


def test_check_tells_what_does_not_hold_and_why(command, install):
    install("acme_detached", "[probseg.projectors]\ndetached = acme_detached:detached\n", DETACHED)
    status, output, _ = command("check", "projector", "detached", "--set", "steps=1")
    broken = [line.split()[1] for line in output.splitlines() if line.startswith("BROKEN")]
    assert status == 1 and broken == ["gradients_reach_the_context"]
    assert "expected a derivative of" in output and "5 of 6 checks hold" in output
    status, output, _ = command("check", "projector", "detached", "--json")
    told = json.loads(output)
    assert status == 1 and told["holds"] is False
    assert [one["check"] for one in told["checks"] if one["reason"]] == broken


def test_what_is_asked_for_wrongly_breaks_no_contract(command, install):
    status, output, complaint = command("check", "projector", "planar", "--set", "step=3")
    assert (status, output) == (2, "") and "did you mean 'steps'?" in complaint
    install("acme_raises", "[probseg.metrics]\nraises = acme_raises:x\n", "x = 1 / 0\n")
    status, output, complaint = command("check", "metric", "raises")
    assert (status, output) == (1, "") and "division by zero" in complaint


def test_a_metric_may_claim_more(command):
    assert command("check", "agreement", "ged")[0] == 0
    assert command("check", "matching", "ged")[0] == 1
