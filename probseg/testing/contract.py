"""What a contract is: checks that take a part of one kind and say what it promised and did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from probseg.registry import registry

Part = str | Mapping[str, Any] | Callable[..., Any]
"""A registered name, a mapping ``{"name": ..., **options}`` or a constructor."""

Make = Callable[..., Any]  # takes what the composition knows, returns the part
Check = Callable[[Part], None]


class ContractError(AssertionError):
    """A part does not do what every part of its kind has to do."""


class Contract:
    """The checks of one kind of part; as a decorator it adds a function of ``make`` to them.

    A check runs with its own random numbers and leaves the global ones as they were.

    Args:
        kind: What the part is called, in the singular.
        parts: The registry that has its names.
    """

    def __init__(self, kind: str, parts: str) -> None:
        self.kind = kind
        self.parts = parts
        self.checks: list[Check] = []

    def __call__(self, body: Callable[[Make], None]) -> Check:
        """Add a check, and return it as a function of one part."""

        def one(part: Part) -> None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self._run(body, part)

        one.__name__, one.__doc__, one.__module__ = body.__name__, body.__doc__, body.__module__
        self.checks.append(one)
        return one

    def _run(self, body: Callable[[Make], None], part: Part) -> None:
        where = f"{self.kind} {_label(part)}: {body.__name__}"
        try:
            body(self._maker(part))
        except _BrokenError as broken:
            expected, found = broken.args
            raise ContractError(f"{where}: expected {expected}, got {found}") from None
        except Exception as error:  # whatever a part may raise, it should not
            reason = f"{type(error).__name__}: {error}"
            raise ContractError(f"{where}: expected no error, got {reason}") from error

    def _maker(self, part: Part) -> Make:
        if callable(part):
            return part
        options = {"name": part} if isinstance(part, str) else dict(part)
        name = options.pop("name")
        return lambda **known: registry(self.parts).create(name, **known, **options)


def expect(holds: bool | Tensor, expected: str, found: object) -> None:
    """Fail the running check unless ``holds``."""
    if not bool(holds):
        raise _BrokenError(expected, found)


def expect_shape(tensor: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Fail the running check unless the tensor has the shape."""
    expect(tuple(tensor.shape) == shape, f"{what} of shape {shape}", tuple(tensor.shape))


def expect_close(found: Tensor, wanted: Tensor, what: str, *, tolerance: float = 1e-5) -> None:
    """Fail the running check unless both are equal to an absolute and relative tolerance."""
    close = torch.allclose(found, wanted, rtol=tolerance, atol=tolerance)
    expect(close, what, f"a difference of {(found - wanted).abs().max().item():.3g}")


def expect_gradients(part: Any, loss: Tensor) -> None:
    """Fail the running check unless the loss reaches every parameter that is to be trained."""
    every = part.named_parameters() if isinstance(part, nn.Module) else ()
    named = {name: parameter for name, parameter in every if parameter.requires_grad}
    if not named:
        return
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    without = [name for name, g in zip(named, gradients, strict=True) if g is None]
    expect(not without, "a gradient for every parameter", f"none for {', '.join(without)}")
    bad = [n for n, g in zip(named, gradients, strict=True) if g is not None and not _finite(g)]
    expect(not bad, "finite gradients", f"NaN or infinity in {', '.join(bad)}")


def shaken(part: Any, scale: float = 0.3) -> Any:
    """Move all weights of a part away from their start, where it may be trivial."""
    if isinstance(part, nn.Module):
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.add_(scale * torch.randn_like(parameter))
    return part


def double(part: Any) -> Any:
    """Return the part in double precision."""
    return part.double() if isinstance(part, nn.Module) else part


def evaluating(part: Any) -> Any:
    """Return the part in evaluation mode."""
    return part.eval() if isinstance(part, nn.Module) else part


class _BrokenError(Exception):
    """What was expected, and what came."""


def _label(part: Part) -> str:
    if isinstance(part, Mapping):
        return repr(part.get("name"))
    return repr(part) if isinstance(part, str) else getattr(part, "__name__", repr(part))


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
