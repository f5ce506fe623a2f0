"""Stochastic Segmentation Networks (Monteiro et al., 2020), registered as the model ``ssn``."""

from probseg_ssn.density import LowRankLogits
from probseg_ssn.model import StochasticSegmentationNetwork, ssn

__all__ = ["LowRankLogits", "StochasticSegmentationNetwork", "ssn"]
