"""Many samples of one image, a few at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Predicted(NamedTuple):
    """What a model says of one image."""

    labels: NDArray[np.uint8]  # (n, H, W), each sample's most probable class
    mean: NDArray[np.float32]  # (K, H, W), of each class's probability
    sd: NDArray[np.float32]  # (K, H, W), over the samples


def predict(
    model: Any, image: NDArray[np.float32], n: int, *, seed: int, at_once: int
) -> Predicted:
    """Sample an image (C, H, W); neither other images nor earlier ones matter.

    Args:
        model: A ``probseg.interfaces.Model`` in evaluation mode.
        image: (C, H, W).
        n: Samples.
        seed: Of the samples.
        at_once: Samples at a time, which bounds the memory; another number gives other samples.

    Raises:
        InputError: The image is not what the model was built for.
    """
    device = next(model.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(image))[None].to(device)
    generator = torch.Generator(device).manual_seed(seed)
    labels, total, squares = [], torch.zeros(()), torch.zeros(())
    for start in range(0, n, at_once):
        count = min(at_once, n - start)
        samples = model.sample(batch, count, generator=generator)[:, 0]  # (count, K, H, W)
        labels.append(samples.argmax(dim=1).to("cpu", torch.uint8))
        exact = samples.to("cpu", torch.float64)
        total, squares = total + exact.sum(0), squares + exact.square().sum(0)
    mean = total / n
    sd = (squares / n - mean.square()).clamp_min(0).sqrt()
    return Predicted(torch.cat(labels).numpy(), mean.float().numpy(), sd.float().numpy())
