"""Backbones turn images into feature maps at full resolution."""

from probseg.registry import Registry

_SMP = ("unetplusplus", "manet", "linknet", "fpn", "pspnet", "pan", "deeplabv3", "deeplabv3plus")

Registry.adopt(
    __name__,
    kind="backbone",
    builtin={
        "unet": "probseg.backbones.unet:UNet",
        "smp": "probseg.backbones.smp:SegmentationModel",
        **{
            name: f"probseg.backbones.smp:{name}" for name in (*_SMP, "segformer", "upernet", "dpt")
        },
    },
)
