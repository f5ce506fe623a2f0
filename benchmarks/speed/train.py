"""A training step: forward, loss, backward, clipping, optimizer."""

from __future__ import annotations

from contextlib import ExitStack
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
COMPARED = 4  # images on which losses and gradients are compared
TOLERANCES = {"fp32": 1e-4, "bf16": 0.05}  # relative
REASONS = {"fp32": "same weights, noise and images", "bf16": "bf16 against fp32"}
PRIOR_TOLERANCE = 1e-3


def comparisons(settings: Settings) -> list[Comparison]:
    """Return the tables of this topic."""
    batches = [settings.size(32, 2)] + ([256] if settings.device == "cuda" else [])
    size = settings.size(128, 16)
    first = _with_peers(settings, batches[0], size)
    return [first, *(_three_models(settings, batch, size) for batch in batches)]


def _with_peers(settings: Settings, batch: int, size: int) -> Comparison:
    options = {"batch": batch, "size": size, "device": settings.device}
    execution = choose_execution(TrainingSettings(device=settings.device))
    precision: Literal["fp32", "bf16"] = "bf16" if execution.bf16 else "fp32"
    same, close = partial(agree, precision="fp32"), partial(agree, precision=precision)
    plain = "probseg, fp32, NCHW, whole batch"
    candidates = [
        Candidate(name=OURS, make=Step, options=options),
        Candidate(name=plain, make=Step, options=options | {"plain": True}, agree=close),
        Candidate(
            name="probseg, compiled", make=Step, options=options | {"compiled": True}, agree=same
        ),
        Candidate(name="textbook", make=TextbookStep, options=options, agree=close),
        Candidate(name="lightning-uq-box", make=UqBoxStep, options=options, agree=same_prior),
    ]
    if settings.device == "cpu":
        candidates += [
            Candidate(
                name=f"{peer.name}, memory kept",
                make=peer.make,
                options=options,
                environment=KEEPS_MEMORY,
            )
            for peer in candidates[-2:]
        ]
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


def _floor(settings: Settings, execution: Execution, batch: int, size: int) -> Floor:
    """Return the time that the step's convolutions take at the speed of matrix products."""
    with FlopCounterMode(display=False) as counter:
        sum(build("punet").loss(*images(1, size)).values()).backward()
    flops = batch * counter.get_total_flops()
    return settings.floor(flops, "bf16" if execution.bf16 else "fp32")


def build(model: str, **options: Any) -> Any:
    """Return a seeded model whose log σ is practically unbounded, like that of the peers."""
    torch.manual_seed(0)
    encoder = {"name": "axis-aligned", "log_scale_bound": 1e4}
    return probseg.build(model, encoder=encoder, **options)


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
        model: Name of a registered model.
        plain: In fp32 and NCHW, the batch as a whole, without kept memory.
        precision: Where it is not plain; the settings' own choice by default.
        compiled: With torch.compile.
        capturable: With an optimizer whose step a CUDA graph can hold.
        **options: Of the model.
    """

    def __init__(
        self,
        *,
        batch: int,
        size: int,
        device: str,
        model: str = "punet",
        plain: bool = False,
        precision: Precision = "auto",
        compiled: bool = False,
        capturable: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(batch=batch, size=size, device=device)
        off: dict[str, Any] = {"precision": "fp32", "channels_last": False, "micro_batch": batch}
        chosen = off if plain else {"precision": precision}
        self.settings = TrainingSettings(device=device, compile=compiled, **chosen)
        self.execution = choose_execution(self.settings)
        self.module = TrainingModule(
            build(model, **options).to(device),
            self.settings,
            channels_last=self.execution.channels_last,
        )
        self.module.configure_model()
        configured: Any = self.module.configure_optimizers()
        self.optimizer = configured["optimizer"]
        self.optimizer.param_groups[0]["capturable"] = capturable
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
        return _answer(loss, model, model.backbone.down[0][0], model.decoder.logits) | {
            "prior": _array(model.prior(self.image[:COMPARED]).mean)
        }

    def _backward(self, image: Tensor, label: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        chunk = images_at_once(self.settings.micro_batch, self.module, image)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.execution.bf16):
            terms = self.module.terms
            return accumulate(terms, image, label, chunk=chunk, backward=Tensor.backward).loss


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


class UqBoxStep(_Step):
    """A step of lightning-uq-box's ProbUNet around the same U-Net, without its metrics and logs."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        from lightning_uq_box.uq_methods import ProbUNet

        ours = build("punet")
        unet = nn.Sequential(ours.backbone, nn.Conv2d(ours.backbone.out_channels, 2, 1))
        self.model = ProbUNet(model=unet, latent_dim=6).to(self.device)
        _copy_encoder(ours.prior_encoder, self.model.prior)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=5e-5)
        self.batch = {self.model.input_key: self.image, self.model.target_key: self.label}

    def run(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad()
        self.model.compute_loss(self.batch)["loss"].backward()
        self.optimizer.step()

    def answer(self) -> dict[str, Any]:
        """Return the prior's means on a few images."""
        return {"prior": _array(self.model.prior(self.image[:COMPARED]).mean)}


def _answer(loss: Tensor, model: nn.Module, first: Any, last: Any) -> dict[str, Any]:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    return {
        "loss": loss.item(),
        "norm of the gradient": norm.item(),
        "gradient of the first layer": _array(first.weight.grad / norm),
        "gradient of the last layer": _array(last.weight.grad / norm),
    }


def _copy_encoder(ours: Any, theirs: Any) -> None:
    convolutions = [m for m in ours.modules() if isinstance(m, nn.Conv2d)]
    copies = [m for m in theirs.encoder.modules() if isinstance(m, nn.Conv2d)]
    for source, copy in zip(convolutions, copies, strict=True):
        copy.load_state_dict(source.state_dict())
    with torch.no_grad():
        theirs.conv_layer.weight.copy_(ours.head.weight[:, :, None, None])
        theirs.conv_layer.bias.copy_(ours.head.bias)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().float().cpu().numpy()


def agree(
    ours: dict[str, Any], theirs: dict[str, Any], *, precision: Literal["fp32", "bf16"]
) -> str:
    """Say how well losses and gradients agree, where one of them may be of bf16.

    Raises:
        Disagreement: They differ by more than the precision explains.
    """
    differences = (relative_difference(ours[n], theirs[n]) for n in theirs if n != "prior")
    worst, why = max(differences), REASONS[precision]
    if worst > TOLERANCES[precision]:
        raise Disagreement(f"loss or gradient differ by {worst:.1e} ({why})")
    return f"loss and gradient to {worst:.0e} ({why})"


def same_prior(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Say how well the priors agree of networks that have nothing else in common.

    Raises:
        Disagreement: Their means differ.
    """
    worst = relative_difference(ours["prior"], theirs["prior"])
    if worst > PRIOR_TOLERANCE:
        raise Disagreement(f"the priors' means differ by {worst:.1e} with the same weights")
    return f"its prior to {worst:.0e}; its U-Net ends in K channels"


def relative_difference(left: Any, right: Any) -> float:
    """Return the norm of the difference, relative to the norm of the right one."""
    return float(np.linalg.norm(np.asarray(left) - right) / np.linalg.norm(right))
