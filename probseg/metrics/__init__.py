"""Metrics score an evaluation with one number per image.

Each is a pure function of tensors (in a submodule) and a small class under a name here:

>>> import probseg
>>> probseg.metrics.create("w-iou").higher_is_better
False
"""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="metric",
    builtin={
        "w-iou": "probseg.metrics.matching:w_iou",
        "w-dice": "probseg.metrics.matching:w_dice",
        "w-hausdorff": "probseg.metrics.matching:w_hausdorff",
        "w-cross-entropy": "probseg.metrics.matching:w_cross_entropy",
        "hungarian-iou": "probseg.metrics.matching:HungarianIoU",
        "ged": "probseg.metrics.ged:GED",
        "ged-cross": "probseg.metrics.ged:ged_cross",
        "diversity": "probseg.metrics.ged:diversity",
        "annotator-diversity": "probseg.metrics.ged:annotator_diversity",
        "ncc": "probseg.metrics.ncc:NCC",
        "gini": "probseg.metrics.latent:Gini",
        "effective-rank": "probseg.metrics.latent:EffectiveRank",
        "latent-kl": "probseg.metrics.latent:LatentKL",
    },
)
