"""The contracts of all kinds of parts, and the call that checks one part."""

from __future__ import annotations

from probseg.errors import UnknownNameError
from probseg.options import did_you_mean, listing
from probseg.testing import (
    backbones,
    datasets,
    decoders,
    divergences,
    encoders,
    metrics,
    models,
    projectors,
)
from probseg.testing.contract import Check, Part

_CONTRACTS = (
    *(module.contract for module in (backbones, encoders, projectors, divergences, decoders)),
    *(module.contract for module in (models, datasets, metrics)),
    *(metrics.agreement, metrics.matching),
)

checks: dict[str, list[Check]] = {contract.kind: contract.checks for contract in _CONTRACTS}
"""The checks of each kind: ``checks["projector"]`` is a list of functions of one part."""


def check(kind: str, part: Part) -> None:
    """Run all checks of a kind on a part.

    Args:
        kind: The singular, such as ``"projector"``; what a metric may claim besides is
            ``"agreement"`` (equal sets are best) and ``"matching"`` (of samples to annotations).
        part: A registered name, a mapping ``{"name": ..., **options}`` or a constructor.

    Raises:
        ContractError: The part breaks its contract; names the check, what was expected, what came.
        UnknownNameError: There is no such kind.
    """
    if kind not in checks:
        raise UnknownNameError(
            f"no kind of part is called {kind!r}{did_you_mean(kind, checks)}; "
            f"known: {listing(checks)}"
        )
    for one in checks[kind]:
        one(part)
