"""Nobody reads what has not arrived: only a way to a CUDA device is not waited for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from no_float64 import MPS, Without64
from small_models import generator
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from training_toys import Discs, quick

from probseg.datasets.annotators import annotation, choose_annotator, complete
from probseg.interfaces import Batch
from probseg.training.augmentation import Draw, apply, draw
from probseg.training.data import TrainingData
from probseg.utils.devices import to_device


class Unwaited(TorchFunctionMode):
    """Writes down where copies that nobody waits for go."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("non_blocking"):
            target = args[0] if func is Tensor.copy_ else args[1]
            self.kinds.append(getattr(target, "device", target).type)
        return func(*args, **kwargs)


def batch() -> Batch:
    return Batch(torch.rand(3, 1, 8, 8), torch.ones(3, 4, 8, 8, dtype=torch.uint8))


def test_a_training_batch_on_its_way_to_mps_is_waited_for() -> None:
    training = TrainingData(Discs(4), Discs(2), quick())
    with Without64(), Unwaited() as seen:
        there = training.transfer_batch_to_device(batch(), MPS, 0)
        image, _ = apply(there.image, there.masks, draw(3, generator()))
        chosen = choose_annotator(there.masks, generator())
    assert {image.device, chosen.device} == {MPS}
    assert seen.kinds == []


@pytest.mark.parametrize("annotator", ["majority", 1])
def test_who_annotated_is_found_where_the_masks_are(annotator: str | int) -> None:
    here = batch()._replace(present=torch.tensor([[True, True, False, True]] * 3))
    training = TrainingData(Discs(4), Discs(2), quick())
    with Without64():
        there = training.transfer_batch_to_device(here, MPS, 0)
        (cut,) = complete(there)
        found = annotation(there, annotator)
    assert cut.masks.device == found.device == MPS
    assert torch.equal(found.held, annotation(here, annotator))


def test_what_comes_back_to_the_cpu_is_waited_for() -> None:
    with FakeTensorMode(), Unwaited() as seen:
        drawn = Draw(*(torch.zeros(value.shape, device="cuda") for value in draw(3, generator())))
        to_device(drawn.gamma, torch.device("cpu"))
        assert seen.kinds == []
        to_device(drawn.gamma.cpu(), torch.device("cuda"))
        assert seen.kinds == ["cuda"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs two kinds of device")
def test_an_annotator_drawn_on_a_gpu_has_arrived_when_it_is_read() -> None:
    masks = torch.arange(4, dtype=torch.uint8).view(1, 4, 1, 1).expand(4096, -1, 1, 1)
    for seed in range(50):
        torch.cuda._sleep(10_000_000)
        made = torch.Generator("cuda").manual_seed(seed)
        chosen = choose_annotator(masks, made)
        again = torch.randint(4, (4096,), generator=made.manual_seed(seed), device="cuda")
        assert torch.equal(chosen.flatten().long(), again.cpu())
