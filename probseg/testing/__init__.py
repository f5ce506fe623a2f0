"""What every part of a kind has to do, as checks that plugins run on their own parts too.

>>> from probseg.testing import check, checks
>>> check("decoder", "fcomb")
>>> [one.__name__ for one in checks["projector"]][:2]
['samples_have_their_shapes', 'log_prob_is_exact']
"""

from probseg.testing import backbones, decoders, divergences, encoders, projectors
from probseg.testing.contract import Check, ContractError, check, checks

__all__ = ["Check", "ContractError", "check", "checks"]
