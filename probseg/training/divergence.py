"""Watching for values that are not finite, without waiting for a device at each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from probseg.errors import ProbsegError


class DivergenceError(ProbsegError, ArithmeticError):
    """Training produced NaN or infinity."""


class DivergenceWatch:
    """Remembers a few steps' values and looks at them together.

    On a CPU each step is looked at when it is over. To look at an accelerator's values waits for
    all that it was given to do, so they are looked at once in a while.

    Args:
        learning_rate: Named in the error's remedy.
        every: Steps between two looks at an accelerator's values.
    """

    def __init__(self, learning_rate: float, *, every: int = 50) -> None:
        self.learning_rate = learning_rate
        self.every = every
        self._unseen: list[tuple[int, dict[str, Tensor]]] = []

    def note(self, step: int, values: dict[str, Tensor]) -> None:
        """Take note of a step's scalars.

        Raises:
            DivergenceError: See :meth:`look`.
        """
        self._unseen.append((step, values))
        on_cpu = all(value.device.type == "cpu" for value in values.values())
        if on_cpu or len(self._unseen) >= self.every:
            self.look()

    def look(self) -> None:
        """Look at all that was noted since the last look.

        Raises:
            DivergenceError: A value is not finite; the first one's step and name are told.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        known = torch.stack([value.float() for _, step in unseen for value in step.values()])
        numbers = iter(known.tolist())
        for step, values in unseen:
            for name, number in zip(values, numbers, strict=False):
                if not math.isfinite(number):
                    raise self._error(step, name, number)

    def _error(self, step: int, name: str, number: float) -> DivergenceError:
        return DivergenceError(
            f"training diverged at step {step}: {name} is {number}; lower the learning_rate "
            f"({self.learning_rate}), or check the scale of the images"
        )
