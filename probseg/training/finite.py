"""Checks for NaN and infinity, without waiting for a device at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from probseg.errors import InputError, ProbsegError
from probseg.utils.tensors import check_range, extremes

Name = TypeVar("Name")

_IMAGE = "the image, times zero,"


class NonFiniteError(ProbsegError, ArithmeticError):
    """Training produced NaN or infinity."""


def check_finite(
    terms: Mapping[str, Tensor],
    model: nn.Module | None = None,
    *,
    image: Tensor | None = None,
    label: Tensor | None = None,
    classes: int | None = None,
    step: int | None = None,
) -> None:
    """Raise an error if a training step met NaN or infinity, and name the first such value.

    For a training loop of your own: call it between the backward pass and the optimizer's step.
    ``fit`` does so by itself.

    >>> check_finite({"cross_entropy": torch.tensor(9.0), "kl": torch.tensor(torch.inf)}, step=7)
    Traceback (most recent call last):
    ...
    probseg.training.finite.NonFiniteError: training diverged at step 7: kl is inf; \
lower the learning rate, or check the scale of the images

    Args:
        terms: What ``model.loss`` returned, scalars.
        model: Its gradients are checked as well. Leave it out where a gradient scaler (fp16)
            skips such steps by itself.
        image: (B, C, H, W), checked as well; on an accelerator a model does not check it.
        label: (B, H, W), checked first, for the same reason: a label out of range makes the
            cross-entropy NaN.
        classes: K that the label may have; by default those of ``model``.
        step: Named in the error.

    Raises:
        InputError: The label has a value that is no class.
        NonFiniteError: A term of the loss is not finite, or else a parameter's gradient, or else
            the image. The message says whether the image or a weight was not finite before.
    """
    if label is not None:
        classes = getattr(model, "classes", None) if classes is None else classes
        if classes is None:
            raise InputError("the number of classes is unknown; pass the model, or classes=")
        _check_ranges([(step, extremes(label))], classes)
    values = list(terms.items())
    if model is not None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        values += zip(gradient_names(model), gradient_norms(gradients), strict=True)
    if image is not None:
        values.append((_IMAGE, (image.detach() * 0).sum()))  # NaN and infinity survive
    first = _first_not_finite(values)
    if first is not None:
        raise _error(*first, step=step, cause=_cause(image, model))


def gradient_names(model: nn.Module) -> list[str]:
    """Return names for the gradients of the parameters that have one, in their order."""
    return [f"the gradient of {n}" for n, p in model.named_parameters() if p.grad is not None]


def gradient_norms(gradients: list[Tensor]) -> list[Tensor]:
    """Return each gradient's norm, computed by one kernel where the device can."""
    # what torch's own clipping calls
    return list(torch._foreach_norm(gradients)) if gradients else []


class FiniteWatch:
    """Collects the values of a few steps and checks together whether they are finite.

    On a CPU each step is checked at once. To read an accelerator's values waits for all of its
    work, so they are checked every ``every`` steps.

    Args:
        learning_rate: Named in the error's remedy.
        every: Steps between two checks of an accelerator's values.
        classes: K of the model, for labels on an accelerator.
    """

    def __init__(
        self, learning_rate: float, *, every: int = 50, classes: int | None = None
    ) -> None:
        self.learning_rate = learning_rate
        self.every = every
        self.classes = classes
        self._unchecked: list[tuple[int, dict[str, Tensor]]] = []
        self._ranges: list[tuple[int | None, Tensor]] = []

    def note(self, step: int, values: dict[str, Tensor], *, label: Tensor | None = None) -> None:
        """Collect a step's scalars, and the range of its label (B, H, W).

        A label on the CPU was checked by the model.

        Raises:
            NonFiniteError: See :meth:`check`.
            InputError: See :meth:`check`.
        """
        self._unchecked.append((step, values))
        if label is not None and label.device.type != "cpu":
            self._ranges.append((step, extremes(label)))
        on_cpu = all(value.device.type == "cpu" for value in values.values())
        if on_cpu or len(self._unchecked) >= self.every:
            self.check()

    def check(self) -> None:
        """Check all values that were collected since the last check.

        Raises:
            NonFiniteError: A value is not finite; the message names the first one and its step.
            InputError: A label has a value that is no class, from which no loss is finite.
        """
        unchecked, ranges = [*self._unchecked], [*self._ranges]
        self._unchecked.clear()
        self._ranges.clear()
        _check_ranges(ranges, self.classes)
        named = [((step, name), v) for step, values in unchecked for name, v in values.items()]
        first = _first_not_finite(named)
        if first is not None:
            (step, name), number = first
            raise _error(name, number, step=step, rate=f"the learning_rate ({self.learning_rate})")


def _check_ranges(ranges: Sequence[tuple[int | None, Tensor]], classes: int | None) -> None:
    """Check each step's lowest and highest label, all of which come from the device at once."""
    if classes is None or not ranges:
        return
    limits = torch.stack([extremes for _, extremes in ranges]).tolist()
    for (step, _), (low, high) in zip(ranges, limits, strict=True):
        check_range(low, high, classes, step=step)


def _first_not_finite(values: Sequence[tuple[Name, Tensor]]) -> tuple[Name, float] | None:
    """Return the first value that is not finite and its name; waits for the device once."""
    if not values:
        return None
    numbers = torch.stack([value.detach().float() for _, value in values]).tolist()
    named = zip((name for name, _ in values), numbers, strict=True)
    return next(((name, number) for name, number in named if not math.isfinite(number)), None)


def _cause(image: Tensor | None, model: nn.Module | None) -> str:
    """Return which input or weight was not finite before the step."""
    if image is not None and (count := int((~image.isfinite()).sum())):
        return f" ({count} values are NaN or infinite in the image)"
    for name, weight in model.named_parameters() if model is not None else ():
        if not weight.isfinite().all():
            return f" (the weight {name} was not finite before this step)"
    return ""


def _error(
    name: str,
    number: float,
    *,
    step: int | None,
    rate: str = "the learning rate",
    cause: str = "",
) -> NonFiniteError:
    at = "" if step is None else f" at step {step}"
    return NonFiniteError(
        f"training diverged{at}: {name} is {number}{cause}; lower {rate}, or check the scale of "
        "the images"
    )
