"""The packages in plugins/, so that the error of a missing part can name the one that has it."""

from __future__ import annotations

# The parts of the packages in plugins/, by kind, and the package; a test holds it to them.
PLUGINS = {
    "model": {"flow-matching": "probseg-flowmatching", "ssn": "probseg-ssn"},
    "backbone": dict.fromkeys(
        (
            "monai-attention-unet",
            "monai-basic-unet",
            "monai-dynunet",
            "monai-highresnet",
            "monai-mednext",
            "monai-segresnet",
            "monai-swin-unetr",
            "monai-unet",
        ),
        "probseg-monai",
    ),
    "projector": {
        "radial": "probseg-radial",
        **dict.fromkeys(
            ("zuko-bpf", "zuko-maf", "zuko-nsf", "zuko-realnvp", "zuko-sospf"), "probseg-zuko"
        ),
    },
}


def package_of(kind: str, name: object) -> str | None:
    """Return which known plugin has the part of a kind and name, or None.

    >>> package_of("model", "ssn"), package_of("model", "csae")
    ('probseg-ssn', None)
    """
    return PLUGINS.get(kind, {}).get(name) if isinstance(name, str) else None
