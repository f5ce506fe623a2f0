"""Projectors push a base density forward through a map conditioned on the context."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="projector",
    builtin={
        "identity": "probseg.projectors.flow:Identity",
        "planar": "probseg.projectors.planar:planar",
        "affine-autoregressive": "probseg.projectors.autoregressive:affine_autoregressive",
        "rational-quadratic": "probseg.projectors.autoregressive:rational_quadratic",
    },
)
