"""Divergences say how far one density is from another, one number per image."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="divergence",
    builtin={
        "kl": "probseg.divergences.kl:KL",
        "sinkhorn": "probseg.divergences.transport:Sinkhorn",
        "exact-ot": "probseg.divergences.transport:ExactOT",
    },
)
