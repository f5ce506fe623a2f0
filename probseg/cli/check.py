"""``probseg check``: whether a part keeps the contract of its kind, check by check."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from probseg.cli.command import Command
from probseg.cli.output import plain, print_json, print_line
from probseg.cli.parser import Parser, add_json, add_part, add_set, parse_assignments
from probseg.options import check_given
from probseg.registry import registry, singular
from probseg.testing import CONTRACTS, checks

EXAMPLES = """
examples:
  %(prog)s projector radial
  %(prog)s backbone unet --set channels=[8,16]
  %(prog)s dataset folder --set root=my/data
  %(prog)s agreement ged       what a metric may claim besides: agreement, matching
  %(prog)s metric ged --json
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``check``."""
    add_part(parser, kinds=CONTRACTS)
    add_set(parser, "options of the part")
    add_json(parser)


COMMAND = Command(
    name="check",
    summary="check that a part keeps the contract of its kind",
    add_arguments=add_arguments,
    run="probseg.cli.check:run",
    examples=EXAMPLES,
)


class Outcome(NamedTuple):
    """The result of one check."""

    check: str
    promise: str  # what it demands, in a sentence
    reason: str | None  # why it does not hold; None where it does
    holds: bool


def run(options: argparse.Namespace) -> int:
    """Print the outcome of each check, and return exit status 1 if one does not hold."""
    kind, name = singular(options.kind, CONTRACTS), options.name
    part_options = parse_assignments(options.set)
    # a wrong option is the user's mistake, and breaks no contract
    check_given(registry(CONTRACTS[kind])[name], part_options, owner=f"{kind} {name!r}")
    outcomes = []
    for outcome in run_checks(kind, {"name": name, **part_options}):
        outcomes.append(outcome)
        if not options.json:
            _print(outcome)
    holding = sum(outcome.holds for outcome in outcomes)
    holds = holding == len(outcomes)
    if options.json:
        listed = [outcome._asdict() for outcome in outcomes]
        print_json({"kind": kind, "name": name, "holds": holds, "checks": listed})
    else:
        print(f"{kind} {name}: {holding} of {len(outcomes)} checks hold")
    return 0 if holds else 1


def run_checks(kind: str, part: dict[str, Any]) -> Iterator[Outcome]:
    """Yield the outcome of each check of a contract, one after the other."""
    from probseg.testing import ContractError

    for check in checks[kind]:
        reason = None
        try:
            check(part)
        except ContractError as error:
            reason = str(error).partition(f": {check.__name__}: ")[2] or str(error)
        promise = plain(" ".join((check.__doc__ or "").split()))
        yield Outcome(check.__name__, promise, reason, reason is None)


def _print(outcome: Outcome) -> None:
    if outcome.holds:
        print_line(f"holds   {outcome.check}", "green")
    else:
        print_line(f"BROKEN  {outcome.check}", "bold red")
        print_line(f"        {outcome.promise}\n        {outcome.reason}")
