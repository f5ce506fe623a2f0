"""Models and parts from names and options, and their descriptions as plain data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from probseg.errors import OptionError, ProbsegError
from probseg.options import an, is_numpy, listing, named_parameters
from probseg.registry import Constructor, Registry, registry

if TYPE_CHECKING:
    from probseg.interfaces import Dataset

Part = Any  # a name, a mapping {"name": ..., **options} or a ready object
Spec = dict[str, Any]


class StoredWeights(str):
    """The name of pretrained weights that a checkpoint holds, so that no part fetches them.

    While a model is loaded, the options ``weights`` and ``..._weights`` of its parts are such
    strings.
    """

    __slots__ = ()


def build(
    name: str,
    *,
    like: Dataset | None = None,
    calibration: Mapping[str, float] | None = None,
    **options: Any,
) -> Any:
    """Build a model from its name and the choices that differ from its defaults.

    Each part is a name, a mapping ``{"name": ..., **options}`` or a ready object;
    ``build(**model.spec)`` gives the same architecture again.

    Args:
        name: One of ``probseg.models``.
        like: A data set whose channels and classes the model is for, and the size of whose images
            if the model has an option ``image_size``.
        calibration: What :func:`probseg.calibrate` chose, as a mapping.
        **options: What ``probseg.models[name]`` takes, such as ``in_channels``, ``backbone``.

    Returns:
        A ``torch.nn.Module`` that follows :class:`probseg.interfaces.Model`.

    Raises:
        UnknownNameError: No model or part has that name.
        OptionError: An option is unknown, of the wrong type or out of range.
        PluginError: A plugin that is asked for is broken, or not installed.

    Examples:
        >>> model = build("csae", backbone="unet", in_channels=3)
        >>> model.spec["backbone"]["name"]
        'unet'
    """
    if like is not None:
        options = {**_sizes_of(like, name), **options}
    model = registry("models").create(name, **options)
    if calibration is not None:
        if not hasattr(model, "calibration"):
            raise OptionError(
                f"the model {name!r} cannot be calibrated; leave calibration out (a subclass of "
                "probseg.models.base.ProbabilisticModel can)"
            )
        model.calibration = calibration
    return model


def _sizes_of(data: Any, name: str) -> dict[str, Any]:
    """Return the options of a model for a data set, or for what torch has made of one."""
    inner = data
    while hasattr(inner, "dataset") and not hasattr(inner, "channels"):  # torch's Subset
        inner = inner.dataset
    if missing := [name for name in ("channels", "classes") if not hasattr(inner, name)]:
        raise OptionError(
            f"like must be a data set of probseg, and {type(inner).__name__} has no "
            f"{listing(missing)}; give in_channels= and classes= in its place"
        )
    sizes = {"in_channels": inner.channels, "classes": inner.classes}
    if "image_size" in named_parameters(registry("models")[name]) and len(inner):
        sizes["image_size"] = list(inner[0].image.shape[-2:])
    return sizes


def with_stored_weights(spec: Spec) -> Spec:
    """Return a spec whose pretrained weights, of all its parts, are :class:`StoredWeights`."""
    return {option: _stored(option, value) for option, value in spec.items()}


def _stored(option: str, value: Any) -> Any:
    if isinstance(value, dict):
        return with_stored_weights(value)
    if isinstance(value, str) and (option == "weights" or option.endswith("_weights")):
        return StoredWeights(value)
    return value


class BuiltPart(NamedTuple):
    """A part and the plain data that describe it."""

    part: Any
    spec: Any


def build_part(kinds: str, part: Part, interface: type, **fixed: Any) -> BuiltPart:
    """Build a part from a name, a mapping or a ready object, and describe it.

    Args:
        kinds: The registry to look names up in, such as ``"backbones"``.
        part: A name, a mapping ``{"name": ..., **options}`` or a ready object.
        interface: The protocol that the part has to follow.
        **fixed: What the model itself passes to the constructor, so that users cannot.

    Raises:
        OptionError: The part is none of the three, or does not follow the protocol.
    """
    parts = registry(kinds)
    if isinstance(part, (str, Mapping)):
        built = _create(parts, {"name": part} if isinstance(part, str) else dict(part), fixed)
    elif isinstance(part, type) or part is None:
        raise OptionError(
            f"{an(parts.noun)} is a name, a mapping or a ready object, not {part!r}; "
            f"known names: {', '.join(parts)}"
        )
    else:
        built = BuiltPart(part, {"object": _type_name(part)})
    _check_interface(built.part, interface, parts.noun)
    return built


def plain(value: Any) -> Any:
    """Return ``value`` as JSON-able data; an object becomes a note of its type."""
    if isinstance(value, StoredWeights):
        return str(value)
    value = value.tolist() if is_numpy(value) else value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {"object": _type_name(value)}


def _create(parts: Registry, part: Spec, fixed: Mapping[str, Any]) -> BuiltPart:
    if "object" in part:
        raise OptionError(
            f"the {parts.noun} was a ready object ({part['object']}) that no description can "
            f"rebuild; pass it again, or register it with a name in {parts.__name__}"
        )
    name = part.pop("name", None)
    if not isinstance(name, str):
        raise OptionError(f'{an(parts.noun)} given as a mapping needs a "name" among its keys')
    for option in part:
        if option in fixed:
            raise OptionError(
                f"option {option!r} of {parts.noun} {name!r} is set by the model; leave it out"
            )
    try:
        built = parts.create(name, **fixed, **part)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, ProbsegError):
            raise
        raise OptionError(f"{parts.noun} {name!r} cannot be made from {part}: {error}") from error
    return BuiltPart(built, {"name": name, **_full_options(parts[name], part, fixed)})


def _full_options(constructor: Constructor, given: Spec, fixed: Mapping[str, Any]) -> Spec:
    # Defaults go into the description, so that a later default does not change an old model.
    defaults = {
        name: parameter.default
        for name, parameter in named_parameters(constructor).items()
        if parameter.default is not parameter.empty and name not in fixed
    }
    described: Spec = plain({**defaults, **given})
    return described


def _check_interface(part: Any, interface: type, kind: str) -> None:
    if not isinstance(part, interface):
        raise OptionError(
            f"{_type_name(part)} is no {kind}: it has no {', '.join(lacking(part, interface))}; "
            f"see probseg.interfaces.{interface.__name__}"
        )


def lacking(part: Any, interface: type) -> list[str]:
    """Return the names of an interface's methods and attributes that a part lacks."""
    of_protocol = ("__init__", "__subclasshook__")
    methods = [name for name, value in vars(interface).items() if inspect.isfunction(value)]
    names = [*(n for n in methods if n not in of_protocol), *interface.__annotations__]
    return [name for name in names if not hasattr(part, name)]


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
