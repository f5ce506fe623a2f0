"""A training step: forward, loss, backward, clipping, optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import probseg
from benchmarks.speed.comparison import (
    OURS,
    Candidate,
    Comparison,
    Disagreement,
    Floor,
    Settings,
    compare,
)
from benchmarks.speed.textbook import TextbookPUNet, copy_weights
from benchmarks.speed.workers import Workload
from probseg.datasets.views import View
from probseg.interfaces import Batch, Dataset
from probseg.training.execution import Execution, choose_execution, kept_memory
from probseg.training.gradients import accumulate, clip, images_at_once
from probseg.training.module import TrainingModule
from probseg.training.settings import Precision, TrainingSettings

# Settings under which glibc keeps freed memory in the process; the library sets them by itself.
KEEPS_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
ANNOTATORS = 4  # of models that learn from all of them
COMPARED = 4  # images on which losses and gradients are compared
TOLERANCES = {"fp32": 1e-4, "bf16": 0.05}  # relative
REASONS = {"fp32": "same weights, noise and images", "bf16": "bf16 against fp32"}


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the tables of this topic."""
    batches = [settings.size(32, 2)] + ([256] if settings.device == "cuda" else [])
    size = settings.size(128, 16)
    yield _with_peers(settings, batches[0], size)
    for batch in batches:
        yield _three_models(settings, batch, size)
    if settings.device == "cuda" or settings.small:  # on a CPU a step itself takes all of the time
        yield _by_fit(settings, batches[0], size)


def _with_peers(settings: Settings, batch: int, size: int) -> Comparison:
    options = {"batch": batch, "size": size, "device": settings.device}
    execution = choose_execution(TrainingSettings(device=settings.device))
    precision: Literal["fp32", "bf16"] = "bf16" if execution.bf16 else "fp32"
    close = partial(agree, precision=precision)
    # one precision, and on a CPU the same order of sums
    same = partial(agree, precision="fp32") if settings.device == "cpu" else close
    plain = "probseg, fp32, NCHW, whole batch"
    textbook = Candidate(name="textbook", make=TextbookStep, options=options, agree=close)
    fused = options | {"compiled": True}
    candidates = [
        Candidate(name=OURS, make=Step, options=options),
        Candidate(name=plain, make=Step, options=options | {"plain": True}, agree=close),
        Candidate(name="probseg, compiled", make=Step, options=fused, agree=same),
        textbook,
    ]
    if execution.bf16:
        best = options | {"bf16": True}
        candidates.append(replace(textbook, name="textbook, bf16", options=best, agree=None))
    if settings.device == "cpu":
        kept = replace(textbook, name="textbook, memory kept", environment=KEEPS_MEMORY, agree=None)
        candidates.append(kept)
    return compare(
        f"Training step of the PU-Net, {batch} images of {size} × {size}",
        candidates,
        settings,
        floor=_floor(settings, execution, batch, size),
        notes=[
            f"probseg computes in {precision} here. “Memory kept”: environment variables tell "
            "glibc to keep freed memory; probseg tells it by itself."
        ],
    )


def _three_models(settings: Settings, batch: int, size: int) -> Comparison:
    options = {"batch": batch, "size": size, "device": settings.device}
    candidates = [
        Candidate(name=name, make=Step, options=options | {"model": name})
        for name in ("punet", "2p-planar", "csae")
    ]
    return compare(
        f"Training step of the three models, {batch} images of {size} × {size}",
        [*candidates, Candidate(name="textbook PU-Net", make=TextbookStep, options=options)],
        settings,
    )


def _by_fit(settings: Settings, batch: int, size: int) -> Comparison:
    """Compare steps in ``fit`` with the same steps alone: what data, augmentation and logs take."""
    options = {"batch": batch, "size": size, "device": settings.device, "model": "csae"}
    steps = settings.size(50, 2)
    return compare(
        f"{steps} training steps of the csae, {batch} images of {size} × {size}",
        [
            Candidate(name="in fit", make=Fit, options=options | {"steps": steps}),
            Candidate(name="steps alone", make=Steps, options=options | {"steps": steps}),
        ],
        settings,
        notes=["fit also validates on two images at the end."],
    )


def _floor(settings: Settings, execution: Execution, batch: int, size: int) -> Floor:
    """Return the time that the step's convolutions take at the speed of matrix products."""
    with FlopCounterMode(display=False) as counter:
        sum(build("punet").loss(*images(1, size)).values()).backward()
    flops = batch * counter.get_total_flops()
    return settings.floor(flops, "bf16" if execution.bf16 else "fp32")


def build(model: str | Mapping[str, Any]) -> Any:
    """Return a seeded model whose log σ is practically unbounded, like that of the peers.

    Of a mapping, which is what ``probseg.build`` takes, the model is as it says.
    """
    torch.manual_seed(0)
    if isinstance(model, Mapping):
        return probseg.build(**model)
    encoder = {"name": "axis-aligned", "log_scale_bound": 1e4}
    return probseg.build(model, encoder=encoder)


def images(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Return seeded images (B, 1, H, W) and labels (B, H, W)."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 1, size, size, generator=generator)
    return image, (torch.rand(batch, size, size, generator=generator) > 0.9).long()


class _Step(Workload):
    """A training step on seeded images (B, 1, H, W), B = batch and H = W = size."""

    def __init__(self, *, batch: int, size: int, device: str) -> None:
        self.image, self.label = (tensor.to(device) for tensor in images(batch, size))
        self.device = device


class Step(_Step):
    """A step as ``probseg.training.fit`` takes it.

    Args:
        model: Name of a registered model, or what ``probseg.build`` takes.
        plain: In fp32 and NCHW, the batch as a whole, without kept memory.
        precision: Where it is not plain; the settings' own choice by default.
        compiled: With torch.compile.
        **sizes: Batch, size and device.
    """

    def __init__(
        self,
        *,
        model: str | Mapping[str, Any] = "punet",
        plain: bool = False,
        precision: Precision = "auto",
        compiled: bool = False,
        **sizes: Any,
    ) -> None:
        super().__init__(**sizes)
        whole = len(self.image)
        off: dict[str, Any] = {"precision": "fp32", "channels_last": False, "micro_batch": whole}
        chosen = off if plain else {"precision": precision}
        self.settings = TrainingSettings(device=self.device, compile=compiled, **chosen)
        self.execution = choose_execution(self.settings)
        self.module = TrainingModule(
            build(model).to(self.device),
            self.settings,
            channels_last=self.execution.channels_last,
        )
        if self.module.all_annotators:
            self.label = torch.stack([self.label.roll(shift, -1) for shift in range(ANNOTATORS)], 1)
        self.module.configure_model()
        configured: Any = self.module.configure_optimizers()
        self.optimizer = configured["optimizer"]
        self._open = ExitStack()
        if not plain:
            self._open.enter_context(kept_memory())

    def run(self) -> None:
        """Take a step."""
        self._backward(self.image, self.label)
        clip(self.optimizer, self.settings.clip)
        self.optimizer.step()

    def answer(self) -> dict[str, Any]:
        """Return the loss and its gradient on a few images, with seeded noise."""
        torch.manual_seed(2)
        loss = self._backward(self.image[:COMPARED], self.label[:COMPARED])
        model: Any = self.module.model
        return _answer(loss, model, model.backbone.down[0][0], model.decoder.logits)

    def _backward(self, image: Tensor, label: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        chunk = images_at_once(self.settings.micro_batch, self.module, image)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.execution.bf16):
            terms = self.module.terms
            return accumulate(terms, image, label, chunk=chunk, backward=Tensor.backward).loss


class Steps(Step):
    """Several of them."""

    def __init__(self, *, steps: int, **options: Any) -> None:
        super().__init__(**options)
        self.steps = steps

    def run(self) -> None:
        """Take the steps."""
        for _ in range(self.steps):
            super().run()


class InMemory(View):
    """A data set that was read, so that what takes time is not to read or to draw it."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset, "in memory")
        self.held = dataset.batch(range(len(dataset)))

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the samples of ``indices``."""
        image, masks, present = self.held
        rows = list(indices)
        return Batch(image[rows], masks[rows], None if present is None else present[rows])


class Fit(Workload):
    """``fit`` for some steps, on images that are in memory."""

    def __init__(self, *, model: str, steps: int, batch: int, size: int, device: str) -> None:
        self.model, self.device = build(model), device
        self.train, self.validation = (
            InMemory(probseg.datasets.create("ambiguous-shapes", samples=samples, size=size))
            for samples in (2 * batch, 2)
        )
        self.settings = TrainingSettings(
            device=device, batch_size=batch, max_steps=steps, validate_every=steps
        )

    def run(self) -> None:
        """Train the model further."""
        probseg.fit(self.model, self.train, self.validation, self.settings, progress=False)


class TextbookStep(_Step):
    """A step of the textbook's network, with torch's Adam as it is.

    Args:
        bf16: Under autocast, in channels last: the textbook's network at its best.
        **sizes: Batch, size and device.
    """

    def __init__(self, *, bf16: bool = False, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.model = TextbookPUNet().to(self.device)
        copy_weights(build("punet"), self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=5e-5)
        self.bf16 = bf16
        if bf16:
            self.model.to(memory_format=torch.channels_last)

    def run(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            loss = self.model.loss(self.image, self.label)
        loss.backward()
        self.optimizer.step()

    def answer(self) -> dict[str, Any]:
        """Return the loss and its gradient on a few images, with seeded noise."""
        torch.manual_seed(2)
        self.optimizer.zero_grad()
        loss = self.model.loss(self.image[:COMPARED], self.label[:COMPARED])
        loss.backward()
        first: Any = self.model.down[0]
        return _answer(loss, self.model, first[0], self.model.last)


def _answer(loss: Tensor, model: nn.Module, first: Any, last: Any) -> dict[str, Any]:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    return {
        "loss": _array(loss),
        "norm of the gradient": _array(norm),
        "gradient of the first layer": _array(first.weight.grad / norm),
        "gradient of the last layer": _array(last.weight.grad / norm),
    }


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().float().cpu().numpy()


def agree(
    ours: dict[str, Any], theirs: dict[str, Any], *, precision: Literal["fp32", "bf16"]
) -> str:
    """Say how well losses and gradients agree, where one of them may be of bf16.

    Raises:
        Disagreement: They differ by more than the precision explains.
    """
    norm = np.linalg.norm
    worst = max(norm(ours[name] - value) / norm(value) for name, value in theirs.items())
    why = REASONS[precision]
    if worst > TOLERANCES[precision]:
        raise Disagreement(f"loss or gradient differ by {worst:.1e} ({why})")
    return f"loss and gradient to {worst:.0e} ({why})"
