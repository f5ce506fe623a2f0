"""A check for NaN and infinity, without waiting for a device at each step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from probseg.errors import ProbsegError
from probseg.utils.model_inputs import check_range
from probseg.utils.tensors import extremes


class NonFiniteError(ProbsegError, ArithmeticError):
    """Training produced NaN or infinity."""


class FiniteWatch:
    """Collects the values of a few steps and checks together whether they are finite.

    ``fit`` has one, and a training loop of your own can have one. On a CPU each step is checked at
    once. To read an accelerator's values waits for all of its work, so they are checked every
    ``every`` steps; call :meth:`check` after the last one.

    >>> FiniteWatch(1e-4).note(7, {"kl": torch.tensor(9.0), "divergence": torch.tensor(torch.inf)})
    Traceback (most recent call last):
    ...
    probseg.training.finite.NonFiniteError: training diverged at step 7: divergence is inf; \
lower the learning_rate (0.0001), or check the scale of the images

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
        self._values: list[tuple[int, dict[str, Tensor]]] = []
        self._ranges: list[tuple[int, Tensor]] = []  # of labels

    def note(self, step: int, values: dict[str, Tensor], *, label: Tensor | None = None) -> None:
        """Collect a step's scalars, and the range of its label (B, H, W).

        A label on the CPU was checked by the model.

        Raises:
            NonFiniteError: See :meth:`check`.
            InputError: See :meth:`check`.
        """
        self._values.append((step, values))
        if self.classes is not None and label is not None and label.device.type != "cpu":
            self._ranges.append((step, extremes(label)))
        on_cpu = all(value.device.type == "cpu" for value in values.values())
        if on_cpu or len(self._values) >= self.every:
            self.check()

    def check(self) -> None:
        """Check all values that were collected since the last check.

        Raises:
            NonFiniteError: A value is not finite; the message names the first one and its step.
            InputError: A label has a value that is no class, from which no loss is finite.
        """
        values = [(step, *named) for step, some in self._values for named in some.items()]
        ranges = [*self._ranges]
        self._values.clear()
        self._ranges.clear()
        if self.classes is not None:
            limits = _fetched([limits for _, limits in ranges])
            for (step, _), (low, high) in zip(ranges, limits, strict=True):
                check_range(low, high, self.classes, step=step)
        numbers = _fetched([value.detach().float() for *_, value in values])
        for (step, name, _), number in zip(values, numbers, strict=True):
            if not math.isfinite(number):
                raise NonFiniteError(
                    f"training diverged at step {step}: {name} is {number}; lower the "
                    f"learning_rate ({self.learning_rate}), or check the scale of the images"
                )


def _fetched(tensors: list[Tensor]) -> list[Any]:
    """Return the values of tensors of one shape; waits for their device once."""
    return list(torch.stack(tensors).tolist()) if tensors else []
