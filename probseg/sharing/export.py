"""The sampler of a model as a program for torch.export and ONNX: (image, noise) -> samples.

The program draws no random numbers: its caller passes standard normal noise (n, B, L).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, get_type_hints

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

from probseg.calibration import calibration_of
from probseg.datasets.preprocessing import preprocessing_of
from probseg.errors import ExportError
from probseg.interfaces import Backbone, Decoder, Model
from probseg.options import an, listing
from probseg.registry import Constructor, registry
from probseg.registry.specs import lacking
from probseg.sharing.config import PREPROCESSING
from probseg.utils.atomic_files import atomic_file
from probseg.utils.contexts import evaluating, silenced
from probseg.utils.imports import require

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

_IMAGES, _SAMPLES, _STRIDES = 2, 3, 4  # of the example; each differs from one, which is special
_LARGEST = 2**14  # samples, images or strides
_LEAST = 1, 2  # strides
_TOLERANCE = 1e-3  # of probabilities, to tell a fault from rounding


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
                f"{model.spec['name']!r} is {an(type(model).__name__)} without "
                f"{', '.join(missing)}; {listing(_exportable())} are such models"
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
        drawn = calibration_of(self.model).probabilities(logits)
        return drawn.reshape(samples, images, *logits.shape[1:])


def _exportable() -> list[str]:
    """Return probseg's own models that are latent-variable models; none is built."""
    models = registry("models")
    own = [name for name, offers in models.offers().items() if offers[-1].source == "probseg"]
    return [name for name in own if hasattr(_class_of(models[name]), "sampled_density")]


def _class_of(constructor: Constructor) -> Any:
    """Return the class of what a constructor makes, which may be a class or say what it returns."""
    if isinstance(constructor, type):
        return constructor
    return get_type_hints(type(constructor).__call__).get("return")


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
        f"{an(type(density).__name__)} cannot be sampled from normal noise; the density must be a "
        "Normal, Independent, MultivariateNormal or a TransformedDistribution of them"
    )


def to_program(model: Model, *, projected: bool = False) -> ExportedProgram:
    """Return the sampler as a program, which ``torch.export.save`` writes to a file.

    Its ``module()(image, noise)`` returns probabilities (n, B, K, H, W). Batch, number of samples,
    height and width are open; the backbone's stride must divide the sides, and some backbones need
    sides of two strides at least. The program is compared with the model at sizes other than those
    that it was written with.

    Args:
        model: A latent-variable model; it is exported in evaluation mode.
        projected: Sample the projected prior in place of the base prior.

    Raises:
        ExportError: The model has no such sampler, or a part cannot be written as a program that
            is right at other sizes.
    """
    return _exported(Sampler(model, projected=projected))[0]


def _exported(sampler: Sampler) -> tuple[ExportedProgram, int]:
    """Return the program, and how many strides the sides of an image need at least: one or two.

    Where a network's last map shrinks to a pixel, torch writes some of them for that size only.
    """
    for least in _LEAST:
        program = _traced(sampler, least)
        try:
            _check_sizes(sampler, program.module(), least, "program")
        except ExportError:
            if least == _LEAST[-1]:
                raise
        else:
            break
    return program, least


def _traced(sampler: Sampler, least: int) -> ExportedProgram:
    failure = f"the sampler of {sampler.model.spec['name']!r} cannot be written as a program"
    remedy = "; one of its parts decides by the values of tensors"
    with evaluating(sampler), _open_pooling(sampler), torch.no_grad():
        example, sizes = _example(sampler.model, least)
        sampler(*example)  # a plain error, if the model itself fails
        with _as_export_error(failure, remedy):
            return torch.export.export(sampler, example, dynamic_shapes=sizes, strict=False)


def save_onnx(model: Model, path: str | os.PathLike[str], *, projected: bool = False) -> None:
    """Write the sampler as ONNX, with inputs ``image`` and ``noise`` and output ``probabilities``.

    The file's metadata carry the model's spec as ``probseg.spec``, the number that has to divide
    the image's sides as ``probseg.stride``, their least length as ``probseg.least`` and, if it is
    known, what was done to the images that the model learnt from as ``probseg.preprocessing``. It
    needs the extra ``export``. The model and ``projected`` are those of :func:`to_program`.

    Raises:
        ExportError: The model has no such sampler, or a part cannot be written as a program.
        WriteError: The file cannot be written; none is left behind.
    """
    sampler = Sampler(model, projected=projected)
    exported, least = _exported(sampler)
    program = _as_onnx(exported)
    stride = sampler.model.backbone.stride
    known = preprocessing_of(model)
    facts = {f"probseg.{PREPROCESSING}": json.dumps(known.to_plain())} if known else {}
    program.model.metadata_props.update(
        {
            "probseg.spec": json.dumps(model.spec),
            "probseg.stride": str(stride),
            "probseg.least": str(least * stride),
            **facts,
        }
    )
    with atomic_file(path) as temporary:
        program.save(str(temporary), external_data=False)
        if find_spec("onnxruntime"):
            _check_sizes(sampler, _run_onnx(temporary), least, "ONNX file")


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


def _example(
    model: LatentSampler, least: int
) -> tuple[tuple[Tensor, Tensor], dict[str, dict[int, Dim]]]:
    """Return an image, noise, and which of their sizes are open: sides from ``least`` strides."""
    like, stride = next(cast("nn.Module", model).parameters()), model.backbone.stride
    image = torch.zeros(_IMAGES, model.in_channels, _STRIDES * stride, _STRIDES * stride)
    noise = torch.zeros(_SAMPLES, _IMAGES, model.latent_dim)
    names = ("images", "samples", "rows", "columns")
    fewest = (1, 1, least, least)
    images, samples, rows, columns = (
        Dim(name, min=low, max=_LARGEST) for name, low in zip(names, fewest, strict=True)
    )
    return (image.to(like), noise.to(like)), {
        "image": {0: images, 2: stride * rows, 3: stride * columns},
        "noise": {0: samples, 1: images},
    }


@contextmanager
def _open_pooling(sampler: nn.Module) -> Iterator[None]:
    """Let adaptive pooling be written for any size: ONNX has that of the example's size only."""
    pools = [m for m in sampler.modules() if isinstance(m, nn.AdaptiveAvgPool2d)]
    for pool in pools:
        pool.forward = partial(_adaptive_mean, pool.output_size)  # type: ignore[method-assign]  # undone below
    try:
        yield
    finally:
        for pool in pools:
            del pool.forward


def _adaptive_mean(size: Any, image: Tensor) -> Tensor:
    """Return ``adaptive_avg_pool2d`` of an image (..., H, W) as two matrix products."""
    counts = (size, size) if isinstance(size, int) else size
    rows, columns = (
        _bins(side if count is None else count, side, image)
        for count, side in zip(counts, image.shape[-2:], strict=True)
    )
    return rows @ image @ columns.mT


def _bins(count: int, side: int, like: Tensor) -> Tensor:
    """Return the weights (count, side) of the pixels in each bin of adaptive pooling."""
    index = torch.arange(count, device=like.device)[:, None]
    pixel = torch.arange(side, device=like.device)
    first, last = index * side // count, ((index + 1) * side + count - 1) // count
    inside = ((pixel >= first) & (pixel < last)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def _check_sizes(
    sampler: Sampler, exported: Callable[[Tensor, Tensor], Tensor], least: int, kind: str
) -> None:
    """Check that what was exported gives what the model gives, at sizes other than the example's.

    Raises:
        ExportError: It does not.
    """
    model = sampler.model
    like = next(sampler.parameters())
    generator = torch.Generator().manual_seed(0)
    for rows, columns in (least, 3), (5, 2):  # other than the example's
        sides = rows * model.backbone.stride, columns * model.backbone.stride
        image = torch.rand(1, model.in_channels, *sides, generator=generator).to(like)
        noise = torch.randn(1, 1, model.latent_dim, generator=generator).to(like)
        failure = f"the {kind} is wrong at {sides[0]}x{sides[1]} pixels, and would be at others"
        remedy = "; a part of the model fixes sizes where it is written: choose another backbone"
        with evaluating(sampler), torch.no_grad(), _as_export_error(failure, remedy):
            difference = (exported(image, noise) - sampler(image, noise)).abs().max()
            if not difference <= _TOLERANCE:
                raise ValueError(f"probabilities differ by {float(difference):.2g}")


def _run_onnx(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(image: Tensor, noise: Tensor) -> Tensor:
        inputs = {"image": image.cpu().numpy(), "noise": noise.cpu().numpy()}
        return torch.from_numpy(session.run(None, inputs)[0]).to(image)

    return run


@contextmanager
def _as_export_error(failure: str, remedy: str = "") -> Iterator[None]:
    """Silence torch's own reports, and raise its errors as :class:`ExportError`."""
    try:
        with silenced(["torch.onnx"], [""]):
            yield
    except Exception as error:  # of many kinds, depending on what the part does
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{failure}: {reason}{remedy}") from error
