"""``probseg show``: what one part is, its options, how it is called, and where its source is."""

from __future__ import annotations

import argparse
import inspect
from functools import partial
from typing import Any

from probseg.cli.output import plain, print_json, print_line, print_rows
from probseg.cli.parser import Parser, add_json, add_part, chosen_part
from probseg.options import annotation_of, named_parameters
from probseg.registry import KINDS, in_words, registry

SUMMARY = "show a part's options, shapes, reference and source"
EXAMPLES = """
examples:
  %(prog)s projector planar
  %(prog)s planar            the same, as nothing else has the name
  %(prog)s model csae
  %(prog)s dataset folder --json
"""

# The protocol of each kind, in probseg.interfaces, and the options that a model gives its parts.
PROTOCOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "model": ("Model", ()),
    "backbone": ("Backbone", ("in_channels",)),
    "pyramid": ("Pyramid", ("in_channels",)),
    "encoder": ("LatentEncoder", ("in_channels", "latent_dim")),
    "projector": ("Projector", ("features", "context_features")),
    "divergence": ("Divergence", ()),
    "set_loss": ("SetLoss", ()),
    "decoder": ("Decoder", ("in_channels", "latent_dim", "classes")),
    "dataset": ("Dataset", ()),
    "metric": ("Metric", ()),
}

# The call of a model that learns from all annotators, in place of the protocol's.
LOSS_OF_ALL = {
    "part.loss(…)": "Return weighted scalar terms, whose sum is minimised. The image is "
    "(B, C, H, W), floating; in place of a label the masks (B, A, H, W) of all annotators, integer "
    "classes. The mask of an annotator who is absent is `ignore_index` everywhere, a value that "
    "`fit` gives as `ignore_index=`."
}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``show``."""
    add_part(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the part and return exit status 0."""
    part = describe_part(*chosen_part(options))
    if options.json:
        print_json(part)
    else:
        _print(part)
    return 0


def describe_part(kind: str, name: str) -> dict[str, Any]:
    """Import one part and return what ``--json`` prints of it.

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
    protocol, given = PROTOCOLS[kind]
    return {
        "kind": kind,
        "name": name,
        "source": offer.source,
        "target": offer.target,
        "file": _file(documented),
        "docstring": plain(inspect.getdoc(documented) or ""),
        "options": [
            {"name": option, "type": annotation_of(one), "default": _default(one, given)}
            for option, one in named_parameters(constructor).items()
        ],
        "protocol": f"probseg.interfaces.{protocol}",
        "calls": _calls(getattr(interfaces, protocol))
        | (LOSS_OF_ALL if kind == "model" and _learns_from_all(constructor) else {}),
    }


def _learns_from_all(constructor: Any) -> bool:
    """Return whether a model takes everybody's masks unless an option says otherwise."""
    if option := named_parameters(constructor).get("all_annotators"):
        return option.default is True
    while isinstance(constructor, partial):
        constructor = constructor.func
    return getattr(constructor, "all_annotators", False) is True


def _file(thing: Any) -> str:
    """Return file and line, as editors understand them."""
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
        if inspect.isfunction(one) and (not name.startswith("_") or name in spelling)
    }


def _print(part: dict[str, Any]) -> None:
    print_line(f"{in_words(part['kind'])} {part['name']} · {part['source']}", "bold")
    print_line(part["docstring"])
    print_line("\noptions", "bold")
    if part["options"]:
        print_rows([[*one.values()] for one in part["options"]], ("name", "type", "default"))
    else:
        print_line("none")
    print_line(f"\nshapes ({part['protocol']})", "bold")
    for call, documentation in part["calls"].items():
        print_line(f"{call}: {documentation}")
    print_line("\nsource", "bold")
    print_line("{target}\n{file}".format_map(part))
