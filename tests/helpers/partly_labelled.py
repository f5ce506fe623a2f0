"""Random samples and annotations of which some pixels are ignored, for tests of metrics."""

import numpy as np
import torch
from hypothesis import strategies as st


@st.composite
def partly_labelled(draw):
    """Probabilities, annotations, a value to ignore that some of them have, and K."""
    classes = draw(st.sampled_from([2, 3]))
    images, samples, annotators = (draw(st.integers(1, 3)) for _ in range(3))
    height, width = (draw(st.integers(2, 12)) for _ in range(2))
    ignore = draw(st.sampled_from([255, -1, -100, 7]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = random.dirichlet([0.3] * classes, (images, samples, height, width))
    shape = (images, annotators, height, width)
    labels = random.integers(0, classes, shape) * (random.random(shape) < 0.5)
    hidden = random.random(shape) < draw(st.sampled_from([0.02, 0.5]))
    if draw(st.booleans()):  # the same pixels for everybody
        hidden[:] = hidden[:, :1]
    hidden[..., 0, 0] = False  # everybody labelled something
    labels[hidden] = ignore
    probabilities = torch.from_numpy(probabilities).movedim(-1, 2).contiguous()
    return probabilities, torch.from_numpy(labels), ignore, classes


def prepared(case):
    """Return samples' and annotations' label maps as NumPy arrays in which -1 is ignored."""
    probabilities, annotations, ignore, _ = case
    drawn = np.where(annotations == ignore, -1, annotations)
    labels = probabilities.argmax(2).numpy()
    seen = (drawn >= 0).any(1, keepdims=True)  # by one annotator at least
    return labels, drawn, np.where(seen, labels, -1)
