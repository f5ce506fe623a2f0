"""Flow matching in the space of segmentations, registered as the model ``flow-matching``."""

from probseg_flowmatching.base import PixelwiseNormal
from probseg_flowmatching.model import FlowMatching

__all__ = ["FlowMatching", "PixelwiseNormal"]
