"""Set losses say how far a set of samples is from the set of an image's annotations."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="set_loss",
    builtin={
        "energy": "probseg.set_losses.energy:Energy",
        "exact-ot": "probseg.set_losses.transport:ExactOT",
        "sinkhorn": "probseg.set_losses.sinkhorn:Sinkhorn",
    },
)
