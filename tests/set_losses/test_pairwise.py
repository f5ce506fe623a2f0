"""Distances of all pairs against a loop over them, and how much memory their gradient takes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from probseg.set_losses.pairwise import l1_distances

SHAPES = [(1, 3), (4, 1), (2, 3, 5), (3, 2, 6, 7)]


def _points(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).double().requires_grad_()


def _loop(points):
    """Return the distances, pair by pair."""
    count = range(points.shape[-2])
    rows = [
        torch.stack([(points[..., i, :] - points[..., j, :]).abs().sum(-1) for j in count], -1)
        for i in count
    ]
    return torch.stack(rows, -2)


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_and_gradient_equal_a_loop_over_pairs(shape):
    points = _points(*shape)
    found, wanted = l1_distances(points), _loop(points)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(found)  # not symmetric
    gradients = [torch.autograd.grad((d * weights).sum(), points)[0] for d in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_that_of_differences(shape):
    assert torch.autograd.gradcheck(l1_distances, _points(*shape))


def test_equal_points_do_not_pull_at_each_other():
    points = torch.ones(2, 3, 4, requires_grad=True)
    l1_distances(points).sum().backward()
    assert not points.grad.any()


class _Recorded(TorchDispatchMode):
    """Keeps what is called, and how many numbers the largest result has."""

    def __init__(self):
        super().__init__()
        self.called, self.largest = set(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [one.numel() for one in tree_leaves(result) if isinstance(one, torch.Tensor)]
        self.called.add(function.overloadpacket)
        self.largest = max(self.largest, *sizes, 0)
        return result


def test_neither_direction_holds_the_differences_of_all_pairs():
    points = _points(2, 6, 50)
    with _Recorded() as recorded:
        l1_distances(points).sum().backward()
    assert recorded.largest == points.numel()
    # on CUDA it takes as many numbers as there are differences, inside
    assert torch.ops.aten._cdist_backward not in recorded.called
    assert torch.ops.aten._cdist_forward in recorded.called
