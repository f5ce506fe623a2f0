"""Random label maps, which tests of metrics and of copies from a device share."""

import torch
from hypothesis import strategies as st
from torch import Tensor


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Label maps (B, M, P) in which foreground may be absent or everywhere."""
    shape = tuple(draw(st.integers(1, most)) for most in (4, 6, 70))
    classes = draw(st.sampled_from([2, 3, 5, 256, 257, 1000]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    some = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.1, 1.0]))
    maps = torch.randint(1, classes, shape, generator=generator) * some
    return maps.to(torch.uint8 if classes <= 256 else torch.int64), classes
