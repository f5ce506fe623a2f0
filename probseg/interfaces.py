"""Interfaces of all parts, as protocols of one method, and the records they exchange.

Symbols: B images, C channels, H x W pixels, K classes, L latent dimensions, F feature maps,
S (or n) samples, A annotators, c context features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Generator, Tensor, as_tensor
from torch.distributions import Distribution


@runtime_checkable
class Backbone(Protocol):
    """Turns images into features at full resolution."""

    out_channels: int
    """F, the number of feature maps."""
    stride: int
    """Images are padded to a multiple of it before they come here."""

    def __call__(self, image: Tensor, /) -> Tensor:
        """Return features (B, F, H, W) of an image (B, C, H, W)."""


@runtime_checkable
class Pyramid(Protocol):
    """Turns images into features at several resolutions, each half of the one before."""

    channels: tuple[int, ...]
    """F_l, the number of feature maps of each level, the finest first."""
    stride: int
    """Images are padded to a multiple of it; that of the coarsest level, or a multiple."""

    def __call__(self, image: Tensor, /) -> list[Tensor]:
        """Return features (B, F_l, H / 2^l, W / 2^l) of each level l of an image (B, C, H, W)."""


@runtime_checkable
class LatentEncoder(Protocol):
    """Turns an image (and a label, as channels) into a base density and a context for flows."""

    context_features: int
    """c, the length of the context."""

    def __call__(self, image: Tensor, /) -> tuple[Distribution, Tensor]:
        """Return a density, batch (B,) and event (L,), and a context (B, c).

        The prior's encoder sees an image (B, C, H, W), the posterior's (B, C + K, H, W).
        """


@runtime_checkable
class Projector(Protocol):
    """Pushes a base density forward: the density of f(z, context) for z from the base."""

    def __call__(self, base: Distribution, context: Tensor, /) -> Distribution:
        """Return a density of the base's batch (B,) and event (L,), given a context (B, c)."""


@runtime_checkable
class Divergence(Protocol):
    """Measures how far q is from p, one number per image."""

    def __call__(self, q: Distribution, p: Distribution, /) -> Tensor:
        """Return (B,) from two densities of batch (B,) and event (L,)."""


@runtime_checkable
class Decoder(Protocol):
    """Turns features and latent samples into the logits of segmentations."""

    def __call__(self, features: Tensor, latent: Tensor, /) -> Tensor:
        """Return logits (..., B, K, H, W) of features (B, F, H, W), latent (..., B, L)."""


@runtime_checkable
class SetLoss(Protocol):
    """Measures how far a set of samples is from the set of an image's annotations."""

    def __call__(self, samples: Tensor, masks: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Return (B,) from probabilities (S, B, K, H, W) and classes (B, A, H, W).

        Masks are -100 where an annotator did not label, and so everywhere if one is absent.
        ``weights`` (G, B) sum to one over G, the experts of a mixture, each of which drew S / G of
        the samples, one expert's after the other's. None: all samples are of one density.
        """


@runtime_checkable
class Model(Protocol):
    """A conditional density over segmentations that can be trained and sampled.

    It is a ``torch.nn.Module`` as well, and may have more attributes. ``soft_labels = True``
    says that its loss takes probabilities (B, K, H, W) as labels; ``all_annotators = True``, that
    its loss takes everybody's masks (B, A, H, W) at once in place of a label (B, H, W). The mask of
    an annotator who is absent is ``ignore_index`` everywhere. A third one, ``image_size = (H, W)``,
    says that its loss takes images of this size only.
    """

    spec: dict[str, Any]
    """Plain data with a ``"name"``; ``build(**spec)`` gives the same architecture."""
    in_channels: int
    """C."""
    classes: int
    """K, background included."""

    def loss(
        self, image: Tensor, label: Tensor, *, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Return weighted scalar terms, whose sum is minimised.

        The image is (B, C, H, W), floating; the label (B, H, W), integer classes. If data have
        pixels that nobody labelled, ``fit`` calls it with ``ignore_index=``, their value, as well.
        """

    def sample(self, image: Tensor, n: int, *, generator: Generator | None = None) -> Tensor:
        """Return probabilities (n, B, K, H, W) of an image (B, C, H, W).

        A model may take ``stratified=True`` as well, for samples that share out its density.
        """


@runtime_checkable
class LatentModel(Model, Protocol):
    """A model whose ambiguity lives in a latent space."""

    latent_dim: int
    """L."""

    def prior(self, image: Tensor) -> Distribution:
        """Return p(z | x), batch (B,) and event (L,), of an image (B, C, H, W)."""

    def posterior(self, image: Tensor, label: Tensor) -> Distribution:
        """Return q(z | x, y), batch (B,) and event (L,), given a label (B, H, W)."""

    def reconstruct(
        self, image: Tensor, label: Tensor, *, generator: Generator | None = None
    ) -> Tensor:
        """Return probabilities (B, K, H, W) decoded from the posterior."""


class Sample(NamedTuple):
    """One image of a data set with all its annotations."""

    image: Tensor
    """(C, H, W) float32."""
    masks: Tensor
    """(A, H, W) uint8 classes, or the ``ignore_index`` of the data set; an empty mask is an
    annotation ("no lesion")."""
    group: str
    """Patient or case."""
    present: Tensor | None = None
    """(A,) bool, who annotated it; None if all did, which torch's own collation does not take."""


class Batch(NamedTuple):
    """Several images with all their annotations."""

    image: Tensor
    """(B, C, H, W) float32."""
    masks: Tensor
    """(B, A, H, W) uint8 classes; empty for annotators who did not annotate the image."""
    present: Tensor | None = None
    """(B, A) bool, who annotated which image; None if all annotated all."""


@runtime_checkable
class Dataset(Protocol):
    """Images, each annotated by several people.

    It may have more attributes. ``ignore_index`` is the value of pixels of masks that nobody
    labelled, 255, or None where there are none. ``soft`` says whether its masks are soft: float32
    probabilities of the second of two classes. ``ids`` (N) are unique names of the images,
    ``parts`` (N) those of the publisher's split ("train", "validation" or "test"), and ``spacing``
    (N, 2) is in mm between rows and between columns, NaN where unknown.
    """

    name: str
    """Its name in results."""
    channels: int
    """C of its images."""
    classes: int
    """K, background included."""
    annotators: int
    """A, the largest number of annotators of an image."""
    groups: Sequence[str]
    """The group of each sample; reads no image."""
    fingerprint: str
    """Hex digest of the data."""
    provenance: str
    """A sentence, shown beside every result."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int, /) -> Sample:
        """Return one image with all its annotations."""

    def batch(self, indices: Sequence[int], /) -> Batch:
        """Return several images at once."""


@dataclass(frozen=True)
class Evaluation:
    """Samples of a model and annotations of the same images, from which metrics are computed.

    Arrays of NumPy become tensors.
    """

    probabilities: Tensor
    """(B, N, K, H, W), N samples that each sum to one over K; or (B, N, H, W) integer classes, as
    masks of another program have them, which metrics take for certain."""
    annotations: Tensor
    """(B, A, H, W) integer classes."""
    prior: Distribution | None = None
    """Batch (B,), event (L,)."""
    posterior: Distribution | None = None
    """Base posterior given one annotation of each image."""
    ignore_index: int | None = None
    """The value of annotations' pixels that nobody labelled, which metrics leave out."""
    classes: int = 2
    """K of samples that are integer classes, background included; other samples tell it."""
    spacing: Tensor | None = None
    """(B, 2) mm between the rows and between the columns of each image, NaN where unknown."""

    def __post_init__(self) -> None:
        for name in ("probabilities", "annotations", "spacing"):
            if hasattr(value := getattr(self, name), "__array__"):
                object.__setattr__(self, name, as_tensor(value))

    @cached_property
    def labels(self) -> Tensor:
        """The most probable class of each sample's pixels, (B, N, H, W)."""
        p = self.probabilities
        return p.argmax(dim=2) if p.ndim == 5 else p


@runtime_checkable
class Metric(Protocol):
    """Scores each image of an evaluation."""

    @property
    def higher_is_better(self) -> bool | None:
        """Whether larger values are better; None where neither is, as of the samples' diversity."""

    def __call__(self, evaluation: Evaluation, /) -> Tensor:
        """Return one value per image, (B,) in double precision."""
