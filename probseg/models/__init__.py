"""Models; the published ones are choices of parts for one class."""

from probseg.registry import Registry

Registry.adopt(
    __name__,
    kind="model",
    builtin={
        "punet": "probseg.models.recipes:punet",
        "2p-planar": "probseg.models.recipes:two_step_planar",
        "csae": "probseg.models.recipes:csae",
        "spu-net": "probseg.models.recipes:spu_net",
        "energy": "probseg.models.energy:EnergyModel",
        "hierarchical": "probseg.models.hierarchical_recipes:hierarchical",
        "hierarchical-csae": "probseg.models.hierarchical_recipes:hierarchical_csae",
        "hierarchical-energy": "probseg.models.hierarchical_energy:HierarchicalEnergyModel",
        "deterministic": "probseg.models.deterministic:DeterministicModel",
    },
)
