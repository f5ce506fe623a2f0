"""How to train: one record of plain numbers, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from probseg.datasets.annotators import Annotator, check_annotator
from probseg.errors import OptionError
from probseg.options import check_choice, check_integer, check_number
from probseg.utils.devices import check_device_name

Schedule = Literal["constant", "cosine"]
Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of one training run; most are those of docs/reproduce.md for LIDC-IDRI.

    Args:
        learning_rate: Step size of Adam.
        schedule: "constant" (the cSAE paper), or "cosine": the step size falls to zero at max_steps
            along half a period of a cosine, which a short run needs to settle.
        weight_decay: Coefficient of the L2 penalty that Adam adds to the gradient.
        batch_size: Images a step.
        micro_batch: Images at a time, whose gradients add up to the step's; "auto" bounds the
            memory on a CPU. Batch normalisation takes its statistics from these images, so "auto"
            does not cut the batch where there is any.
        max_steps: Optimizer steps after which training ends at the latest. The cSAE
            paper names no limit and stops early; the benchmark's profile "paper" sets 200,000.
        patience: Validation rounds without a lower validation loss before training stops.
        validate_every: Steps between two validation rounds; None is once per pass over the data.
        clip: Largest norm of the gradient of all parameters together.
        annotator: Whose annotation to learn from: one drawn anew for each image and step
            ("random"), the "majority" of each pixel, the consensus of "staple", or an
            annotator's number; see :func:`probseg.datasets.annotators.annotation`.
        augment: Whether to apply the random transformations listed in docs/reproduce.md. What they
            bring in from outside an image is background, as in the paper, or, with
            "ignore-outside", counts for nothing, like pixels that nobody labelled.
        precision: "bf16" computes under autocast; "auto" does where the machine has fast bf16.
        channels_last: Whether images and weights lie channels last in memory; "auto" on CPUs and
            where the machine has fast bf16.
        compile: Whether to compile the model's networks with ``torch.compile``. It takes a minute
            and gains nothing on a CPU.
        seed: Of everything random in training; the same seed gives the same run on a CPU.
        device: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        devices: How many of them train together, each a share of every batch in a process of its
            own. A step is that of one device up to rounding, if that one takes as many images at a
            time (``micro_batch``); otherwise its latent noise is another. Batch normalisation
            takes the whole batch's statistics on GPUs, and each process's own on a CPU.

    Raises:
        OptionError: A value is out of range or of the wrong type.

    >>> TrainingSettings(batch_size=8).learning_rate
    0.0001
    """

    learning_rate: float = 1e-4
    schedule: Schedule = "constant"
    weight_decay: float = 5e-5
    batch_size: int = 32
    micro_batch: int | Literal["auto"] = "auto"
    max_steps: int = 100_000
    patience: int = 40
    validate_every: int | None = None
    clip: float = 1.0
    annotator: Annotator = "random"
    augment: bool | Literal["ignore-outside"] = True
    precision: Precision = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    seed: int = 0
    device: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        """Refuse values that could not train."""
        for name in ("batch_size", "max_steps", "patience", "devices"):
            check_integer(name, getattr(self, name))
        if self.validate_every is not None:
            check_integer("validate_every", self.validate_every)
        if self.micro_batch != "auto":
            check_integer("micro_batch", self.micro_batch)
        check_integer("seed", self.seed, low=0)
        for name in ("learning_rate", "clip"):
            check_number(name, getattr(self, name))
        check_number("weight_decay", self.weight_decay, positive=False)
        check_annotator(self.annotator)
        check_choice("augment", self.augment, (True, False, "ignore-outside"))
        check_choice("compile", self.compile, (True, False))
        check_choice("schedule", self.schedule, ("constant", "cosine"))
        check_choice("precision", self.precision, ("auto", "bf16", "fp32"))
        check_choice("channels_last", self.channels_last, ("auto", True, False))
        _check_devices(self.device, self.devices, self.batch_size)


def _check_devices(device: str, count: int, batch_size: int) -> None:
    check_device_name(device)
    if count > batch_size:
        raise OptionError(
            f"devices={count} needs a batch of at least {count} images, but batch_size is "
            f"{batch_size}; raise batch_size or lower devices"
        )
    if count > 1 and (device == "mps" or ":" in device):
        raise OptionError(
            f"device {device!r} names one device, but devices={count}; choose device='auto', "
            "'cpu' or 'cuda'"
        )
