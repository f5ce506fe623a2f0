"""Metrics of what lies on a GPU: the CPU's numbers, there, in bounded memory, by small copies.

All but the memory also runs on a simulated device that has float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from device_parts import only_cuda
from no_float64 import MPS, There, Without64
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.overrides import TorchFunctionMode

import probseg
from probseg.errors import InputError
from probseg.interfaces import Evaluation
from probseg.metrics import kernels
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.hausdorff import hausdorff_cost
from probseg.metrics.streaming import streaming_collection
from probseg.utils import devices

NAMES = sorted(probseg.metrics)
ROUNDED = {
    "ncc",
    "w-cross-entropy",
    "gini",
    "effective-rank",
    "latent-kl",
    "brier",
    "ece",
    "ace",
    "aurc",
    "aurc-expected-entropy",
    "aurc-mutual-information",
    "aurc-variance",
}  # others are counted


@pytest.fixture(params=["simulated", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch) -> Iterator[torch.device]:
    if request.param == "cuda":
        if not torch.cuda.is_available():  # in a rehearsal, where nothing else skips
            pytest.skip("needs a CUDA device")
        yield torch.device("cuda", torch.cuda.current_device())
        return
    monkeypatch.setattr(There, "refused", ())
    monkeypatch.setattr(devices, "_WITHOUT_FLOAT64", ())
    with Without64():
        yield MPS


def example(
    *, images: int = 5, samples: int = 9, classes: int = 2, side: int = 33, dtype=torch.float64
) -> Evaluation:
    def density() -> Independent:
        return normal(torch.randn(images, 6), torch.rand(images, 6) + 0.1)

    logits = 2 * torch.randn(images, samples, classes, side, side + 7, dtype=dtype)
    annotations = torch.randint(0, classes, (images, 4, side, side + 7))
    annotations[0, 0] = 0  # somebody who saw nothing
    spacing = torch.rand(images, 2) + 0.5
    return Evaluation(logits.softmax(2), annotations, density(), density(), spacing=spacing)


def normal(loc: Tensor, scale: Tensor) -> Independent:
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


def moved(evaluation: Evaluation, device: torch.device) -> Evaluation:
    densities = (
        normal(one.base_dist.loc.to(device), one.base_dist.scale.to(device))
        for one in (evaluation.prior, evaluation.posterior)
    )
    tensors = evaluation.probabilities.to(device), evaluation.annotations.to(device)
    return Evaluation(*tensors, *densities, spacing=evaluation.spacing)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_the_cpus(name, classes, device):
    evaluation = example(classes=classes)
    found = probseg.metrics.create(name)(moved(evaluation, device))
    assert found.device == device and found.dtype == torch.float64
    wanted = probseg.metrics.create(name)(evaluation)
    atol = 1e-9 if name in ROUNDED else 0
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=atol)


def test_together_they_are_the_cpus_in_single_precision(device):
    evaluation = example(dtype=torch.float32)
    wanted = compute_metrics(evaluation, NAMES)
    for name, found in compute_metrics(moved(evaluation, device), NAMES).items():
        atol = 1e-6 if name in ROUNDED else 0  # logarithms of float32
        torch.testing.assert_close(found.cpu(), wanted[name], rtol=0, atol=atol)


@pytest.mark.parametrize("classes", [2, 5])
def test_costs_of_label_maps_are_the_cpus(classes, device):
    left, right = (torch.randint(0, classes, (3, count, 20, 31)) for count in (7, 4))
    for cost in (kernels.iou_cost, kernels.dice_cost, hausdorff_cost):
        found = cost(left.to(device), right.to(device), classes=classes)
        assert found.device == device
        assert torch.equal(found.cpu(), cost(left, right, classes=classes))


def test_wrong_labels_are_named(device):
    labels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    labels[1, 2, 3, 4] = 255
    there, good = labels.to(device), torch.zeros_like(labels).to(device)
    for cost in (kernels.iou_cost, hausdorff_cost):
        with pytest.raises(InputError, match=r"annotations must .* not values from 0 to 255"):
            cost(good, there)
    evaluation = Evaluation(torch.full((2, 3, 2, 8, 8), 0.5).to(device), there)
    with pytest.raises(InputError, match=r"annotations must .* not values from 0 to 255"):
        compute_metrics(evaluation, ["w-cross-entropy"])
    with pytest.raises(InputError, match="NaN"):
        compute_metrics(Evaluation(evaluation.probabilities * torch.nan, good), ["ncc"])


def test_streams_are_the_cpus(device):
    evaluation = example()
    collection = streaming_collection(NAMES).to(device)
    there = moved(evaluation, device)
    collection.update(
        *(there.probabilities, there.annotations, there.prior, there.posterior),
        spacing=there.spacing,
    )
    for name, value in collection.compute().items():
        assert value.device == device and value.dtype == torch.float64
        wanted = probseg.metrics.create(name)(evaluation).mean()
        torch.testing.assert_close(value.cpu(), wanted, rtol=0, atol=1e-9)


class Copies(TorchFunctionMode):
    """Notes the bytes of every tensor that is read from a device."""

    reading = (
        *(Tensor.cpu, Tensor.tolist, Tensor.item, Tensor.numpy),
        *(Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__),
    )

    def __init__(self) -> None:
        super().__init__()
        self.bytes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        moving = func is Tensor.to and found.device.type == "cpu"
        if (moving or func in self.reading) and args[0].device.type != "cpu":
            self.bytes.append(args[0].nbytes)
        return found


def copies(evaluation: Evaluation, names: list[str]) -> list[int]:
    with Copies() as noted:
        compute_metrics(evaluation, names)
    return noted.bytes


def test_little_is_copied_and_no_more_often_for_more_images(device):
    many = moved(example(images=6, samples=20, side=64, dtype=torch.float32), device)
    few = moved(example(images=2, samples=20, side=64, dtype=torch.float32), device)
    names = [name for name in NAMES if not name.startswith("aurc")]  # which waits for each image
    assert sum(copies(many, names)) < many.probabilities.nbytes / 25
    assert 0 < len(copies(many, names)) == len(copies(few, names)) < 40


@pytest.mark.gpu
@only_cuda
def test_a_batch_of_a_hundred_samples_is_computed_a_part_at_a_time():
    logits = torch.randn(32, 100, 1, 16, 16, device="cuda").repeat_interleave(8, 3)
    foreground = logits.repeat_interleave(8, 4).sub_(2).sigmoid_()
    annotations = (foreground[:, :4, 0] > 0.5).to(torch.uint8)
    evaluation = Evaluation(torch.cat([1 - foreground, foreground], 2), annotations)
    del logits, foreground
    names = [name for name in NAMES if name not in ("gini", "effective-rank", "latent-kl")]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    values = compute_metrics(evaluation, names)
    assert all(value.is_cuda for value in values.values())
    assert torch.cuda.max_memory_allocated() - before < 512 << 20  # in double precision: 840 MB
