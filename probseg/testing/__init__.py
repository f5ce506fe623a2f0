"""Contracts: what every part of a kind must do, as checks that plugins run on their parts too.

>>> from probseg.testing import check, checks
>>> [one.__name__ for one in checks["projector"]][:2]
['samples_have_their_shapes', 'log_prob_is_exact']
>>> check("projector", "planar")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from probseg.errors import UnknownNameError
from probseg.options import unknown
from probseg.registry import KINDS
from probseg.utils.imports import lazy_names

if TYPE_CHECKING:
    from probseg.testing.contract import Check, Contract, ContractError, Part

CONTRACTS = {**KINDS, "agreement": "metrics", "matching": "metrics"}
"""Each contract, and the registry of the parts that may keep it; a metric may keep three."""
_MODULES = {
    **CONTRACTS,
    **dict.fromkeys(("backbone", "encoder", "decoder"), "networks"),
    **dict.fromkeys(("projector", "divergence"), "densities"),
    "set_loss": "set_losses",
}


class Checks(Mapping[str, "list[Check]"]):
    """The checks of each contract; those of a kind are imported when they are asked for."""

    def __getitem__(self, kind: str) -> list[Check]:
        """Return the checks of a contract, each a function of one part."""
        from probseg.testing.contract import Contract

        module = import_module(f"probseg.testing.{_MODULES[kind]}")
        contracts = (one for one in vars(module).values() if isinstance(one, Contract))
        return next(one.checks for one in contracts if one.kind == kind)

    def __iter__(self) -> Iterator[str]:
        """The names of the contracts."""
        return iter(CONTRACTS)

    def __len__(self) -> int:
        """How many contracts there are."""
        return len(CONTRACTS)


checks = Checks()
"""The checks of each contract: ``checks["projector"]`` is a list of functions of one part."""


def check(kind: str, part: Part) -> None:
    """Run all checks of a contract on a part.

    Args:
        kind: The kind in the singular, such as ``"projector"``. A metric may also claim
            ``"agreement"`` (equal sets are best) and ``"matching"`` (of samples to annotations).
        part: A registered name, a mapping ``{"name": ..., **options}`` or a constructor.

    Raises:
        ContractError: The part breaks its contract; names the check, what was expected, what came.
        UnknownNameError: There is no such contract.
    """
    if kind not in checks:
        raise UnknownNameError(unknown("kind of part", kind, checks))
    for one in checks[kind]:
        one(part)


__getattr__, __dir__ = lazy_names(
    __name__, {name: "contract" for name in ("Check", "Contract", "ContractError", "Part")}
)

__all__ = ["CONTRACTS", "Check", "Contract", "ContractError", "Part", "check", "checks"]
