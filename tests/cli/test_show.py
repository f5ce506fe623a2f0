"""`probseg show`: what a part is and what it takes."""

import inspect
import json
import re
import sys

import pytest

import probseg
from probseg.registry import KINDS


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
    assert shown["docstring"] and shown["calls"] and shown["file"].startswith("/")
    if shown["source"] == "probseg":
        described = re.findall(r"^    \*{0,2}(\w+)(?: \([^)]*\))?: *\S", shown["docstring"], re.M)
        assert set(given) <= set(described), "an option without a word on it"


def test_what_the_model_gives_is_distinguished_from_what_the_user_chooses(command):
    _, output, _ = command("show", "projector", "planar")
    lines = [line.split() for line in output.splitlines()]
    assert ["features", "int", "given", "by", "the", "model"] in lines
    assert ["steps", "int", "2"] in lines
    assert "    steps: How many planar steps are composed.\n" in output
    assert "probseg.projectors.planar:planar" in output and "planar.py:" in output


def test_a_line_of_the_source_is_where_the_part_is(command):
    _, output, _ = command("show", "divergence", "kl", "--json")
    file, _, line = json.loads(output)["file"].rpartition(":")
    with open(file, encoding="utf-8") as source:
        assert source.readlines()[int(line) - 1].startswith("class KL")


ALL = ["energy", "hierarchical-energy", "spu-net"]


@pytest.mark.parametrize("name", sorted(probseg.models))
def test_a_model_of_all_annotators_is_shown_with_the_call_that_it_takes(command, name):
    _, output, _ = command("show", "model", name, "--json")
    calls = json.loads(output)["calls"]
    of_all = "masks (B, A, H, W) of all annotators" in calls["part.loss(…)"]
    assert of_all == ("the label (B, H, W)" not in calls["part.loss(…)"])
    assert of_all == ("an annotator who is absent is `ignore_index`" in calls["part.loss(…)"])
    if probseg.models.offers()[name][0].source == "probseg":
        assert of_all == (name in ALL)


@pytest.mark.parametrize("verb", ["show", "check"])
def test_a_name_needs_no_kind_where_one_kind_has_it(command, verb):
    alone = command(verb, "kl", "--json")
    assert alone[0] == 0 and alone == command(verb, "divergence", "kl", "--json")


@pytest.mark.parametrize("verb", ["show", "check"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["energy"], "'energy' is a model and a set loss; say which, model energy or set-loss en"),
        (["plannar"], "no part or kind is called 'plannar'; did you mean 'planar'?"),
        (["no such part"], "no part or kind is called 'no such part'; probseg list shows"),
        (["projectors"], "give a name after projectors: probseg list projectors"),
        (["set-loss"], "give a name after set-loss: probseg list set-losses"),
    ],
)
def test_what_is_no_name_alone_is_refused_with_the_kinds(command, verb, words, message):
    status, output, stderr = command(verb, *words)
    assert (status, output) == (2, "") and message in stderr and stderr.count("\n") == 1


@pytest.mark.parametrize("verb", ["show", "check"])
@pytest.mark.parametrize(
    ("part", "meant"),
    [(("projecter", "planar"), "projector"), (("projector", "plannar"), "planar")],
)
def test_a_wrong_kind_or_name_gets_the_nearest_right_one(command, verb, part, meant):
    status, output, stderr = command(verb, *part)
    assert (status, output) == (2, "") and f"did you mean {meant!r}?" in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("x = 1 / 0\n", "division by zero"),
        ("x = 1\nexit(3)\n", "cannot be imported: 3"),
        ("y = 1\n", "has no attribute 'x'"),
        ("x = (\n", "was never closed"),
        ("x = 1\n", "is int, which cannot be called"),
    ],
)
def test_a_part_that_cannot_be_imported_gets_one_clear_error(command, install, module, reason):
    install("acme_bad", "[probseg.metrics]\nbad = acme_bad:x\n", module)
    sys.modules.pop("acme_bad", None)
    status, output, message = command("show", "metric", "bad")
    assert (status, output) == (1, "") and message.count("\n") == 1
    assert "metric 'bad' of acme_bad 1.2 (acme_bad:x)" in message and reason in message
