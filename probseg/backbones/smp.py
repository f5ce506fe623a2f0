"""Every architecture and encoder of segmentation-models-pytorch as a backbone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from probseg.backbones.blocks import freeze_unused
from probseg.errors import OptionError
from probseg.options import did_you_mean, listing, named_parameters, unknown
from probseg.registry.specs import StoredWeights
from probseg.utils.contexts import normalisation_errors


class SegmentationModel(nn.Module):
    """A network of segmentation-models-pytorch whose head gives features at full resolution.

    Args:
        in_channels: C of the image.
        arch: One of the library's architectures, such as ``"unet"`` or ``"fpn"``.
        encoder: One of its encoders, such as ``"resnet34"`` or ``"tu-convnext_tiny"``.
        features: F, the maps that the network's head gives.
        encoder_weights: Pretrained weights to fetch (needs the network), or ``None``. A model that
            is loaded fetches none.
        **options: Further options of the architecture.

    Raises:
        OptionError: No such architecture, encoder or option.

    References:
        https://smp.readthedocs.io
    """

    def __init__(
        self,
        in_channels: int,
        *,
        arch: str = "unet",
        encoder: str = "resnet34",
        features: int = 32,
        encoder_weights: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if arch not in smp.MODEL_ARCHITECTURES_MAPPING:
            kind = "architecture of segmentation-models-pytorch"
            raise OptionError(unknown(kind, arch, smp.MODEL_ARCHITECTURES_MAPPING))
        check_encoder(encoder)
        _check_options(encoder, arch, options)
        self.arch = arch
        if arch == "dpt":  # its transformer otherwise takes images of one size only
            options.setdefault("dynamic_img_size", True)
        self.out_channels = features
        with refusals(f"{arch!r} with encoder {encoder!r} and {options}"):
            self.network = smp.create_model(
                arch,
                encoder,
                to_fetch(encoder_weights),
                in_channels,
                classes=features,
                **options,
            )
        # PAN halves the encoder's smallest map three times more
        deepest = 128 if arch == "pan" else 32
        self.stride = max(deepest, int(getattr(self.network.encoder, "output_stride", 32)))
        # PSPNet cuts its encoder short, and DPT reads timm's before its head
        freeze_unused(self.network, torch.zeros(1, in_channels, self.stride, self.stride))

    def forward(self, image: Tensor) -> Tensor:
        """Return features (B, F, H, W) of an image (B, C, H, W) whose sides the stride divides.

        Raises:
            InputError: A batch of one in training mode, where the architecture pools to a single
                pixel and normalises over the batch.
        """
        with normalisation_errors():
            features: Tensor = self.network(image)
        return features


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Let what segmentation-models-pytorch cannot build be an :class:`OptionError` that names it.

    Raises:
        OptionError: The library refuses the options.
    """
    try:
        yield
    except (TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise OptionError(f"segmentation-models-pytorch cannot build {what}: {error}") from error


def to_fetch(weights: str | None) -> str | None:
    """Return the name of pretrained weights, or None if a checkpoint holds them already."""
    return None if isinstance(weights, StoredWeights) else weights


def check_encoder(encoder: str) -> None:
    """Check that segmentation-models-pytorch has an encoder.

    Raises:
        OptionError: It has none of that name.
    """
    if encoder.startswith("tu-"):  # any network of timm
        if ":" in encoder:
            raise OptionError(
                f"the encoder {encoder!r} would be looked up in a repository or a folder; name one "
                "of timm's own networks"
            )
        return
    encoders = smp.encoders.get_encoder_names()
    if encoder not in encoders:
        raise OptionError(
            f"no encoder of segmentation-models-pytorch is called {encoder!r}"
            f"{did_you_mean(encoder, encoders)}; its documentation lists all {len(encoders)}"
        )


def _check_options(encoder: str, arch: str, options: dict[str, Any]) -> None:
    if encoder.startswith("tu-"):  # which takes further options
        return
    parameters = named_parameters(smp.MODEL_ARCHITECTURES_MAPPING[arch])
    for option in options:
        if option not in parameters:
            raise OptionError(
                f"segmentation-models-pytorch's {arch!r} has no option {option!r}"
                f"{did_you_mean(option, parameters)}; it takes: {listing(parameters)}"
            )


unetplusplus = partial(SegmentationModel, arch="unetplusplus")
manet = partial(SegmentationModel, arch="manet")
linknet = partial(SegmentationModel, arch="linknet")
fpn = partial(SegmentationModel, arch="fpn")
pspnet = partial(SegmentationModel, arch="pspnet")
pan = partial(SegmentationModel, arch="pan")
deeplabv3 = partial(SegmentationModel, arch="deeplabv3")
deeplabv3plus = partial(SegmentationModel, arch="deeplabv3plus")
segformer = partial(SegmentationModel, arch="segformer")
upernet = partial(SegmentationModel, arch="upernet")
dpt = partial(SegmentationModel, arch="dpt", encoder="tu-vit_tiny_patch16_224.augreg_in21k")
