"""What the kinds of parts are called, by whoever types one."""

from __future__ import annotations

from probseg.errors import UnknownNameError
from probseg.options import did_you_mean, listing
from probseg.registry import KINDS, Registry, registry

CLAIMS = {"agreement": "metrics", "matching": "metrics"}  # what a metric may claim besides


def singular(kind: str, *, claims: bool = False) -> str:
    """Return the singular of a kind that is given in the singular or in the plural.

    Args:
        kind: Such as ``"projector"`` or ``"projectors"``.
        claims: Whether to take the contracts that a metric may keep besides its own as well.

    Raises:
        UnknownNameError: There is no such kind.

    >>> singular("projectors"), singular("metric")
    ('projector', 'metric')
    """
    known = KINDS | CLAIMS if claims else KINDS
    wanted = kind.lower().replace(" ", "").replace("_", "")
    for one, many in known.items():
        if wanted == one or (wanted == many and one in KINDS):
            return one
    raise UnknownNameError(
        f"no kind of part is called {kind!r}{did_you_mean(wanted, known)}; known: {listing(known)}"
    )


def registry_of(kind: str) -> Registry:
    """Return the registry of a kind, given in the singular."""
    return registry((KINDS | CLAIMS)[kind])
