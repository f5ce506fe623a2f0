"""``show``: what one part is, what it takes, what it is called with, and where it is."""

from __future__ import annotations

import argparse
import inspect
from functools import partial
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from probseg import interfaces
from probseg.cli.docstrings import Docstring, parse
from probseg.cli.kinds import registry_of, singular
from probseg.cli.output import print_json, print_rows
from probseg.options import annotation_of, named_parameters
from probseg.registry import Constructor

# The protocol that parts of a kind follow, and what the model's composition passes to them.
PROTOCOLS = {
    "model": (interfaces.Model, ()),
    "backbone": (interfaces.Backbone, ("in_channels",)),
    "encoder": (interfaces.LatentEncoder, ("in_channels", "latent_dim")),
    "projector": (interfaces.Projector, ("features", "context_features")),
    "divergence": (interfaces.Divergence, ()),
    "decoder": (interfaces.Decoder, ("in_channels", "latent_dim", "classes")),
    "dataset": (interfaces.Dataset, ()),
    "metric": (interfaces.Metric, ()),
}


class Option(NamedTuple):
    """One option of a constructor."""

    name: str
    type: str
    default: str  # as Python writes it, "required" or "given by the model"
    meaning: str


class Shown(NamedTuple):
    """What there is to say of a part."""

    kind: str
    name: str
    source: str  # "probseg", or distribution and version
    target: str  # "module:object"
    file: str  # with the line, as editors understand it
    summary: str
    text: str
    options: list[Option]
    protocol: str
    calls: dict[str, str]  # method of the protocol to what it takes and returns
    raises: dict[str, str]
    references: str


def run(options: argparse.Namespace) -> int:
    """Print what there is to say and return exit status 0."""
    shown = describe_part(singular(options.kind), options.name)
    if options.json:
        print_json({**shown._asdict(), "options": [one._asdict() for one in shown.options]})
    else:
        _print(shown)
    return 0


def describe_part(kind: str, name: str) -> Shown:
    """Import one part and say what it is.

    Raises:
        UnknownNameError: There is no such part.
        PluginError: It cannot be imported.
    """
    parts = registry_of(kind)
    constructor = parts[name]
    (offer,) = parts.offers()[name]
    documented = _unwrapped(constructor)
    doc = parse(getattr(documented, "__doc__", None) or "")
    protocol, known = PROTOCOLS[kind]
    return Shown(
        kind=kind,
        name=name,
        source=offer.source,
        target=f"{offer.entry.module_name}:{offer.entry.object_name}",
        file=_place(documented),
        summary=doc.summary,
        text=doc.text,
        options=_options(constructor, doc, known),
        protocol=f"{protocol.__module__}.{protocol.__qualname__}",
        calls=_calls(protocol),
        raises=doc.entries("Raises"),
        references=doc.sections.get("References", ""),
    )


def _unwrapped(constructor: Constructor) -> Any:
    while isinstance(constructor, partial):
        constructor = constructor.func
    return constructor


def _place(thing: Any) -> str:
    try:  # what is no class or function itself is an object of one
        thing = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):  # compiled
        return ""


def _options(constructor: Constructor, doc: Docstring, known: tuple[str, ...]) -> list[Option]:
    meanings = doc.entries("Args")
    return [
        Option(name, annotation_of(one), _default(one, known), meanings.get(name, ""))
        for name, one in named_parameters(constructor).items()
    ]


def _default(parameter: inspect.Parameter, known: tuple[str, ...]) -> str:
    if parameter.name in known:
        return "given by the model"
    if parameter.kind is parameter.VAR_KEYWORD:
        return "any further"
    return "required" if parameter.default is parameter.empty else repr(parameter.default)


def _calls(protocol: type) -> dict[str, str]:
    methods = {
        name: inspect.getdoc(member) or ""
        for name, member in vars(protocol).items()
        if inspect.isfunction(member) and name not in ("__init__", "__subclasshook__")
    }
    spelt = {"__call__": "part(…)", "__len__": "len(part)", "__getitem__": "part[i]"}
    return {
        spelt.get(name, f"part.{name}(…)"): " ".join(parse(doc).summary.split()) + _more(doc)
        for name, doc in methods.items()
        if not name.startswith("_") or name in (*spelt, "__getitems__")
    }


def _more(doc: str) -> str:
    text = " ".join(parse(doc).text.split())
    return f" {text}" if text else ""


def _print(shown: Shown) -> None:
    console = Console(soft_wrap=not Console().is_terminal, highlight=False)
    console.print(f"[bold]{shown.kind} {escape(shown.name)}[/] · {escape(shown.source)}")
    console.print(shown.summary, markup=False)
    if shown.text:
        console.print(f"\n{shown.text}", markup=False)
    console.print("\n[bold]options[/]")
    if shown.options:
        print_rows(shown.options, ("name", "type", "default", "meaning"), wrap=True)
    else:
        console.print("none")
    console.print(f"\n[bold]shapes[/] ({shown.protocol})")
    _print_pairs(console, shown.calls)
    if shown.raises:
        console.print("\n[bold]raises[/]")
        _print_pairs(console, shown.raises)
    if shown.references:
        console.print("\n[bold]reference[/]")
        console.print(" ".join(shown.references.split()), markup=False)
    console.print("\n[bold]source[/]")
    console.print(f"{shown.target}\n{shown.file}", markup=False)


def _print_pairs(console: Console, pairs: dict[str, str]) -> None:
    if not console.is_terminal:
        for name, text in pairs.items():
            console.print(f"{name}: {text}", markup=False)
        return
    table = Table.grid(padding=(0, 2))
    for name, text in pairs.items():
        table.add_row(escape(name), escape(text))
    console.print(table)
