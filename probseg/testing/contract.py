"""The contract of a kind of part: a list of checks, and the expectations they are made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from probseg.registry import KINDS, registry

Part = str | Mapping[str, Any] | Callable[..., Any]
"""A registered name, a mapping ``{"name": ..., **options}`` or a constructor."""

PRECISELY = (
    "in float32 under bf16 autocast, computed within torch.autocast(device_type, enabled=False)"
)

Make = Callable[..., Any]  # takes the options that a model gives, returns the part
Check = Callable[[Part], None]


class ContractError(AssertionError):
    """A part does not do what every part of its kind must do."""


class Contract:
    """The checks of one kind of part; as a decorator it adds a function of ``make`` to them.

    A check runs with its own random numbers and leaves the global ones as they were.

    Args:
        kind: The kind in the singular, for messages.
        parts: The registry of the parts that keep it (default: that of the kind).
    """

    def __init__(self, kind: str, parts: str = "") -> None:
        self.kind = kind
        self.parts = parts or KINDS[kind]
        self.checks: list[Check] = []

    def __call__(self, body: Callable[[Make], None]) -> Check:
        """Add a check, and return it as a function of one part."""

        def check(part: Part) -> None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self._run(body, part)

        for attribute in ("__name__", "__doc__", "__module__"):
            setattr(check, attribute, getattr(body, attribute))
        self.checks.append(check)
        return check

    def _run(self, body: Callable[[Make], None], part: Part) -> None:
        subject = f"{self.kind} {_part_name(part)}: {body.__name__}"
        try:
            body(self._maker(part))
        except _BrokenError as broken:
            expected, actual = broken.args
            reason = f"{subject}: expected {expected}, got {actual}"
            raise ContractError(reason) from broken.__cause__
        except Exception as error:  # whatever a part may raise, it should not
            reason = f"{subject}: expected no error, got {_in_words(error)}"
            raise ContractError(reason) from error

    def _maker(self, part: Part) -> Make:
        if callable(part):
            return part
        options = {"name": part} if isinstance(part, str) else dict(part)
        return partial(registry(self.parts).create, options.pop("name"), **options)


def expect(holds: bool | Tensor, expected: str, actual: object) -> None:
    """Fail the running check unless ``holds``."""
    if not bool(holds):
        raise _BrokenError(expected, actual)


@contextmanager
def expect_success(expected: str) -> Iterator[None]:
    """Fail the running check, with what was expected, where the block raises an error."""
    try:
        yield
    except _BrokenError:
        raise
    except Exception as error:
        raise _BrokenError(expected, _in_words(error)) from error


def expect_precision(tensors: Mapping[str, Tensor]) -> None:
    """Fail the running check unless all are finite, in single precision or double."""
    for name, tensor in tensors.items():
        precise = tensor.dtype in (torch.float32, torch.float64)
        expect(precise, f"{name} {PRECISELY}", tensor.dtype)
        expect(tensor.isfinite().all(), f"{name} that is finite", "NaN or infinity")


def expect_spread(density: Distribution, of: str) -> None:
    """Fail the running check unless what a density has of mean and scale is finite and trains."""
    mean, spread = _moment(density, "mean"), _moment(density, "stddev")
    heavy = "a Student-t has both above two degrees of freedom"
    for moment in (mean, spread):
        finite = moment is None or moment.isfinite().all()
        expect(finite, f"a finite mean and standard deviation {of}; {heavy}", "NaN or infinity")
    if spread is not None:
        good = (spread > 1e-6).all() and (spread < 1e6).all()
        actual = f"{float(spread.min()):.3g} to {float(spread.max()):.3g}"
        expect(good, f"a standard deviation within 1e-6 and 1e6 {of}", actual)


def _moment(density: Distribution, name: str) -> Tensor | None:
    """Return the mean or the standard deviation, or None where the density's class has none."""
    try:
        moment: Tensor = getattr(density, name)
    except NotImplementedError:
        return None
    return moment.detach()


def expect_shape(tensor: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Fail the running check unless the tensor has the shape."""
    expect(tuple(tensor.shape) == shape, f"{what} of shape {shape}", tuple(tensor.shape))


def expect_close(actual: Tensor, expected: Tensor, what: str, *, tolerance: float = 1e-5) -> None:
    """Fail the running check unless both are equal to an absolute and relative tolerance."""
    close = torch.allclose(actual, expected, rtol=tolerance, atol=tolerance)
    expect(close, what, f"a difference of {(actual - expected).abs().max().item():.3g}")


def expect_gradients(part: Any, loss: Tensor) -> None:
    """Fail the running check unless every trainable parameter gets a finite gradient."""
    parameters = part.named_parameters() if isinstance(part, nn.Module) else ()
    trainable = {name: parameter for name, parameter in parameters if parameter.requires_grad}
    if not trainable:
        return
    gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
    named = dict(zip(trainable, gradients, strict=True))
    missing = [name for name, gradient in named.items() if gradient is None]
    expect(not missing, "a gradient for every parameter", f"none for {', '.join(missing)}")
    bad = [name for name, gradient in named.items() if not gradient.isfinite().all()]
    expect(not bad, "finite gradients", f"NaN or infinity in {', '.join(bad)}")


def expect_same_weights(make: Callable[[], Any], read: Callable[[Any], Tensor]) -> None:
    """Fail the running check unless a ``state_dict`` holds all that makes two parts differ."""
    first, second = evaluating(make()), evaluating(make())
    if isinstance(first, nn.Module):
        second.load_state_dict(first.state_dict())
    told = "the same output from the same weights, all of which are in a module's state_dict"
    expect_close(read(second), read(first), told)


def expect_separate_images(
    read: Callable[..., Tensor], *inputs: Tensor, tolerance: float = 1e-5
) -> None:
    """Fail the running check unless an image's output is the same alone as in a batch."""
    together, alone = read(*inputs)[:1], read(*(one[:1] for one in inputs))
    expect_close(together, alone, "an image's output alone as in a batch", tolerance=tolerance)


def expect_dependence(read: Callable[[Tensor], Tensor], value: Tensor, what: str) -> None:
    """Fail the running check unless each entry of a tensor's second axis changes the output."""
    before = read(value)
    for number in range(value.shape[1]):
        changed = value.clone()
        changed[:, number] = 1 - changed[:, number]
        differs = (read(changed) - before).abs().max() > 0
        expect(differs, f"an output that depends on {what} {number}", "the same output")


def perturbed(part: Any, scale: float = 0.3, *, keep: Collection[str] = ()) -> Any:
    """Add noise to the weights of a part, whose initial values may make it trivial."""
    parameters = part.named_parameters() if isinstance(part, nn.Module) else ()
    with torch.no_grad():
        for name, parameter in parameters:
            if name not in keep:
                parameter.add_(scale * torch.randn_like(parameter))
    return part


def double(part: Any) -> Any:
    """Return the part in double precision."""
    return part.double() if isinstance(part, nn.Module) else part


def evaluating(part: Any) -> Any:
    """Return the part in evaluation mode."""
    return part.eval() if isinstance(part, nn.Module) else part


def autocast() -> AbstractContextManager[None]:
    """Compute as ``fit`` does where bf16 is fast; CPUs without it are only slower."""
    return torch.autocast("cpu", torch.bfloat16)


def channels_last(tensor: Tensor) -> Tensor:
    """Return an image (B, C, H, W) in the memory layout of ``fit``, of which ``view`` is unsure."""
    return tensor.contiguous(memory_format=torch.channels_last)


def as_fitted(part: Any) -> Any:
    """Return the part in training mode, with its weights in the memory layout of ``fit``."""
    if not isinstance(part, nn.Module):
        return part
    return part.train().to(memory_format=torch.channels_last)


def repeatable(draw: Callable[[], Tensor]) -> Tensor:
    """Return what a function draws, with the same random numbers in every call."""
    torch.manual_seed(1)
    return draw()


class _BrokenError(Exception):
    """An expectation that does not hold: what was expected, and the actual value."""


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _part_name(part: Part) -> str:
    if isinstance(part, Mapping):
        return repr(part.get("name"))
    return repr(part) if isinstance(part, str) else getattr(part, "__name__", repr(part))
