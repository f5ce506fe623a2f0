"""What metrics do on CUDA up to the reads that nobody can avoid, on fake tensors of `cuda:0`."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Independent, Normal

from probseg.metrics import kernels, label_maps, latent, ncc, overlap
from probseg.metrics.evaluation import SharedEvaluation
from probseg.utils import devices

B, N, A, H, W = 40, 100, 4, 128, 128  # more than is computed at once
CUDA = torch.device("cuda:0")


@pytest.fixture(params=[2, 4])
def evaluation(request):
    with FakeTensorMode():
        latents = [torch.empty(B, 6, device="cuda") for _ in "ab"]
        density = Independent(Normal(*latents, validate_args=False), 1, validate_args=False)
        yield SharedEvaluation(
            torch.empty(B, N, request.param, H, W, device="cuda"),
            torch.empty(B, A, H, W, device="cuda", dtype=torch.int64),
            density,
            density,
        )


@pytest.mark.slow
def test_what_is_computed_stays_there(evaluation):
    classes = evaluation.probabilities.shape[2]
    pair = evaluation.probabilities, evaluation.annotations
    maps = evaluation.labels.flatten(2)
    assert maps.dtype == torch.uint8
    made = {
        (B, N, H * W): maps,
        (B, classes - 1, N, N): overlap.products(maps, classes),
        (B, N, H * W // 8): devices._pack_bits(maps == 1),
        (B, N, A): kernels._cross_entropy(*pair, kernels.EPSILON),
        (B,): ncc._correlations(*pair),
        (3,): label_maps._extreme_sums(evaluation.probabilities),
        (B, 6): latent.kl_per_dimension(evaluation.posterior, evaluation.prior),
    }
    for shape, tensor in made.items():
        assert tensor.shape == shape and tensor.device == CUDA
    for cost in (made[B, N, A], made[B,], made[B, 6]):
        assert cost.dtype == torch.float64
