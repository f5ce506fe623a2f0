"""The networks of MONAI as 2-D backbones, each a name in ``probseg.backbones``.

Every constructor takes C, F, the widths of its levels, and all further options of MONAI's network
under MONAI's names.
"""

from collections.abc import Sequence
from typing import Any

from probseg_monai.network import Network, network

Widths = Sequence[int]


def unet(
    in_channels: int, *, features: int = 32, channels: Widths = (32, 64, 128, 256), **options: Any
) -> Network:
    """Return MONAI's U-Net, which halves by strided convolutions.

    Args:
        in_channels: C of the image.
        features: F.
        channels: Widths of the levels.
        **options: Of ``monai.networks.nets.UNet``, such as ``num_res_units`` or ``norm``.

    References:
        Kerfoot et al., "Left-Ventricle Quantification Using Residual U-Net", STACOM 2018.
    """
    levels = {"channels": channels, "strides": (2,) * (len(channels) - 1)}
    return network("UNet", in_channels, features, halvings=len(channels) - 1, **levels, **options)


def attention_unet(
    in_channels: int, *, features: int = 32, channels: Widths = (32, 64, 128, 256), **options: Any
) -> Network:
    """Return a U-Net whose skip connections pass attention gates.

    Args:
        in_channels: C of the image.
        features: F.
        channels: Widths of the levels.
        **options: Of ``monai.networks.nets.AttentionUnet``, such as ``dropout``.

    References:
        Oktay et al., "Attention U-Net: Learning Where to Look for the Pancreas", MIDL 2018.
    """
    halvings = len(channels) - 1
    levels = {"channels": channels, "strides": (2,) * halvings}
    return network("AttentionUnet", in_channels, features, halvings=halvings, **levels, **options)


def basic_unet(
    in_channels: int,
    *,
    features: int = 32,
    channels: Widths = (32, 32, 64, 128, 256, 32),
    **options: Any,
) -> Network:
    """Return a U-Net of five levels with two convolutions each.

    Args:
        in_channels: C of the image.
        features: F.
        channels: Widths of the encoder's five levels, and of the decoder's last one.
        **options: Of ``monai.networks.nets.BasicUNet``, such as ``norm`` or ``upsample``.

    References:
        Falk et al., "U-Net: deep learning for cell counting, detection, and morphometry", Nature
        Methods 16, 2019.
    """
    return network("BasicUNet", in_channels, features, halvings=4, features=channels, **options)


def dynunet(
    in_channels: int, *, features: int = 32, channels: Widths = (32, 64, 128, 256), **options: Any
) -> Network:
    """Return nnU-Net's network.

    Args:
        in_channels: C of the image.
        features: F.
        channels: Widths of the levels.
        **options: Of ``monai.networks.nets.DynUNet``, such as ``res_block`` or ``norm_name``.

    References:
        Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
        segmentation", Nature Methods 18, 2021.
    """
    halvings = len(channels) - 1
    levels = {
        "filters": channels,
        "kernel_size": [3] * len(channels),
        "strides": [1] + [2] * halvings,
        "upsample_kernel_size": [2] * halvings,
        "deep_supervision": False,
    }
    return network("DynUNet", in_channels, features, halvings=halvings, **levels, **options)


def segresnet(
    in_channels: int,
    *,
    features: int = 32,
    channels: int = 16,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    **options: Any,
) -> Network:
    """Return a residual encoder with a light decoder.

    Args:
        in_channels: C of the image.
        features: F.
        channels: Width of the first level; it doubles from level to level.
        blocks_down: Residual blocks of each level of the encoder.
        blocks_up: Those of the decoder, which has one level fewer.
        **options: Of ``monai.networks.nets.SegResNet``, such as ``dropout_prob`` or ``norm``.

    References:
        Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes
        2018.
    """
    blocks = {"blocks_down": tuple(blocks_down), "blocks_up": tuple(blocks_up)}
    halvings = len(blocks_down) - 1
    options = {"init_filters": channels, **blocks, **options}
    return network("SegResNet", in_channels, features, halvings=halvings, **options)


def swin_unetr(
    in_channels: int, *, features: int = 32, channels: int = 24, **options: Any
) -> Network:
    """Return a U-Net whose encoder is a Swin transformer.

    Args:
        in_channels: C of the image.
        features: F.
        channels: Width of the first level, a multiple of 12; it doubles from level to level.
        **options: Of ``monai.networks.nets.SwinUNETR``, such as ``depths`` or ``use_v2``.

    References:
        Hatamizadeh et al., "Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors
        in MRI Images", BrainLes 2021.
    """
    options = {"feature_size": channels, "patch_size": 2, **options}
    return network("SwinUNETR", in_channels, features, halvings=5, **options)


def highresnet(in_channels: int, *, features: int = 32, **options: Any) -> Network:
    """Return a network of dilated convolutions that never leaves full resolution.

    Args:
        in_channels: C of the image.
        features: F.
        **options: Of ``monai.networks.nets.HighResNet``, such as ``norm_type``.

    References:
        Li et al., "On the Compactness, Efficiency, and Representation of 3D Convolutional
        Networks", IPMI 2017.
    """
    return network("HighResNet", in_channels, features, halvings=0, **options)


def mednext(
    in_channels: int,
    *,
    features: int = 32,
    channels: int = 32,
    blocks_down: Sequence[int] = (2, 2, 2, 2),
    blocks_up: Sequence[int] = (2, 2, 2, 2),
    **options: Any,
) -> Network:
    """Return a U-Net of ConvNeXt blocks.

    Args:
        in_channels: C of the image.
        features: F.
        channels: Width of the first level; it doubles from level to level.
        blocks_down: Blocks of each level of the encoder.
        blocks_up: Those of the decoder.
        **options: Of ``monai.networks.nets.MedNeXt``, such as ``kernel_size``.

    References:
        Roy et al., "MedNeXt: Transformer-driven Scaling of ConvNets for Medical Image
        Segmentation", MICCAI 2023.
    """
    blocks = {"blocks_down": blocks_down, "blocks_up": blocks_up, "deep_supervision": False}
    options = {"init_filters": channels, **blocks, **options}
    return network("MedNeXt", in_channels, features, halvings=len(blocks_down), **options)
