"""``probseg show``: what one part is, its options, how it is called, and where its source is."""

from __future__ import annotations

import argparse
import inspect
import re
from functools import partial
from typing import Any, NamedTuple

from probseg.cli.command import Command
from probseg.cli.output import plain, print_json, print_line, print_rows
from probseg.cli.parser import Parser, add_json, add_part
from probseg.options import annotation_of, named_parameters
from probseg.registry import KINDS, registry, singular

EXAMPLES = """
examples:
  %(prog)s projector planar
  %(prog)s model csae
  %(prog)s dataset folder --json
"""

# The protocol of each kind, in probseg.interfaces, and the options that a model gives its parts.
PROTOCOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "model": ("Model", ()),
    "backbone": ("Backbone", ("in_channels",)),
    "encoder": ("LatentEncoder", ("in_channels", "latent_dim")),
    "projector": ("Projector", ("features", "context_features")),
    "divergence": ("Divergence", ()),
    "decoder": ("Decoder", ("in_channels", "latent_dim", "classes")),
    "dataset": ("Dataset", ()),
    "metric": ("Metric", ()),
}
_ARGS = re.compile(r"^Args:\n((?:    .*\n|\n)*)", re.M)
_ENTRY = re.compile(r"^    \*{0,2}(\w+)(?: \([^)]*\))?: *", re.M)


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``show``."""
    add_part(parser)
    add_json(parser)


COMMAND = Command(
    name="show",
    summary="show a part's options, shapes, reference and source",
    add_arguments=add_arguments,
    run="probseg.cli.show:run",
    examples=EXAMPLES,
)


class Option(NamedTuple):
    """One option of a constructor."""

    name: str
    type: str
    default: str  # as Python writes it, "required" or "given by the model"
    meaning: str


class ShownPart(NamedTuple):
    """A part and its documentation."""

    kind: str
    name: str
    source: str  # "probseg", or distribution and version
    target: str  # "module:object"
    file: str  # with the line, as editors understand it
    summary: str
    text: str  # the docstring without its first line and its arguments
    options: list[Option]
    protocol: str
    calls: dict[str, str]  # each method of the protocol to its documentation


def run(options: argparse.Namespace) -> int:
    """Print the part and return exit status 0."""
    part = describe_part(singular(options.kind), options.name)
    if options.json:
        print_json({**part._asdict(), "options": [one._asdict() for one in part.options]})
    else:
        _print(part)
    return 0


def describe_part(kind: str, name: str) -> ShownPart:
    """Import one part and return its documentation.

    Raises:
        UnknownNameError: There is no such part.
        PluginError: It cannot be imported.
    """
    from probseg import interfaces

    parts = registry(KINDS[kind])
    constructor = parts[name]
    (offer,) = parts.offers()[name]
    documented: Any = constructor
    while isinstance(documented, partial):
        documented = documented.func
    doc = inspect.getdoc(documented) or ""
    summary, text = split_docstring(doc)
    meanings = documented_arguments(doc)
    protocol, given = PROTOCOLS[kind]
    return ShownPart(
        kind=kind,
        name=name,
        source=offer.source,
        target=offer.target,
        file=_file(documented),
        summary=summary,
        text=text,
        options=[
            Option(option, annotation_of(one), _default(one, given), meanings.get(option, ""))
            for option, one in named_parameters(constructor).items()
        ],
        protocol=f"probseg.interfaces.{protocol}",
        calls=_calls(getattr(interfaces, protocol)),
    )


def split_docstring(doc: str) -> tuple[str, str]:
    r"""Return the first line of a docstring, and the rest without the section of arguments.

    >>> split_docstring("Add.\n\nArgs:\n    a: A number.\n\nRaises:\n    OSError: Always.")
    ('Add.', 'Raises:\n    OSError: Always.')
    """
    summary, _, rest = doc.partition("\n")
    return plain(summary), plain(_ARGS.sub("", f"{rest}\n").strip())


def documented_arguments(doc: str) -> dict[str, str]:
    r"""Return what a docstring in Google's style says of each argument.

    >>> documented_arguments("Add.\n\nArgs:\n    a: One\n        number.\n    **more: Others.")
    {'a': 'One number.', 'more': 'Others.'}
    """
    section = _ARGS.search(f"{doc}\n")
    _, *fields = _ENTRY.split(section[1] if section else "")
    return {
        name: plain(" ".join(text.split()))
        for name, text in zip(fields[::2], fields[1::2], strict=True)
    }


def _file(thing: Any) -> str:
    try:  # what is no class or function itself is an object of one
        thing = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
        return f"{inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]}"
    except (OSError, TypeError):  # compiled
        return ""


def _default(parameter: inspect.Parameter, given: tuple[str, ...]) -> str:
    if parameter.name in given:
        return "given by the model"
    if parameter.kind is parameter.VAR_KEYWORD:
        return "any further"
    return "required" if parameter.default is parameter.empty else repr(parameter.default)


def _calls(protocol: type) -> dict[str, str]:
    """Return the methods of a protocol as users call them, with what they take and return."""
    spelling = {"__call__": "part(…)", "__len__": "len(part)", "__getitem__": "part[i]"}
    return {
        spelling.get(name, f"part.{name}(…)"): plain(" ".join((inspect.getdoc(one) or "").split()))
        for name, one in vars(protocol).items()
        if inspect.isfunction(one)
        and (not name.startswith("_") or name in (*spelling, "__getitems__"))
    }


def _print(part: ShownPart) -> None:
    print_line(f"{part.kind} {part.name} · {part.source}", "bold")
    print_line(part.summary)
    if part.text:
        print_line(f"\n{part.text}")
    print_line("\noptions", "bold")
    if part.options:
        print_rows(part.options, ("name", "type", "default", "meaning"), wrap=True)
    else:
        print_line("none")
    print_line(f"\nshapes ({part.protocol})", "bold")
    for call, documentation in part.calls.items():
        print_line(f"{call}: {documentation}")
    print_line("\nsource", "bold")
    print_line(f"{part.target}\n{part.file}")
