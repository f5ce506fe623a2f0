"""What every part of a kind has to do, as checks that plugins run on their own parts too.

>>> from probseg.testing import check, checks
>>> [one.__name__ for one in checks["projector"]][:2]
['samples_have_their_shapes', 'log_prob_is_exact']
>>> check("projector", "planar")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probseg.utils.lazy import lazy_names

if TYPE_CHECKING:
    from probseg.testing.contract import Check, Contract, ContractError, Part
    from probseg.testing.contracts import check, checks

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Check": "contract",
        "Contract": "contract",
        "ContractError": "contract",
        "Part": "contract",
        "check": "contracts",
        "checks": "contracts",
    },
)

__all__ = ["Check", "Contract", "ContractError", "Part", "check", "checks"]
