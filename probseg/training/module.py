"""One training step, one validation step, and what is logged of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Generator, Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from probseg.datasets.annotators import annotation
from probseg.errors import ProbsegError
from probseg.interfaces import Batch
from probseg.metrics.latent import gini
from probseg.training.augmentation import augment
from probseg.training.seeds import Purpose, make_generator, seed_globally
from probseg.training.settings import TrainingSettings


class DivergenceError(ProbsegError, ArithmeticError):
    """Training produced NaN or infinity."""


class TrainingModule(LightningModule):
    """Trains any :class:`probseg.interfaces.Model` on one annotator per image and step.

    Args:
        model: A model that is a ``torch.nn.Module``.
        settings: Step size, clipping, augmentation, seed.
        channels_last: Whether images and weights lie channels last in memory.
    """

    def __init__(
        self, model: nn.Module, settings: TrainingSettings, *, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model: Any = model.to(memory_format=self.memory_format)
        self.settings = settings

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, whose randomness follows from the seed and the step."""
        step, seed = self.global_step, self.settings.seed
        generator = make_generator(seed, Purpose.STEP, step)
        seed_globally(seed, Purpose.MODEL, step)
        image, label = batch.image, annotation(batch, generator=generator)
        if self.settings.augment:
            image, label = _augmented(image, label, generator)
        terms = self.terms(image, label)
        loss = self.total(terms)
        self._log("train", {"loss": loss} | terms, len(image))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of a batch; annotators and latent samples are the same in each round."""
        seed = self.settings.seed
        generator = make_generator(seed, Purpose.VALIDATION, batch_idx)
        seed_globally(seed, Purpose.VALIDATION_MODEL, batch_idx)
        terms = self.terms(batch.image, annotation(batch, generator=generator))
        self._log("validation", {"loss": self.total(terms)} | terms, len(batch.image))
        if hasattr(self.model, "prior"):
            scale = self.model.prior(self._laid_out(batch.image)).stddev.float()
            self._log("prior", {"gini": gini(scale).mean()}, len(batch.image))

    def terms(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the model's loss terms for images (B, C, H, W) and labels (B, H, W)."""
        terms: dict[str, Tensor] = self.model.loss(self._laid_out(image), label.long())
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the sum of the terms.

        Raises:
            DivergenceError: A term is not finite; the first one is named.
        """
        total = torch.stack([term.float() for term in terms.values()]).sum()
        if not math.isfinite(total.item()):
            raise self._divergence(terms)
        return total

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with the L2 penalty of the paper, all parameters updated by one kernel."""
        settings = self.settings
        optimizer = Adam(
            self.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )
        if settings.schedule == "constant":
            return {"optimizer": optimizer}
        schedule = CosineAnnealingLR(optimizer, T_max=settings.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of all gradients together, and look whether it is finite.

        Lightning's own clipping refuses a fused optimizer under bf16 autocast, where nothing has
        to be unscaled.

        Raises:
            DivergenceError: The norm is not finite.
        """
        norm = nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val or math.inf)
        if not math.isfinite(norm.item()):
            raise self._divergence({"norm of the gradient": norm})
        self._log("train", {"gradient_norm": norm}, self.settings.batch_size)

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.contiguous(memory_format=self.memory_format)

    def _log(self, stage: str, values: dict[str, Tensor], batch_size: int) -> None:
        """Average over the round, weighted by the number of images."""
        named = {f"{stage}/{name}": value.detach() for name, value in values.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=batch_size)

    def _divergence(self, terms: dict[str, Tensor]) -> DivergenceError:
        shown = {name: value.item() for name, value in terms.items()}
        culprit = next((name for name in shown if not math.isfinite(shown[name])), "sum")
        value = shown.get(culprit, math.inf)
        return DivergenceError(
            f"training diverged at step {self.global_step}: {culprit} is {value}; lower the "
            f"learning_rate ({self.settings.learning_rate}), or check the scale of the images"
        )


def _augmented(image: Tensor, label: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    image, masks = augment(image, label[:, None], generator=generator)
    return image, masks[:, 0]
