"""Training where memory runs out: smaller chunks, the same gradients, and a record of it."""

from __future__ import annotations

import resource
import subprocess
import sys
import weakref

import pytest
import torch
from torch import Tensor
from training_toys import ToyModel, make_model, quick

from probseg.training import fit
from probseg.training.gradients import GradientAccumulator, MemoryLimitError, is_out_of_memory


class Hungry(ToyModel):
    """Runs out of memory beyond ``fits`` images, once it drew noise and took statistics."""

    fits = 2
    error: Exception = torch.OutOfMemoryError("CUDA out of memory")

    def loss(self, image: Tensor, label: Tensor, *, generator: object = None) -> dict[str, Tensor]:
        terms = super().loss(image, label)
        if self.training and len(image) > self.fits:
            raise self.error
        return terms


def hungry(**attributes: object) -> Hungry:
    torch.manual_seed(0)
    model = Hungry()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_a_run_that_halves_is_the_run_of_the_smaller_micro_batch(
    error, train, validation, tmp_path, caplog
):
    halved, small = hungry(error=error), make_model()
    result = fit(halved, train, validation, quick(max_steps=6), out=tmp_path)
    expected = fit(small, train, validation, quick(max_steps=6, micro_batch=2))
    assert "out of memory with 4 images at a time: from now on" in caplog.text
    assert "accumulated over 2 at a time" in caplog.text
    assert "batch normalisation" in caplog.text
    assert (result.micro_batch, expected.micro_batch) == (2, None)
    assert [record["micro_batch"] for record in result.history] == [2, 2]
    for name, value in small.state_dict().items():
        assert torch.equal(value, halved.state_dict()[name]), name


def test_a_later_run_begins_with_what_fits(train, validation, tmp_path, caplog):
    fit(hungry(), train, validation, quick(max_steps=3), out=tmp_path)
    caplog.clear()
    result = fit(hungry(), train, validation, quick(max_steps=6), out=tmp_path)
    assert "out of memory" not in caplog.text
    assert result.micro_batch == 2


def test_one_image_that_does_not_fit_is_an_error_with_the_remedy(train, validation):
    with pytest.raises(MemoryLimitError, match=r"one image of 1 × 16 × 16 .* of cpu; take a"):
        fit(hungry(fits=0), train, validation, quick())


def test_other_errors_are_not_taken_for_memory(train, validation):
    wrong = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_out_of_memory(wrong)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        fit(hungry(error=wrong), train, validation, quick())


def test_what_a_failed_try_held_is_free_before_the_next():
    made: list[weakref.ref[Tensor]] = []
    tries: list[int] = []
    model = torch.nn.Linear(1, 1)

    def loss(image, label):
        assert not any(activation() is not None for activation in made)
        activation = torch.zeros(1)
        made.append(weakref.ref(activation))
        tries.append(len(image))
        if len(image) > 1:
            raise MemoryError
        return {"term": activation.sum() * model.weight.sum()}

    chunks, image, label = GradientAccumulator(4), torch.zeros(4, 1, 2, 2), torch.zeros(4, 2, 2)
    chunks.accumulate(loss, image, label, model=model, backward=Tensor.backward)
    assert tries == [4, 2, 1, 1, 1, 1]


LIMITED = """
import resource, sys
import torch
from torch import nn
from probseg.training.gradients import GradientAccumulator

model = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.Softplus(), nn.Conv2d(64, 1, 3, padding=1))
loss = lambda image, label: {"square": model(image).square().mean()}
image, label = torch.rand(32, 1, 128, 128), torch.zeros(32, 128, 128)
take = lambda chunks, n: chunks.accumulate(
    loss, image[:n], label[:n], model=model, backward=torch.Tensor.backward)
take(GradientAccumulator(1), 1)  # what the libraries load and reserve
model.zero_grad()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
chunks = GradientAccumulator(32)  # 32 images take 128 MiB for one activation
take(chunks, 32)
assert chunks.limit in (4, 8, 16), chunks.limit
halved = [p.grad.clone() for p in model.parameters()]
model.zero_grad()
take(GradientAccumulator(1), 32)
for a, b in zip(halved, model.parameters()):
    torch.testing.assert_close(a, b.grad, rtol=1e-4, atol=1e-6)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits address space as Linux does")
def test_memory_that_really_runs_out_on_a_cpu_is_done_with_less():
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "out of memory with 32 images at a time" in done.stderr
