"""A trained model against the annotation distribution that is known in closed form."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from shape_modes import mode_frequencies
from torch import Tensor

from probseg import build
from probseg.datasets.shapes import AmbiguousShapes
from probseg.datasets.views import Subset, View
from probseg.interfaces import Batch, Dataset
from probseg.training import TrainingSettings, fit

NET = {"channels": (8, 16), "convolutions": 1, "norm": "batch"}


class Drawn(View):
    """Images that are drawn once: each is seen more than ten times."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset, "drawn")
        self.all = dataset.batch(range(len(dataset)))

    def batch(self, indices: Sequence[int]) -> Batch:
        return Batch(self.all.image[indices], self.all.masks[indices])


@pytest.mark.slow
@pytest.mark.untraced
def test_samples_recover_the_known_mode_frequencies():
    """First the modes are told apart, then a large beta settles how often each is sampled.

    The posteriors have to tile the prior for that: splines can, Normals leave gaps or overlap.
    """
    shapes = AmbiguousShapes(size=12, samples=4000)
    drawn = Drawn(shapes)
    train, validation = Subset(drawn, range(200, 4000)), Subset(drawn, range(100, 200))
    told_apart = small_model(beta=1.0)
    fit(told_apart, train, validation, settings(200), progress=False)
    model = small_model(beta=9.0)  # against a cross-entropy that is a sum over 144 pixels
    model.load_state_dict(told_apart.state_dict())
    fit(model, train, validation, settings(600, schedule="cosine"), progress=False)
    torch.testing.assert_close(
        sampled_frequencies(model, shapes), shapes.frequencies, rtol=0, atol=0.05
    )


def small_model(beta: float) -> Any:
    return build(
        "2p-planar",
        projector={"name": "rational-quadratic", "steps": 1, "tail_bound": 3.0},
        latent_dim=2,
        beta=beta,
        backbone={"name": "unet", **NET},
        encoder={"name": "axis-aligned", **NET},
        decoder={"name": "fcomb", "features": 16, "class_prior": (0.85, 0.15)},
    )


def settings(steps: int, **changes: Any) -> TrainingSettings:
    return TrainingSettings(
        learning_rate=3e-3,
        weight_decay=0.0,
        batch_size=64,
        max_steps=steps,
        validate_every=steps,
        clip=100.0,
        augment=False,
        precision="fp32",
        **changes,
    )


def sampled_frequencies(model: Any, shapes: AmbiguousShapes) -> Tensor:
    """The mean over 100 images that were not trained on, 100 samples each."""
    images = shapes.batch(range(100)).image
    samples = model.sample(images, 100, generator=torch.Generator().manual_seed(0)).argmax(2)
    each = [mode_frequencies(samples[:, index], shapes.modes(index)) for index in range(100)]
    return torch.stack(each).mean(0)
