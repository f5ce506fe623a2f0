"""Encoders turn an image, or an image and a label, into a density over the latent space."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="encoder",
    builtin={
        "axis-aligned": "probseg.encoders.axis_aligned:AxisAligned",
        "mixture": "probseg.encoders.mixture:Mixture",
    },
)
