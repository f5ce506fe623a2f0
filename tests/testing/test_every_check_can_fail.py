"""Every check, and every expectation in it, refuses a part with the fault that it is there for."""

import ast
import re
import traceback
from pathlib import Path

import dataset_faults
import divergence_faults
import metric_faults
import model_faults
import network_faults
import projector_faults
import pyramid_faults
import pytest
import set_loss_faults

import probseg.testing
from probseg.testing import ContractError, check, checks

FOLDER = Path(probseg.testing.__file__).parent
MODULES = (
    *(network_faults, pyramid_faults, projector_faults, divergence_faults),
    *(set_loss_faults, model_faults, metric_faults, dataset_faults),
)
SOUND = {kind: part for module in MODULES for kind, part in module.SOUND.items()}
FAULTS = {kind: faults for module in MODULES for kind, faults in module.FAULTS.items()}
CHECKS = [(kind, one) for kind in checks for one in checks[kind]]
PLANTED = [
    (kind, one, fault)
    for kind, one in CHECKS
    for fault in FAULTS.get(kind, {}).get(one.__name__, [])
]


@pytest.mark.parametrize(
    ("kind", "one"), [pytest.param(*c, id=f"{c[0]}-{c[1].__name__}") for c in CHECKS]
)
def test_a_fault_is_planted_for_the_check(kind, one):
    assert FAULTS.get(kind, {}).get(one.__name__), f"no {kind} has what {one.__name__} refuses"


def test_no_fault_is_planted_for_a_check_that_is_gone():
    existing = {(kind, one.__name__) for kind, one in CHECKS}
    assert {(kind, name) for kind, faults in FAULTS.items() for name in faults} == existing


@pytest.fixture(scope="module")
def refusals():
    """What the check said of each planted fault; empty where it let it pass."""
    found = {}
    for _, one, fault in PLANTED:
        try:
            one(fault)
        except ContractError as error:
            found[one, fault] = error
    return found


@pytest.mark.parametrize(
    ("kind", "one", "fault"),
    [pytest.param(*c, id=f"{c[0]}-{c[1].__name__}-{c[2].__name__}") for c in PLANTED],
)
def test_the_check_refuses_its_fault(kind, one, fault, refusals):
    assert (one, fault) in refusals, "the check lets it pass"
    wanted = rf"{kind} {re.escape(fault.__name__)}: {one.__name__}: expected .+, got "
    assert re.match(wanted, str(refusals[one, fault]), re.DOTALL)


@pytest.mark.parametrize("kind", checks)
def test_the_part_without_the_faults_passes(kind):
    check(kind, SOUND[kind])


def _expectations():
    """Every call in the checks that may fail them: file, first line and last line."""
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if re.match("_?expect", node.func.id):
                    yield file.name, node.lineno, node.end_lineno


def test_every_expectation_refuses_something(refusals):
    lines = {
        (Path(frame.filename).name, frame.lineno)
        for error in refusals.values()
        for frame in traceback.extract_tb((error.__context__ or error).__traceback__)
        if Path(frame.filename).parent == FOLDER
    }
    expectations = list(_expectations())
    never = [
        f"{file}:{first}"
        for file, first, last in expectations
        if not any((file, line) in lines for line in range(first, last + 1))
    ]
    assert len(expectations) > 80 and not never, f"no planted fault is refused at {never}"
