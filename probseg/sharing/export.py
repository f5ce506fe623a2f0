"""The sampler of a model as a program for torch.export and ONNX: (image, noise) -> samples.

The program draws no random numbers: its caller passes standard normal noise (n, B, L).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)
from torch.export import Dim, ExportedProgram

from probseg.datasets.preprocessing import preprocessing_of
from probseg.errors import ExportError
from probseg.interfaces import Backbone, Decoder, Model
from probseg.registry.specs import lacking
from probseg.sharing.config import PREPROCESSING
from probseg.utils.atomic_files import atomic_file
from probseg.utils.contexts import evaluating, silenced
from probseg.utils.imports import require
from probseg.utils.tensors import probabilities

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

_IMAGES, _SAMPLES, _STRIDES = 2, 3, 4  # of the example; each differs from one, which is special
_LARGEST = 2**14  # samples, images or strides


class LatentSampler(Model, Protocol):
    """What a model needs so that its sampler can be exported."""

    latent_dim: int
    """L."""
    backbone: Backbone
    decoder: Decoder

    def sampled_density(self, image: Tensor, *, projected: bool) -> Distribution:
        """Return what ``sample`` draws latents from, batch (B,) and event (L,)."""


class Sampler(nn.Module):
    """A model's sampler as a pure function of an image and noise.

    Raises:
        ExportError: The model is no latent-variable model.
    """

    def __init__(self, model: Model, *, projected: bool = False) -> None:
        super().__init__()
        if missing := lacking(model, LatentSampler):
            raise ExportError(
                f"only latent-variable models have a sampler from noise, and "
                f"{model.spec['name']!r} is a {type(model).__name__} without "
                f"{', '.join(missing)}; 'punet', '2p-planar' and 'csae' are such models"
            )
        self.model = cast("LatentSampler", model)
        self.projected = projected

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        """Return probabilities (n, B, K, H, W) of an image (B, C, H, W) and noise (n, B, L).

        Raises:
            ExportError: The prior cannot be sampled from noise.
        """
        density = self.model.sampled_density(image, projected=self.projected)
        latent = from_noise(density, noise)
        features = self.model.backbone(image)
        # as one batch, since a decoder may loop over the samples, whose number is left open
        samples, images = noise.shape[:2]  # not len(), which would fix their number
        repeated = features.expand(samples, -1, -1, -1, -1).flatten(0, 1)
        logits = self.model.decoder(repeated, latent.flatten(0, 1))
        return probabilities(logits).reshape(samples, images, *logits.shape[1:])


def from_noise(density: Distribution, noise: Tensor) -> Tensor:
    r"""Return the sample of a density over the latent space that standard normal noise stands for.

    .. math:: z = \mu + \sigma \odot \epsilon, \quad z = \mu + L \epsilon, \quad z = f(z_0)

    for independent and multivariate normals, and for flows of them.

    Args:
        density: Batch (B,) and event (L,).
        noise: (n, B, L), independent standard normal numbers.

    Raises:
        ExportError: The density is none of those.

    Examples:
        >>> import torch
        >>> from_noise(Normal(torch.ones(2), 3.0), torch.tensor([0.0, 1.0]))
        tensor([1., 4.])
    """
    if isinstance(density, Independent):
        return from_noise(density.base_dist, noise)
    if isinstance(density, Normal):
        return density.loc + density.scale * noise
    if isinstance(density, MultivariateNormal):
        return density.loc + (density.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    if isinstance(density, TransformedDistribution):
        sample = from_noise(density.base_dist, noise)
        for transform in density.transforms:
            sample = transform(sample)
        return sample
    raise ExportError(
        f"a {type(density).__name__} cannot be sampled from normal noise; the density must be a "
        "Normal, Independent, MultivariateNormal or a TransformedDistribution of them"
    )


def to_program(model: Model, *, projected: bool = False) -> ExportedProgram:
    """Return the sampler as a program, which ``torch.export.save`` writes to a file.

    Its ``module()(image, noise)`` returns probabilities (n, B, K, H, W). Batch, number of samples,
    height and width are open; the backbone's stride must divide the sides.

    Args:
        model: A latent-variable model; it is exported in evaluation mode.
        projected: Sample the projected prior in place of the base prior.

    Raises:
        ExportError: The model has no such sampler, or a part cannot be written as a program.
    """
    sampler = Sampler(model, projected=projected)
    failure = f"the sampler of {model.spec['name']!r} cannot be written as a program"
    remedy = "; one of its parts decides by the values of tensors"
    with evaluating(sampler), torch.no_grad():
        example, sizes = _example(sampler.model)
        sampler(*example)  # a plain error, if the model itself fails
        with _as_export_error(failure, remedy):
            return torch.export.export(sampler, example, dynamic_shapes=sizes, strict=False)


def save_onnx(model: Model, path: str | os.PathLike[str], *, projected: bool = False) -> None:
    """Write the sampler as ONNX, with inputs ``image`` and ``noise`` and output ``probabilities``.

    The file's metadata carry the model's spec as ``probseg.spec``, the number that has to divide
    the image's sides as ``probseg.stride`` and, if it is known, what was done to the images that
    the model learnt from as ``probseg.preprocessing``. It needs the extra ``export``. The model and
    ``projected`` are those of :func:`to_program`.

    Raises:
        ExportError: The model has no such sampler, or a part cannot be written as a program.
        WriteError: The file cannot be written; none is left behind.
    """
    program = _as_onnx(to_program(model, projected=projected))
    stride = cast("LatentSampler", model).backbone.stride
    known = preprocessing_of(model)
    facts = {f"probseg.{PREPROCESSING}": json.dumps(known.to_plain())} if known else {}
    program.model.metadata_props.update(
        {"probseg.spec": json.dumps(model.spec), "probseg.stride": str(stride), **facts}
    )
    with atomic_file(path) as temporary:
        program.save(str(temporary), external_data=False)


def _as_onnx(program: ExportedProgram) -> ONNXProgram:
    for package in ("onnxscript", "onnx"):
        require(package, extra="export", for_="probseg.sharing.export.save_onnx")
    with _as_export_error("ONNX has no counterpart"):
        onnx_program = torch.onnx.export(
            program,
            input_names=["image", "noise"],
            output_names=["probabilities"],
            dynamo=True,
            verbose=False,
        )
    assert onnx_program is not None
    return onnx_program


def _example(model: LatentSampler) -> tuple[tuple[Tensor, Tensor], dict[str, dict[int, Dim]]]:
    """Return an image and noise, and which of their sizes are open."""
    like, stride = next(cast("nn.Module", model).parameters()), model.backbone.stride
    image = torch.zeros(_IMAGES, model.in_channels, _STRIDES * stride, _STRIDES * stride)
    noise = torch.zeros(_SAMPLES, _IMAGES, model.latent_dim)
    names = ("images", "samples", "rows", "columns")
    images, samples, rows, columns = (Dim(name, max=_LARGEST) for name in names)
    return (image.to(like), noise.to(like)), {
        "image": {0: images, 2: stride * rows, 3: stride * columns},
        "noise": {0: samples, 1: images},
    }


@contextmanager
def _as_export_error(failure: str, remedy: str = "") -> Iterator[None]:
    """Silence torch's own reports, and raise its errors as :class:`ExportError`."""
    try:
        with silenced(["torch.onnx"], [""]):
            yield
    except Exception as error:  # of many kinds, depending on what the part does
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{failure}: {reason}{remedy}") from error
