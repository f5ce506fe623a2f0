"""`probseg check` says whether a part keeps its contract, and why not."""

import json

from probseg.testing import checks

DETACHED = """
from probseg.projectors.planar import planar

def detached(features, context_features, *, steps: int = 2):
    flow = planar(features, context_features, steps=steps)
    forward = flow.forward
    flow.forward = lambda base, context: forward(base, context.detach())
    return flow
"""


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
    count = len(checks["projector"])
    assert "expected a derivative in the context that equals" in output
    assert f"{count - 1} of {count} checks hold" in output
    status, output, _ = command("check", "projector", "detached", "--json")
    report = json.loads(output)
    assert status == 1 and report["holds"] is False
    assert [one["check"] for one in report["checks"] if one["reason"]] == broken


def test_what_is_asked_for_wrongly_breaks_no_contract(command, install):
    status, output, stderr = command("check", "projector", "planar", "--set", "step=3")
    assert (status, output) == (2, "") and "did you mean 'steps'?" in stderr
    install("acme_raises", "[probseg.metrics]\nraises = acme_raises:x\n", "x = 1 / 0\n")
    status, output, stderr = command("check", "metric", "raises")
    assert (status, output) == (1, "") and "division by zero" in stderr


def test_a_metric_may_claim_more(command):
    assert command("check", "agreement", "ged")[0] == 0
    assert command("check", "matching", "ged")[0] == 1
