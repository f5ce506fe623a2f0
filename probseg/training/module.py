"""One training step, one validation step, and what is logged of them."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from probseg.datasets.annotators import annotation
from probseg.interfaces import Batch
from probseg.metrics.latent import gini
from probseg.training.augmentation import Draw, apply, draw
from probseg.training.chunks import Chunks
from probseg.training.finite import DivergenceWatch, gradient_names
from probseg.training.gradients import Norms, clip
from probseg.training.parallel import Share, agree, alone, average
from probseg.training.seeds import Purpose, make_generator, seed_globally
from probseg.training.settings import TrainingSettings


class TrainingModule(LightningModule):
    """Trains any :class:`probseg.interfaces.Model` on one annotator per image and step.

    Args:
        model: A model that is a ``torch.nn.Module``.
        settings: Step size, clipping, augmentation, seed.
        channels_last: Whether images and weights lie channels last in memory.
        micro_batch: Images at a time at most, where memory ran out before.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainingSettings,
        *,
        channels_last: bool = False,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # gradients of several chunks make a step
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model: Any = model.to(memory_format=self.memory_format)
        self.settings = settings
        self.chunks = Chunks(settings.micro_batch, micro_batch)
        classes = getattr(model, "classes", None)
        self.watch = DivergenceWatch(settings.learning_rate, classes=classes)

    def configure_model(self) -> None:
        """Compile the networks if asked to, in the process that trains them."""
        if self.settings.compile:
            for network in self.model.children():
                network.compile()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take a step on a batch, whose randomness follows from the seed and the step.

        Raises:
            DivergenceError: A term of the loss is not finite, or else a parameter's gradient.
            InputError: The label has a value that is no class.
        """
        step = self.global_step
        generator = make_generator(self.settings.seed, Purpose.STEP, step)
        # What is random is drawn for the whole batch, whoever takes which part of it.
        label = annotation(batch, generator=generator)
        mine = self.share.of_batch(len(label))
        image, label = batch.image[mine], label[mine]
        if self.settings.augment:
            image, label = _augmented(image, label, draw(len(batch.image), generator), mine)
        terms, norms = self.optimize(image, label, place=mine.start, whole=len(batch.image))
        norm = {"gradient_norm": norms.total}
        self._log("train", terms | norm, len(batch.image))
        gradients = zip(gradient_names(self.model), norms.each.unbind(), strict=True)
        self.watch.note(step, terms | dict(gradients) | norm, label=label)

    def optimize(
        self, image: Tensor, label: Tensor, *, place: int = 0, whole: int | None = None
    ) -> tuple[dict[str, Tensor], Norms]:
        """Move the weights by one step, and return the terms, with their sum, and the norms.

        Gradients and norm are those of the whole batch; the processes' terms average to its terms.

        Args:
            image: (B, C, H, W), this process's share of a batch.
            label: (B, H, W) classes.
            place: Of the first image in the batch.
            whole: Images of the batch, if this process has not all of them.
        """
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        weight = self.share.of * len(image) / (whole or len(image))  # processes are averaged

        def begin(first: int) -> None:
            seed_globally(self.settings.seed, Purpose.MODEL, self.global_step, place + first)

        def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {name: weight * term for name, term in self.terms(images, labels).items()}

        known: dict[str, Any] = {
            "model": self.model,
            "backward": self.manual_backward,
            "begin": begin,
        }
        with alone(self.trainer.strategy):
            done = self.chunks.accumulate(loss, image, label, **known)
        average(self.parameters(), self.share)
        norms = clip(optimizer.optimizer, self.settings.clip)
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        if schedule is not None:
            schedule.step()
        return {**done.terms, "loss": done.loss}, norms

    @property
    def share(self) -> Share:
        """Which part of a batch this process takes."""
        return Share(self.trainer.global_rank, self.trainer.world_size)

    @property
    def _validation_turns(self) -> list[int]:
        trainer: Any = self.trainer
        turns: list[int] = trainer.datamodule.validation_turns
        return turns

    def on_validation_start(self) -> None:
        """Let all processes validate the model that is kept."""
        agree(self.model, self.share)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of a batch; annotators and latent samples are the same in each round.

        Raises:
            DivergenceError: A term of the loss, of this batch or of a step before, is not finite.
            InputError: A label has a value that is no class.
        """
        seed, number = self.settings.seed, self._validation_turns[batch_idx]
        generator = make_generator(seed, Purpose.VALIDATION, number)
        seed_globally(seed, Purpose.VALIDATION_MODEL, number)
        label = annotation(batch, generator=generator)
        terms = self.terms(batch.image, label)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        self._log("validation", {"loss": loss} | terms, len(batch.image))
        self.watch.note(self.global_step, terms, label=label)
        if hasattr(self.model, "prior"):
            scale = self.model.prior(self._laid_out(batch.image)).stddev.float()
            self._log("prior", {"gini": gini(scale).mean()}, len(batch.image))

    def on_train_epoch_end(self) -> None:
        """Look at what was not yet looked at, before the round is kept."""
        self.watch.look()

    def terms(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the model's loss terms for images (B, C, H, W) and labels (B, H, W)."""
        terms: dict[str, Tensor] = self.model.loss(self._laid_out(image), label.long())
        return terms

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

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.contiguous(memory_format=self.memory_format)

    def _log(self, stage: str, values: dict[str, Tensor], batch_size: int) -> None:
        """Average over the round and the processes, weighted by the number of images."""
        named = {f"{stage}/{name}": value.detach() for name, value in values.items()}
        several = self.share.of > 1
        # Lightning truncates the mean of the processes' counts to a whole number.
        count = batch_size * self.share.of
        self.log_dict(named, on_step=False, on_epoch=True, sync_dist=several, batch_size=count)


def _augmented(image: Tensor, label: Tensor, drawn: Draw, mine: slice) -> tuple[Tensor, Tensor]:
    image, masks = apply(image, label[:, None], Draw(*(values[mine] for values in drawn)))
    return image, masks[:, 0]
