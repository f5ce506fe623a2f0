"""``check``: whether a part keeps the contract of its kind, check by check, with the reasons."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.text import Text

from probseg.cli.assignments import assigned
from probseg.cli.docstrings import plain
from probseg.cli.kinds import registry_of, singular
from probseg.cli.output import print_json
from probseg.options import check_given

if TYPE_CHECKING:
    from probseg.testing import Check


class Outcome(NamedTuple):
    """What came of one check."""

    check: str
    promise: str  # what it demands, in a sentence
    reason: str | None  # why it does not hold; None where it does

    @property
    def holds(self) -> bool:
        """Whether the part does what it promised."""
        return self.reason is None


def run(options: argparse.Namespace) -> int:
    """Print what holds and what does not, and return exit status 1 if something does not."""
    kind = singular(options.kind, claims=True)
    given = assigned(options.set)
    # what is asked for wrongly breaks no contract
    check_given(registry_of(kind)[options.name], given, owner=f"{kind} {options.name!r}")
    outcomes = []
    for outcome in try_checks(kind, {"name": options.name, **given}):
        outcomes.append(outcome)
        if not options.json:
            _print(outcome)
    if options.json:
        print_json(_plain(kind, options.name, outcomes))
    else:
        held = sum(outcome.holds for outcome in outcomes)
        print(f"{kind} {options.name}: {held} of {len(outcomes)} checks hold")
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def try_checks(kind: str, part: dict[str, Any]) -> Iterator[Outcome]:
    """Yield what comes of each check of a kind, one after the other."""
    from probseg.testing import ContractError, checks

    for check in checks[kind]:
        try:
            check(part)
            reason = None
        except ContractError as error:
            reason = str(error).partition(f": {check.__name__}: ")[2] or str(error)
        yield Outcome(check.__name__, _sentence(check), reason)


def _sentence(check: Check) -> str:
    return plain(" ".join((check.__doc__ or "").split()))


def _print(outcome: Outcome) -> None:
    console = Console(soft_wrap=True, highlight=False)
    mark, style = ("holds ", "green") if outcome.holds else ("BROKEN", "bold red")
    console.print(Text.assemble((mark, style), f"  {outcome.check}"))
    if not outcome.holds:
        console.print(f"        {outcome.promise}\n        {outcome.reason}", markup=False)


def _plain(kind: str, name: str, outcomes: list[Outcome]) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "holds": all(outcome.holds for outcome in outcomes),
        "checks": [{**outcome._asdict(), "holds": outcome.holds} for outcome in outcomes],
    }
