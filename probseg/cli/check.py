"""``probseg check``: whether a part keeps the contract of its kind, check by check."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from probseg.cli.output import plain, print_json, print_line
from probseg.cli.parser import (
    Parser,
    add_json,
    add_part,
    add_set,
    chosen_part,
    parse_assignments,
)
from probseg.options import check_given
from probseg.registry import in_words, registry
from probseg.testing import CONTRACTS, checks

if TYPE_CHECKING:
    from probseg.testing import Check

SUMMARY = "check that a part keeps the contract of its kind"
EXAMPLES = """
examples:
  %(prog)s projector radial
  %(prog)s radial            the same, as nothing else has the name
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


def run(options: argparse.Namespace) -> int:
    """Print the outcome of each check, and return exit status 1 if one does not hold."""
    kind, name = chosen_part(options, kinds=CONTRACTS)
    part_options = parse_assignments(options.set)
    # a wrong option is the user's mistake, and breaks no contract
    check_given(registry(CONTRACTS[kind])[name], part_options, owner=f"{in_words(kind)} {name!r}")
    outcomes = []
    for check in checks[kind]:
        outcome = _outcome(check, {"name": name, **part_options})
        outcomes.append(outcome)
        if not options.json:
            _print(outcome)
    holding = sum(outcome["holds"] for outcome in outcomes)
    holds = holding == len(outcomes)
    if options.json:
        print_json({"kind": kind, "name": name, "holds": holds, "checks": outcomes})
    else:
        print(f"{in_words(kind)} {name}: {holding} of {len(outcomes)} checks hold")
    return 0 if holds else 1


def _outcome(check: Check, part: dict[str, Any]) -> dict[str, Any]:
    """Return what ``--json`` prints of a check: its promise, and the reason why it is broken."""
    from probseg.testing import ContractError

    reason = None
    try:
        check(part)
    except ContractError as error:
        reason = str(error).partition(f": {check.__name__}: ")[2] or str(error)
    promise = plain(" ".join((check.__doc__ or "").split()))
    return {"check": check.__name__, "promise": promise, "reason": reason, "holds": reason is None}


def _print(outcome: dict[str, Any]) -> None:
    if outcome["holds"]:
        print_line("holds   {check}".format_map(outcome), "green")
    else:
        print_line("BROKEN  {check}".format_map(outcome), "bold red")
        print_line("        {promise}\n        {reason}".format_map(outcome))
