"""How to train: one record of plain numbers, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from probseg.datasets.annotators import Annotator, check_annotator
from probseg.errors import OptionError
from probseg.options import check_choice, check_integer, check_number, to_plain, unknown
from probseg.registry import registry
from probseg.utils.devices import check_device_name

LOSS = "loss"  # of ``monitor``: the validation loss
_GECO_RATE, _GECO_DECAY = 0.01, 0.99  # of Kohl et al., 2019
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
        patience: Validation rounds without a better value of ``monitor`` before training stops.
        monitor: What decides which weights are best: the validation "loss", or a metric, such as
            "ged", of 16 samples of each validation image against all its annotators.
        annealing: Steps over which the weights of the penalties (beta, gamma) rise linearly from
            zero in training; or those of some terms of the loss, ``{"kl": 1000}``. The validation
            loss has the full weights throughout.
        annealing_cycles: How often they rise: each time over the steps of ``annealing``, after
            which they stay as long before they start again; after the last time, for good. ``fit``
            warns where training ends before that.
        geco: What the cross-entropy is to cost, in nats a pixel that counts; Kohl et al. (2019) use
            0.05. The cross-entropy's weight then grows in training while it costs more, and shrinks
            while it costs less, which saves a search for beta; see
            :class:`probseg.training.geco.Geco`. The validation loss stays the plain one, of which
            such a run is no minimum: ``monitor="ged"`` chooses better weights.
        geco_rate: By which share that weight changes in a step at most.
        geco_decay: Of the moving average that it follows; 0 follows each step.
        validate_every: Steps between two validation rounds; None is once per pass over the data.
        clip: Largest norm of the gradient of all parameters together.
        annotator: Whose annotation to learn from: one drawn anew for each image and step
            ("random"), the "majority" of each pixel, the consensus of "staple", or an
            annotator's number; see :func:`probseg.datasets.annotators.annotation`.
        augment: Whether to apply the random transformations listed in docs/reproduce.md. What they
            bring in from outside an image is background, as in the paper, or, with
            "ignore-outside", counts for nothing, like pixels that nobody labelled. "flips" only
            mirrors images and masks and turns them, by quarter turns where they are square.
        precision: "bf16" computes under autocast; "auto" does where the machine has fast bf16.
        channels_last: Whether images and weights lie channels last in memory; "auto" on CPUs and
            where the machine has fast bf16.
        compile: Whether to compile the model's networks with ``torch.compile``; the decoders of
            hierarchical models are left out, since no call is of one as a whole. It takes a minute
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
    monitor: str = LOSS
    annealing: int | Mapping[str, int] = 0
    annealing_cycles: int = 1
    geco: float | None = None
    geco_rate: float = _GECO_RATE
    geco_decay: float = _GECO_DECAY
    validate_every: int | None = None
    clip: float = 1.0
    annotator: Annotator = "random"
    augment: bool | Literal["flips", "ignore-outside"] = True
    precision: Precision = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    seed: int = 0
    device: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        """Refuse values that could not train."""
        for field in fields(self):  # NumPy's numbers as Python's
            object.__setattr__(self, field.name, to_plain(getattr(self, field.name)))
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
        _check_monitor(self.monitor)
        object.__setattr__(self, "annealing", _checked_annealing(self.annealing))
        _check_cycles(self.annealing, self.annealing_cycles)
        _check_geco(self.geco, self.geco_rate, self.geco_decay)
        check_choice("augment", self.augment, (True, False, "flips", "ignore-outside"))
        check_choice("compile", self.compile, (True, False))
        check_choice("schedule", self.schedule, ("constant", "cosine"))
        check_choice("precision", self.precision, ("auto", "bf16", "fp32"))
        check_choice("channels_last", self.channels_last, ("auto", True, False))
        _check_devices(self.device, self.devices, self.batch_size)


def _check_monitor(name: object) -> None:
    if name != LOSS and name not in registry("metrics"):
        raise OptionError(unknown("metric to monitor", name, [LOSS, *registry("metrics")]))


def _checked_annealing(steps: Any) -> int | dict[str, int]:
    if not isinstance(steps, Mapping):
        return check_integer("annealing", steps, low=0)
    return {
        name: check_integer(f"annealing of {name!r}", value, low=0) for name, value in steps.items()
    }


def _check_cycles(steps: int | Mapping[str, int], cycles: int) -> None:
    check_integer("annealing_cycles", cycles)
    longest = max(steps.values(), default=0) if isinstance(steps, Mapping) else steps
    if cycles > 1 and not longest:
        raise OptionError(
            f"annealing_cycles={cycles} repeats the rise of annealing, which takes no steps; set "
            "annealing to some"
        )


def _check_geco(kappa: float | None, rate: float, decay: float) -> None:
    if kappa is not None:
        check_number("geco", kappa)
    if check_number("geco_rate", rate) > 1:
        raise OptionError(f"geco_rate is a share, at most 1, not {rate!r}")
    if check_number("geco_decay", decay, positive=False) >= 1:
        raise OptionError(f"geco_decay must be below 1, not {decay!r}")
    if kappa is None and (rate, decay) != (_GECO_RATE, _GECO_DECAY):
        raise OptionError(
            "geco_rate and geco_decay have no effect without geco; set geco, such as geco=0.05"
        )


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
