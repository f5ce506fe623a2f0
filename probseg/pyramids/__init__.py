"""Pyramids turn images into features at several resolutions."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="pyramid",
    builtin={
        "unet": "probseg.pyramids.unet:UNetPyramid",
        "residual": "probseg.pyramids.residual:ResidualPyramid",
        "smp": "probseg.pyramids.smp:EncoderPyramid",
    },
)
