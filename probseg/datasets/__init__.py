"""Data sets: images with everybody's annotations."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="dataset",
    builtin={
        "ambiguous-shapes": "probseg.datasets.shapes:AmbiguousShapes",
        "contours": "probseg.datasets.contours:contours",
        "lidc": "probseg.datasets.lidc:lidc",
    },
)
