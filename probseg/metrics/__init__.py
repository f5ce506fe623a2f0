"""Metrics score an evaluation with one number per image.

Each is a pure function of tensors in a submodule, and has a name here:

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
        "w-hd95": "probseg.metrics.surface:w_hd95",
        "w-hd95-mm": "probseg.metrics.surface:w_hd95_mm",
        "w-nsd": "probseg.metrics.surface:w_nsd",
        "w-nsd-mm": "probseg.metrics.surface:w_nsd_mm",
        "w-cross-entropy": "probseg.metrics.matching:w_cross_entropy",
        "hungarian-iou": "probseg.metrics.matching:HungarianIoU",
        "rectangular-iou": "probseg.metrics.matching:rectangular_iou",
        "dice-match": "probseg.metrics.matching:dice_match",
        "dice-max": "probseg.metrics.matching:dice_max",
        "ged": "probseg.metrics.ged:GED",
        "ged16": "probseg.metrics.ged:ged16",
        "ged32": "probseg.metrics.ged:ged32",
        "ged100": "probseg.metrics.ged:ged100",
        "ged-cross": "probseg.metrics.ged:ged_cross",
        "diversity": "probseg.metrics.ged:diversity",
        "annotator-diversity": "probseg.metrics.ged:annotator_diversity",
        "collective-insight": "probseg.metrics.collective_insight:CollectiveInsight",
        "threshold-dice": "probseg.metrics.threshold_dice:ThresholdDice",
        "brier": "probseg.metrics.calibration:Brier",
        "ece": "probseg.metrics.calibration:ECE",
        "ace": "probseg.metrics.calibration:ACE",
        "aurc": "probseg.metrics.uncertainty:AURC",
        "aurc-expected-entropy": "probseg.metrics.uncertainty:aurc_expected_entropy",
        "aurc-mutual-information": "probseg.metrics.uncertainty:aurc_mutual_information",
        "aurc-variance": "probseg.metrics.uncertainty:aurc_variance",
        "ncc": "probseg.metrics.ncc:NCC",
        "volume-crps": "probseg.metrics.volume:VolumeCRPS",
        "empty-share": "probseg.metrics.volume:empty_share",
        "annotator-empty-share": "probseg.metrics.volume:annotator_empty_share",
        "nestedness": "probseg.metrics.nestedness:nestedness",
        "annotator-nestedness": "probseg.metrics.nestedness:annotator_nestedness",
        "gini": "probseg.metrics.latent:Gini",
        "effective-rank": "probseg.metrics.latent:EffectiveRank",
        "latent-kl": "probseg.metrics.latent:LatentKL",
    },
)
