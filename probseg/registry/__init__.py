"""Names to constructors: the parts of probseg itself and those of installed plugins."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import entrypoints

from probseg.errors import MissingPluginError, OptionError, PluginError, UnknownNameError
from probseg.options import an, check_options, unknown
from probseg.registry.known_plugins import package_of
from probseg.registry.training_options import check_no_training

Constructor = Callable[..., Any]
C = TypeVar("C", bound=Constructor)

# The singular of a kind of part, and its registry.
KINDS = {
    "model": "models",
    "backbone": "backbones",
    "pyramid": "pyramids",
    "encoder": "encoders",
    "projector": "projectors",
    "divergence": "divergences",
    "set_loss": "set_losses",
    "decoder": "decoders",
    "dataset": "datasets",
    "metric": "metrics",
}
# An option of a model that is a part, and the registry that its names are looked up in.
PARTS = {
    "backbone": "backbones",
    "pyramid": "pyramids",
    "encoder": "encoders",
    "projector": "projectors",
    "divergence": "divergences",
    "decoder": "decoders",
    "kl": "divergences",
    "set_loss": "set_losses",
}


class Offer(NamedTuple):
    """A constructor under a name, and which package provides it."""

    entry: entrypoints.EntryPoint
    source: str  # "probseg" or the plugin's distribution and version

    @property
    def target(self) -> str:
        """Where the constructor is, ``"module:object"``."""
        return f"{self.entry.module_name}:{self.entry.object_name}"

    def __str__(self) -> str:
        return self.source if self.source == "probseg" else f"{self.source} ({self.target})"


class Registry(ModuleType, Mapping[str, Constructor]):
    """A package that is also a mapping of names to the constructors of one kind of part.

    The module object of ``probseg.projectors`` is a registry: ``list(probseg.projectors)`` gives
    its names, ``probseg.projectors["planar"]`` imports and returns a constructor, and
    ``probseg.projectors.planar`` is the submodule as usual. Listing imports nothing.

    Plugins offer a part by an entry point in the group ``probseg.<kind>s`` (the package's name).
    """

    kind: str
    _builtin: dict[str, Offer]
    _local: dict[str, Constructor]

    @property
    def noun(self) -> str:
        """The kind as messages write it."""
        return in_words(self.kind)

    @classmethod
    def adopt(cls, module: str, *, kind: str, builtin: Mapping[str, str]) -> None:
        """Make the package called ``module`` the registry of ``kind``.

        Args:
            module: Name of the package, which is also its entry-point group.
            kind: What one entry is called, in the singular.
            builtin: Name to ``"module:object"`` of the parts that the package itself ships.
        """
        package = sys.modules[module]
        offers = {
            name: Offer(entrypoints.EntryPoint.from_string(target, name), "probseg")
            for name, target in builtin.items()
        }
        vars(package).update(kind=kind, _builtin=offers, _local={})
        package.__class__ = cls

    def register(self, name: str) -> Callable[[C], C]:
        """Return a decorator that registers a constructor under ``name`` in this process.

        Raises:
            OptionError: The name is taken or no string, as in a decorator without its brackets.
        """
        if not isinstance(name, str):
            raise OptionError(
                f"register {an(self.noun)} by name: @{self.__name__}.register('name')"
            )

        def decorator(constructor: C) -> C:
            if name in self:
                raise OptionError(
                    f"{an(self.noun)} called {name!r} exists already; choose another name "
                    f"or remove it first with {self.__name__}.unregister({name!r})"
                )
            self._local[name] = constructor
            return constructor

        return decorator

    def unregister(self, name: str) -> None:
        """Remove a constructor that :meth:`register` added in this process.

        Raises:
            UnknownNameError: Nothing was registered under that name in this process.
        """
        if name not in self._local:
            raise UnknownNameError(f"no {self.noun} was registered here as {name!r}")
        del self._local[name]

    def create(self, name: str, /, **options: Any) -> Any:
        """Call the constructor called ``name`` with ``options``.

        Raises:
            UnknownNameError: There is no such name.
            OptionError: The constructor has no such option, one that it needs is missing, or one
                is not of the type that its annotation says.
            PluginError: The plugin that offers the name is broken.
        """
        constructor, owner = self[name], f"{self.noun} {name!r}"
        if self.kind == "model":
            check_no_training(constructor, options, owner=owner)
        return constructor(**check_options(constructor, options, owner=owner))

    def __getitem__(self, name: str) -> Constructor:
        """Import and return the constructor called ``name``.

        Raises:
            UnknownNameError: There is no such name.
            MissingPluginError: The name is of a plugin of this repository that is not installed.
            PluginError: Several distributions offer it, or the one that does cannot be imported.
        """
        if isinstance(name, str) and name in self._local:
            return self._local[name]
        offers = self.offers().get(name) if isinstance(name, str) else None
        if not offers:
            if package := package_of(self.kind, name):
                raise MissingPluginError(
                    f"the {self.noun} {name!r} is of the plugin {package}, which is not "
                    f"installed; in a checkout of probseg run: pip install ./plugins/{package}"
                )
            raise UnknownNameError(unknown(self.noun, name, self))
        if len(offers) > 1:
            packages = " and ".join(map(str, offers))
            raise PluginError(f"{self.noun} {name!r} is offered by {packages}; uninstall one")
        return self._import(name, offers[0])

    def _import(self, name: str, offer: Offer) -> Constructor:
        part = f"{self.noun} {name!r} of {offer}"
        try:
            constructor = offer.entry.load()
        except (Exception, SystemExit) as error:  # a plugin's import may raise anything
            reason = str(error) or type(error).__name__
            raise PluginError(f"{part} cannot be imported: {reason}") from error
        if not callable(constructor):
            raise PluginError(
                f"{part} is {type(constructor).__name__}, which cannot be called; an entry point "
                "names a class or a function"
            )
        return constructor  # type: ignore[no-any-return]  # narrowed by callable() only

    def __contains__(self, name: object) -> bool:
        """Whether there is a constructor called ``name``; imports nothing."""
        return name in self._local or name in self.offers()

    def __iter__(self) -> Iterator[str]:
        """All names in alphabetical order; imports nothing."""
        return iter(sorted({*self._local, *self.offers()}))

    def __len__(self) -> int:
        """How many names there are."""
        return len({*self._local, *self.offers()})

    def __eq__(self, other: object) -> bool:
        """A registry equals only itself."""
        return self is other

    def __hash__(self) -> int:
        """A registry is hashed by identity, as modules are."""
        return id(self)

    def offers(self) -> dict[str, list[Offer]]:
        """Return which packages provide which names; imports nothing.

        Names that this process registered itself are left out.
        """
        offers = {name: [offer] for name, offer in self._builtin.items()}
        # A folder's time of change tells when a distribution was installed or removed.
        search_path = [(folder, _modified(folder or os.curdir)) for folder in sys.path]
        for offer in _plugins(self.__name__, *search_path):
            offers.setdefault(offer.entry.name, []).append(offer)
        return offers


def _modified(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _plugins(group: str, *search_path: tuple[str, int]) -> tuple[Offer, ...]:
    entries = [
        entry
        for config, distribution in _installed(*search_path)
        if config.has_section(group)
        for entry in _entry_points(config[group], distribution)
    ]
    offers = {
        (e.name, e.module_name, e.object_name): Offer(e, _distribution(e)) for e in entries
    }  # a distribution that is twice on the path counts once
    return tuple(offers.values())


@lru_cache(maxsize=8)
def _installed(*search_path: tuple[str, int]) -> tuple[Any, ...]:
    # get_group_all would search the disk once more for each kind of part
    return tuple(entrypoints.iter_files_distros(path=[entry for entry, _ in search_path]))


def _entry_points(
    named: Mapping[str, str], distribution: entrypoints.Distribution
) -> Iterator[entrypoints.EntryPoint]:
    for name, target in named.items():
        with entrypoints.BadEntryPoint.err_to_warnings():
            yield entrypoints.EntryPoint.from_string(target, name, distribution)


def _distribution(entry: entrypoints.EntryPoint) -> str:
    return f"{entry.distro.name} {entry.distro.version}" if entry.distro else "a plugin"


def singular(kind: str, kinds: Mapping[str, str] = KINDS) -> str:
    """Return the singular of a kind that is given in the singular or in the plural.

    Args:
        kind: Such as ``"projector"`` or ``"projectors"``.
        kinds: Singular to registry.

    Raises:
        UnknownNameError: There is no such kind.

    >>> singular("projectors"), singular("metric"), singular("set-losses")
    ('projector', 'metric', 'set_loss')
    """
    wanted = _letters(kind)
    for one, registry_name in kinds.items():
        if wanted in (_letters(one), _letters(registry_name)):
            return one
    raise UnknownNameError(unknown("kind of part", kind, kinds))


def in_words(kind: str) -> str:
    """Return a kind as messages write it.

    >>> in_words("set_loss")
    'set loss'
    """
    return kind.replace("_", " ")


def _letters(kind: str) -> str:
    return kind.lower().replace(" ", "").replace("_", "").replace("-", "")


def registry(kind: str) -> Registry:
    """Return the registry of a kind, such as ``registry("projectors")``."""
    module = importlib.import_module(f"probseg.{kind}")
    if not isinstance(module, Registry):
        raise TypeError(f"probseg.{kind} is no registry")
    return module
