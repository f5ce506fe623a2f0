"""A training step: forward, loss, backward, clipping, optimizer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import probseg
from benchmarks.speed.contest import Agree, Contest, Disagreement, Entry, Floor, hold
from benchmarks.speed.machine import wait
from benchmarks.speed.options import Options
from benchmarks.speed.textbook import TextbookPUNet, copy_weights
from probseg.training.execution import Execution, choose_execution, kept_memory
from probseg.training.gradients import accumulate, clip, images_at_once
from probseg.training.module import TrainingModule
from probseg.training.settings import Precision, TrainingSettings

# glibc's settings under which freed memory stays in the process; the library does this by itself.
KEEPS_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
COMPARED = 4  # images on which losses and gradients are compared
SAME = {"rtol": 1e-4, "why": "same weights, noise and images"}
ROUNDED = {"rtol": 0.05, "why": "bf16 against fp32"}


def contests(options: Options) -> list[Contest]:
    """Return the tables of this topic."""
    batches = [options.size(32, 2)] + ([256] if options.device == "cuda" else [])
    size = options.size(128, 16)
    found = [_against_peers(options, batches[0], size)]
    return found + [_three_models(options, batch, size) for batch in batches]


def _against_peers(options: Options, batch: int, size: int) -> Contest:
    known = {"batch": batch, "size": size, "device": options.device}
    execution = choose_execution(TrainingSettings(device=options.device))
    entries = [
        Entry(name="probseg", make=Ours, options=known),
        Entry(
            name="probseg, fp32, NCHW, whole batch",
            make=Ours,
            options=known | {"plain": True},
            agree=_agree(ROUNDED if execution.bf16 else SAME),
        ),
        Entry(
            name="probseg, compiled",
            make=Ours,
            options=known | {"compiled": True},
            agree=_agree(SAME),
        ),
        Entry(name="textbook", make=Textbook, options=known, agree=_agree(_bound(execution))),
        Entry(name="lightning-uq-box", make=UqBox, options=known, agree=_same_prior),
    ]
    if options.device == "cpu":
        entries += [
            Entry(name=f"{name}, memory kept", make=make, options=known, environment=KEEPS_MEMORY)
            for name, make in (("textbook", Textbook), ("lightning-uq-box", UqBox))
        ]
    return hold(
        f"Training step of the PU-Net, {batch} images of {size} × {size}",
        entries,
        rounds=options.rounds,
        floor=_floor(options, execution, batch, size),
        notes=[
            f"probseg computes in {'bf16' if execution.bf16 else 'fp32'} here. “Memory kept”: "
            "environment variables tell glibc to keep freed memory; probseg tells it by itself."
        ],
        watch=options.watch,
    )


def _three_models(options: Options, batch: int, size: int) -> Contest:
    known = {"batch": batch, "size": size, "device": options.device}
    entries = [
        Entry(name=name, make=Ours, options=known | {"model": name})
        for name in ("punet", "2p-planar", "csae")
    ]
    entries.append(Entry(name="textbook PU-Net", make=Textbook, options=known))
    return hold(
        f"Training step of the three models, {batch} images of {size} × {size}",
        entries,
        rounds=options.rounds,
        watch=options.watch,
    )


def _floor(options: Options, execution: Execution, batch: int, size: int) -> Floor:
    """Return the time that the step's convolutions take at the speed of matrix products."""
    with FlopCounterMode(display=False) as counter:
        sum(build("punet").loss(*images(1, size)).values()).backward()  # type: ignore[union-attr]
    flops = batch * counter.get_total_flops()
    precision = "bf16" if execution.bf16 else "fp32"
    rate = options.machine.best(precision)
    return Floor(
        seconds=flops / rate,
        why=f"{flops / 1e9:,.0f} GFLOP at the measured {rate / 1e9:,.0f} GFLOP/s in {precision}",
    )


def build(model: str, **options: Any) -> nn.Module:
    """Return a model with seeded weights whose log σ is as good as unbounded, as the peers' are."""
    torch.manual_seed(0)
    encoder = {"name": "axis-aligned", "log_scale_bound": 1e4}
    return probseg.build(model, encoder=encoder, **options)


def images(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Return seeded images (B, 1, H, W) and labels (B, H, W)."""
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 1, size, size, generator=generator)
    return image, (torch.rand(batch, size, size, generator=generator) > 0.9).long()


class Ours:
    """A step as ``probseg.training.fit`` takes it.

    Args:
        batch: B.
        size: H and W.
        device: "cpu" or "cuda".
        model: A recipe's name.
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
        self.image, self.label = (tensor.to(device) for tensor in images(batch, size))
        self._open = ExitStack()
        if not plain:
            self._open.enter_context(kept_memory())

    def run(self) -> None:
        """Take a step and wait until it is done."""
        self.step()
        wait(self.execution.device.type)

    def step(self) -> None:
        """Take a step, which on a GPU goes on after this returns."""
        self._gradients(self.image, self.label)
        clip(self.optimizer, self.settings.clip)
        self.optimizer.step()

    def answer(self) -> dict[str, Any]:
        """Return the loss and its gradient on a few images, with seeded noise."""
        torch.manual_seed(2)
        loss = self._gradients(self.image[:COMPARED], self.label[:COMPARED])
        model = self.module.model
        return _answer(loss, model, model.backbone.down[0][0], model.decoder.logits) | {
            "prior": _array(model.prior(self.image[:COMPARED]).mean)
        }

    def _gradients(self, image: Tensor, label: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        chunk = images_at_once(self.settings.micro_batch, self.module, image)
        kind = self.execution.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.execution.bf16):
            terms = self.module.terms
            return accumulate(terms, image, label, chunk=chunk, backward=Tensor.backward).loss


class Textbook:
    """A step of the textbook's network, with Adam as torch gives it.

    Args:
        batch: B.
        size: H and W.
        device: "cpu" or "cuda".
        latent_dim: L.
        bf16: Under autocast, in channels last: the textbook's network at its best.
    """

    def __init__(
        self, *, batch: int, size: int, device: str, latent_dim: int = 6, bf16: bool = False
    ) -> None:
        self.model = TextbookPUNet(latent_dim=latent_dim).to(device)
        copy_weights(build("punet", latent_dim=latent_dim), self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=5e-5)
        self.image, self.label = (tensor.to(device) for tensor in images(batch, size))
        self.device, self.bf16 = device, bf16
        if bf16:
            self.model.to(memory_format=torch.channels_last)

    def run(self) -> None:
        """Take a step and wait until it is done."""
        self.step()
        wait(self.device)

    def step(self) -> None:
        """Take a step, which on a GPU goes on after this returns."""
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
        return _answer(loss, self.model, self.model.down[0][0], self.model.last)


class UqBox:
    """A step of lightning-uq-box's ProbUNet around the same U-Net, without its metrics and logs.

    Args:
        batch: B.
        size: H and W.
        device: "cpu" or "cuda".
    """

    def __init__(self, *, batch: int, size: int, device: str) -> None:
        from lightning_uq_box.uq_methods import ProbUNet

        ours: Any = build("punet")
        unet = nn.Sequential(ours.backbone, nn.Conv2d(ours.backbone.out_channels, 2, 1))
        self.model = ProbUNet(model=unet, latent_dim=6).to(device)
        _copy_encoder(ours.prior_encoder, self.model.prior)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=5e-5)
        image, label = (tensor.to(device) for tensor in images(batch, size))
        self.batch = {self.model.input_key: image, self.model.target_key: label}
        self.image, self.device = image, device

    def run(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad()
        self.model.compute_loss(self.batch)["loss"].backward()
        self.optimizer.step()
        wait(self.device)

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
    with torch.no_grad():
        for source, copy in zip(convolutions, copies, strict=True):
            copy.weight.copy_(source.weight)
            copy.bias.copy_(source.bias)
        theirs.conv_layer.weight.copy_(ours.head.weight[:, :, None, None])
        theirs.conv_layer.bias.copy_(ours.head.bias)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return tensor.detach().float().cpu().numpy()


def _bound(execution: Execution) -> dict[str, Any]:
    return ROUNDED if execution.bf16 else SAME


def _agree(bound: dict[str, Any]) -> Agree:
    def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
        worst = max(_difference(ours[name], theirs[name]) for name in theirs if name != "prior")
        if worst > bound["rtol"]:
            raise Disagreement(f"loss or gradient differ by {worst:.1e} ({bound['why']})")
        return f"loss and gradient to {worst:.0e} ({bound['why']})"

    return agree


def _same_prior(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    worst = _difference(ours["prior"], theirs["prior"])
    if worst > 1e-3:
        raise Disagreement(f"the priors' means differ by {worst:.1e} with the same weights")
    return f"its prior to {worst:.0e}; its U-Net ends in K channels"


def _difference(left: Any, right: Any) -> float:
    """Return the norm of the difference in terms of the right one's norm."""
    return float(np.linalg.norm(np.asarray(left) - right) / np.linalg.norm(right))
