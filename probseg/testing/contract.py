"""What a contract is: checks that take a part of one kind and say what it promised and did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from probseg.registry import registry

Part = str | Mapping[str, Any] | Callable[..., Any]
"""A registered name, a mapping ``{"name": ..., **options}`` or a constructor."""

Make = Callable[..., Any]  # takes what the composition knows, returns the part
Check = Callable[[Part], None]

checks: dict[str, list[Check]] = {}
"""The checks of each kind: ``checks["projector"]`` is a list of functions of one part."""


class ContractError(AssertionError):
    """A part does not do what every part of its kind has to do."""


def check(kind: str, part: Part) -> None:
    """Run all checks of a kind on a part.

    Args:
        kind: The singular, such as ``"projector"``.
        part: A registered name, a mapping ``{"name": ..., **options}`` or a constructor.

    Raises:
        ContractError: The part breaks its contract; names the check, what was expected, what came.

    >>> check("projector", "planar")
    """
    for one in checks[kind]:
        one(part)


def contract(kind: str) -> Callable[[Callable[[Make], None]], Check]:
    """Return a decorator that adds a function of ``make`` to the checks of ``kind``.

    The check runs with its own random numbers and leaves the global ones as they were.
    """

    def decorator(body: Callable[[Make], None]) -> Check:
        def one(part: Part) -> None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                _run(body, kind, part)

        one.__name__, one.__doc__, one.__module__ = body.__name__, body.__doc__, body.__module__
        checks.setdefault(kind, []).append(one)
        return one

    return decorator


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
    """Fail the running check unless the loss reaches every parameter of the part."""
    named = dict(part.named_parameters()) if isinstance(part, nn.Module) else {}
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


def _run(body: Callable[[Make], None], kind: str, part: Part) -> None:
    where = f"{kind} {_label(part)}: {body.__name__}"
    try:
        body(_maker(kind, part))
    except _BrokenError as broken:
        expected, found = broken.args
        raise ContractError(f"{where}: expected {expected}, got {found}") from None
    except Exception as error:
        _report(where, error)


def _report(where: str, error: Exception) -> NoReturn:
    reason = f"{type(error).__name__}: {error}"
    raise ContractError(f"{where}: expected no error, got {reason}") from error


def _maker(kind: str, part: Part) -> Make:
    if callable(part):
        return part
    options = {"name": part} if isinstance(part, str) else dict(part)
    name = options.pop("name")
    return lambda **known: registry(f"{kind}s").create(name, **known, **options)


def _label(part: Part) -> str:
    if isinstance(part, Mapping):
        return repr(part.get("name"))
    return repr(part) if isinstance(part, str) else getattr(part, "__name__", repr(part))


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
