"""Watching for values that are not finite, without waiting for a device at each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from probseg.errors import InputError, ProbsegError
from probseg.tensors import check_range, extremes

Name = TypeVar("Name")

_IMAGE = "the image, times zero,"


class DivergenceError(ProbsegError, ArithmeticError):
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
    """Raise if a step of a training loop of your own met NaN or infinity, and name the first.

    Call it between the backward pass and the optimizer's step. ``fit`` watches by itself.

    >>> check_finite({"cross_entropy": torch.tensor(9.0), "kl": torch.tensor(torch.inf)}, step=7)
    Traceback (most recent call last):
    ...
    probseg.training.finite.DivergenceError: training diverged at step 7: kl is inf; \
lower the learning rate, or check the scale of the images

    Args:
        terms: What ``model.loss`` returned, scalars.
        model: Whose gradients to look at as well. Leave it out where a gradient scaler (fp16)
            leaves out such steps by itself.
        image: (B, C, H, W), to look at as well; on an accelerator a model does not.
        label: (B, H, W), to look at first, for the same reason: one out of range makes the
            cross-entropy NaN.
        classes: K that the label may have; by default those of ``model``.
        step: To tell.

    Raises:
        InputError: The label has a value that is no class.
        DivergenceError: A term of the loss is not finite, or else a parameter's gradient, or else
            the image. It says as well whether the image or a weight was not finite before.
    """
    _check_label(label, getattr(model, "classes", None) if classes is None else classes, step)
    known = list(terms.items())
    if model is not None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        known += zip(gradient_names(model), norms(gradients), strict=True)
    if image is not None:
        known.append((_IMAGE, (image.detach() * 0).sum()))  # NaN and infinity survive
    found = _first(known)
    if found is not None:
        raise _error(*found, step=step, cause=_cause(image, model))


def gradient_names(model: nn.Module) -> list[str]:
    """Return what to call the gradients of the parameters that have one, in their order."""
    return [f"the gradient of {n}" for n, p in model.named_parameters() if p.grad is not None]


def norms(gradients: list[Tensor]) -> list[Tensor]:
    """Return each gradient's norm, all of them by one kernel where the device can."""
    # what torch's own clipping calls
    return list(torch._foreach_norm(gradients)) if gradients else []


class DivergenceWatch:
    """Remembers a few steps' values and looks at them together.

    On a CPU each step is looked at when it is over. To look at an accelerator's values waits for
    all that it was given to do, so they are looked at once in a while.

    Args:
        learning_rate: Named in the error's remedy.
        every: Steps between two looks at an accelerator's values.
        classes: K of the model, for labels on an accelerator.
    """

    def __init__(
        self, learning_rate: float, *, every: int = 50, classes: int | None = None
    ) -> None:
        self.learning_rate = learning_rate
        self.every = every
        self.classes = classes
        self._unseen: list[tuple[int, dict[str, Tensor]]] = []
        self._ranges: list[tuple[int, Tensor]] = []

    def note(self, step: int, values: dict[str, Tensor], *, label: Tensor | None = None) -> None:
        """Take note of a step's scalars, and of the range of its label (B, H, W).

        A label on the CPU was looked at by the model.

        Raises:
            DivergenceError: See :meth:`look`.
            InputError: See :meth:`look`.
        """
        self._unseen.append((step, values))
        if label is not None and label.device.type != "cpu":
            self._ranges.append((step, extremes(label)))
        on_cpu = all(value.device.type == "cpu" for value in values.values())
        if on_cpu or len(self._unseen) >= self.every:
            self.look()

    def look(self) -> None:
        """Look at all that was noted since the last look.

        Raises:
            DivergenceError: A value is not finite; the first one's step and name are told.
            InputError: A label has a value that is no class, from which no loss is finite.
        """
        unseen, self._unseen = self._unseen, []
        ranges, self._ranges = self._ranges, []
        _check_ranges(ranges, self.classes)
        known = [((step, name), v) for step, values in unseen for name, v in values.items()]
        found = _first(known)
        if found is not None:
            (step, name), number = found
            rate = f"the learning_rate ({self.learning_rate})"
            raise _error(name, number, step=step, rate=rate)


def _check_label(label: Tensor | None, classes: int | None, step: int | None) -> None:
    if label is None:
        return
    if classes is None:
        raise InputError("nobody says which labels there are; pass the model, or classes=")
    low, high = extremes(label).tolist()
    check_range(low, high, classes, step=step)


def _check_ranges(ranges: Sequence[tuple[int, Tensor]], classes: int | None) -> None:
    """Check each step's lowest and highest label, all of which come from the device at once."""
    if classes is None or not ranges:
        return
    found = torch.stack([extremes for _, extremes in ranges]).tolist()
    for (step, _), (low, high) in zip(ranges, found, strict=True):
        check_range(low, high, classes, step=step)


def _first(values: Sequence[tuple[Name, Tensor]]) -> tuple[Name, float] | None:
    """Return the first value that is not finite and its name; waits for the device once."""
    if not values:
        return None
    known = torch.stack([value.detach().float() for _, value in values]).tolist()
    named = zip((name for name, _ in values), known, strict=True)
    return next((found for found in named if not math.isfinite(found[1])), None)


def _cause(image: Tensor | None, model: nn.Module | None) -> str:
    """Say what was not finite before anything was computed of it."""
    if image is not None and (count := int((~image.isfinite()).sum())):
        return f" ({count} values are NaN or infinite in the image)"
    for name, weight in model.named_parameters() if model is not None else ():
        if not weight.isfinite().all():
            return f" (the weight {name} is not finite since a step before)"
    return ""


def _error(
    name: str,
    number: float,
    *,
    step: int | None,
    rate: str = "the learning rate",
    cause: str = "",
) -> DivergenceError:
    at = "" if step is None else f" at step {step}"
    return DivergenceError(
        f"training diverged{at}: {name} is {number}{cause}; lower {rate}, or check the scale of "
        "the images"
    )
