"""One training step, one validation step, and what is logged of them."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Generator, Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from probseg.datasets.annotators import all_annotations, annotation
from probseg.interfaces import Batch
from probseg.metrics.latent import gini, scale_of
from probseg.training.augmentation import Draw, apply, draw, draw_flips, flip
from probseg.training.distributed import Share, average, broadcast_buffers
from probseg.training.execution import Purpose, derive_seed, make_generator
from probseg.training.finite import FiniteWatch
from probseg.training.gradients import GradientAccumulator, Norms, clip
from probseg.training.settings import TrainingSettings
from probseg.training.term_weights import TermWeights
from probseg.utils.tensors import ignoring, soft_label


class TrainingModule(LightningModule):
    """Trains any :class:`probseg.interfaces.Model`, on one annotator per image and step or on all.

    ``micro_batch`` is the largest number of images at a time, where memory ran out before;
    ``ignore_index`` the value of masks' pixels that nobody labelled. Soft masks are floating.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainingSettings,
        *,
        channels_last: bool = False,
        micro_batch: int | None = None,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # gradients of several chunks make a step
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model: Any = model.to(memory_format=self.memory_format)
        self.settings = settings
        self.ignore_index = ignore_index
        self.all_annotators = bool(getattr(model, "all_annotators", False))
        self.gradients = GradientAccumulator(settings.micro_batch, micro_batch)
        self.term_weights = TermWeights.of(settings, model)
        classes = getattr(model, "classes", None)
        self.watch = FiniteWatch(settings.learning_rate, classes=classes)

    def configure_model(self) -> None:
        """Compile the networks if asked to, in the process that trains them."""
        if self.settings.compile:
            for network in self.model.children():
                network.compile()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take a step on a batch, whose randomness follows from the seed and the step.

        Raises:
            NonFiniteError: A term of the loss is not finite, or else a parameter's gradient.
            InputError: The label has a value that is no class.
        """
        step = self.global_step
        generator = make_generator(self.settings.seed, Purpose.STEP, step)
        # Random numbers are drawn for the batch as a whole, whichever process takes which part.
        masks = self._drawn(batch, generator)
        mine = self.share.of_batch(len(masks))
        image, masks = batch.image[mine], masks[mine]
        if self.settings.augment == "flips":
            image, masks = flip(image, masks, draw_flips(len(batch.image), generator)[mine])
        elif self.settings.augment:
            drawn = draw(len(batch.image), generator)
            drawn = Draw(*(values[mine] for values in drawn))
            image, masks = apply(image, masks, drawn, outside=self._outside)
        label = self._label(masks, None if batch.present is None else batch.present[mine])
        terms, norms = self.optimize(image, label, first=mine.start, batch_size=len(batch.image))
        norm = {"gradient_norm": norms.total}
        self._log("train", terms | norm, len(batch.image))
        with_gradient = (n for n, p in self.model.named_parameters() if p.grad is not None)
        gradients = {
            f"the gradient of {name}": value
            for name, value in zip(with_gradient, norms.each.unbind(), strict=True)
        }
        self.watch.note(step, terms | gradients | norm, label=self._classes(label))

    def optimize(
        self, image: Tensor, label: Tensor, *, first: int = 0, batch_size: int | None = None
    ) -> tuple[dict[str, Tensor], Norms]:
        """Move the weights by one step, and return its values and the norms of its gradients.

        The values are the terms as the model gives them, ``"loss"``, the sum of the terms times
        their weights, which is minimised, and what those weights are chosen from. All are those of
        the whole batch. ``first`` is the index of the first image in a batch of which other
        processes have a share too.
        """
        step = self.global_step
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        # processes are averaged
        weight = self.share.world_size * len(image) / (batch_size or len(image))

        def begin(start: int) -> None:
            torch.manual_seed(derive_seed(self.settings.seed, Purpose.MODEL, step, first + start))

        def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            terms = self.terms(images, labels)
            factors = self.term_weights.weights(step, terms)
            return {name: weight * factors.get(name, 1.0) * term for name, term in terms.items()}

        batch = self.gradients.accumulate(
            *(loss, image, label), model=self.model, backward=self.manual_backward, begin=begin
        )
        factors = self.term_weights.weights(step, batch.terms)
        terms = batch.terms | {name: batch.terms[name] / one for name, one in factors.items()}
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        labelled = weight * self._labelled(label)
        average([*gradients, *terms.values(), batch.loss, labelled], self.share)
        norms = clip(optimizer.optimizer, self.settings.clip)
        optimizer.step()
        schedule: Any = self.lr_schedulers()
        if schedule is not None:
            schedule.step()
        size = (image.shape[-2], image.shape[-1])
        chosen = self.term_weights.update(step, terms, size, labelled)
        return {**terms, "loss": batch.loss, **chosen}, norms

    @property
    def share(self) -> Share:
        """Which part of a batch this process takes."""
        return Share.of(self.trainer)

    def on_validation_start(self) -> None:
        """Let all processes validate the model that is kept."""
        broadcast_buffers(self.model, self.share)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss of a batch; annotators and latent samples never change.

        Raises:
            NonFiniteError: A term of the loss, of this batch or of a step before, is not finite.
            InputError: A label has a value that is no class.
        """
        trainer: Any = self.trainer
        seed, number = self.settings.seed, trainer.datamodule.validation_batches[batch_idx]
        generator = make_generator(seed, Purpose.VALIDATION, number)
        torch.manual_seed(derive_seed(seed, Purpose.VALIDATION_MODEL, number))
        label = self._label(self._drawn(batch, generator), batch.present)
        terms = self.terms(batch.image, label)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        self._log("validation", {"loss": loss} | terms, len(batch.image))
        self.watch.note(self.global_step, terms, label=self._classes(label))
        self._log_gini(batch.image, label)

    def on_train_epoch_end(self) -> None:
        """Check the values that were not yet checked, before they are kept."""
        self.watch.check()

    def _log_gini(self, image: Tensor, label: Tensor) -> None:
        """Log how unequal the prior's scales are, of each scale where there are several."""
        priors = {}
        if hasattr(self.model, "latents"):
            given, options = self._given(label)
            pairs = self.model.latents(self._laid_out(image), given, **options)
            priors = {f"scale_{i}/gini": prior for i, (_, prior) in enumerate(pairs)}
        elif hasattr(self.model, "prior"):
            priors = {"gini": self.model.prior(self._laid_out(image))}
        scales = {name: scale_of(prior) for name, prior in priors.items()}
        measured = {n: gini(one.float()).mean() for n, one in scales.items() if one is not None}
        self._log("prior", measured, len(image))

    def terms(self, image: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the model's loss terms for images (B, C, H, W) and labels (B, H, W).

        Of a model that learns from all annotators at once, labels are (B, A, H, W).
        """
        given, options = self._given(label)
        terms: dict[str, Tensor] = self.model.loss(self._laid_out(image), given, **options)
        return terms

    def _given(self, label: Tensor) -> tuple[Tensor, dict[str, int]]:
        """Return a label as models take it, and the option that says what to ignore."""
        soft = label.is_floating_point()
        label = soft_label(label, self.ignore_index) if soft else label.long()
        return label, ignoring(self.ignore_index)

    def _drawn(self, batch: Batch, generator: Generator) -> Tensor:
        """Return the masks to learn from, (B, 1, H, W) of one annotator or (B, A, H, W) of all."""
        if self.all_annotators:
            return batch.masks
        return annotation(batch, generator=generator)[:, None]

    def _label(self, masks: Tensor, present: Tensor | None) -> Tensor:
        """Return what the model's loss takes."""
        if not self.all_annotators:
            return masks[:, 0]
        assert self.ignore_index is not None  # which fit gives to such a model
        return all_annotations(masks, present, self.ignore_index)

    def _labelled(self, label: Tensor) -> Tensor:
        """Return the mean share of pixels that are labelled, by the annotators who are present."""
        if self.ignore_index is None:
            return torch.ones((), device=label.device)
        share = (label != self.ignore_index).flatten(-2).float().mean(-1)  # (B,) or (B, A)
        if share.ndim == 2:
            share = share.sum(1) / (share > 0).sum(1).clamp_min(1)
        return share.mean().clamp_min(1e-6)

    @property
    def _outside(self) -> int:
        """What masks are outside of an image."""
        return (self.ignore_index or 0) if self.settings.augment == "ignore-outside" else 0

    def _classes(self, label: Tensor) -> Tensor | None:
        """Return the classes of a label without those to ignore; None if it is soft."""
        if label.is_floating_point():
            return None
        ignored = self.ignore_index
        return label if ignored is None else label.masked_fill(label == ignored, 0)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with its L2 penalty, all parameters updated by one kernel."""
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
        """Average over steps and processes, weighted by the number of images."""
        named = {f"{stage}/{name}": value.detach() for name, value in values.items()}
        processes = self.share.world_size
        # Lightning truncates the mean of the processes' counts to an integer.
        images, several = batch_size * processes, processes > 1
        self.log_dict(named, on_step=False, on_epoch=True, sync_dist=several, batch_size=images)
