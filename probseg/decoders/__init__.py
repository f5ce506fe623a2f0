"""Decoders turn features and a latent sample into the logits of one segmentation."""

from probseg.registry import Registry

Registry.adopt(__name__, kind="decoder", builtin={"fcomb": "probseg.decoders.fcomb:FComb"})
