"""Models; the published ones are choices of parts for one class."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="model",
    builtin={
        "punet": "probseg.models.published:punet",
        "2p-planar": "probseg.models.published:two_step_planar",
        "csae": "probseg.models.published:csae",
        "deterministic": "probseg.models.deterministic:deterministic",
    },
)
