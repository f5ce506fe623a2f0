"""``list``: every part that is installed, where it comes from, and what it is, a line each."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

from probseg.cli.kinds import registry_of, singular
from probseg.cli.output import print_json, print_rows
from probseg.cli.reading import summary
from probseg.cli.trial import faults
from probseg.errors import PluginError
from probseg.registry import KINDS, Offer

BUILTIN = "probseg"


class Listed(NamedTuple):
    """One name of a kind."""

    kind: str
    name: str
    source: str  # "probseg", or distribution and version
    target: str  # "module:object"
    summary: str
    broken: str = ""  # why it cannot be used

    @property
    def plain(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**self._asdict(), "broken": self.broken or None}


def run(options: argparse.Namespace) -> int:
    """Print the list and return exit status 0."""
    kinds = [singular(options.kind)] if options.kind else list(KINDS)
    listed = [one for kind in kinds for one in list_kind(kind)]
    if not options.no_import:
        listed = tried(listed)
    if options.json:
        print_json([one.plain for one in listed])
        return 0
    rows = [
        (one.kind, one.name, one.source, f"broken: {one.broken}" if one.broken else one.summary)
        for one in listed
    ]
    broken = [number for number, one in enumerate(listed) if one.broken]
    print_rows(rows, ("kind", "name", "from", "what it is"), marked=broken)
    return 0


def list_kind(kind: str) -> Iterator[Listed]:
    """Yield what is offered of a kind, in alphabetical order, without importing any of it."""
    for name, offers in sorted(registry_of(kind).offers().items()):
        source = " and ".join(offer.source for offer in offers)
        target = " and ".join(map(_target, offers))
        if len(offers) > 1:
            yield Listed(kind, name, source, target, "", f"{source} offer it; uninstall one")
            continue
        yield Listed(kind, name, source, target, *_read(offers[0]))


def tried(listed: list[Listed]) -> list[Listed]:
    """Return the list after an attempt to import what plugins offer."""
    doubtful = [(KINDS[x.kind], x.name) for x in listed if x.source != BUILTIN and not x.broken]
    found = faults(doubtful)
    names = [(KINDS[one.kind], one.name) for one in listed]
    return [
        one._replace(broken=found.get(name, one.broken))
        for one, name in zip(listed, names, strict=True)
    ]


def _read(offer: Offer) -> tuple[str, str]:
    try:
        return summary(offer.entry.module_name, offer.entry.object_name or ""), ""
    except PluginError as error:
        return "", str(error)


def _target(offer: Offer) -> str:
    return f"{offer.entry.module_name}:{offer.entry.object_name}"
