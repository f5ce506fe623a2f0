"""``probseg protocols``: which images are compared how, by names that results can state."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from probseg.cli.output import print_json, print_rows
from probseg.cli.parser import Parser, add_json, complete
from probseg.errors import OptionError

if TYPE_CHECKING:
    from probseg.protocols import Protocol

SUMMARY = "show the protocols: data, split, crop, samples and metrics of a comparison, by name"
EXAMPLES = """
examples:
  %(prog)s
  %(prog)s lidc-v1
  %(prog)s lidc-v1 --published           what papers print of such data
  %(prog)s lidc-slices --root DATA       how many images and patients your files have

Results of different protocols do not compare. probseg train and evaluate take --protocol NAME.
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``protocols``."""
    name = parser.add_argument("name", nargs="?", metavar="NAME", help="one of them (default: all)")
    complete(name, lambda **_: _names())
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="open the data there, and count what is in a part"
    )
    parser.add_argument("--published", action="store_true", help="show published numbers as well")
    add_json(parser)


def _print_published(names: list[str]) -> None:
    from rich.console import Console

    from probseg.reports.published import published_table
    from probseg.reports.tables import to_terminal

    console = Console()
    for name in names:
        if (table := published_table(name)).rows:
            shown = to_terminal(table)
            wanted = console.measure(shown).maximum
            (console if wanted <= console.width else Console(width=wanted)).print(shown)


def _names() -> list[str]:
    from probseg import protocols

    return protocols.names()


def run(options: argparse.Namespace) -> int:
    """Print one protocol or all, and return exit status 0."""
    from probseg import protocols

    if options.root and not options.name:
        raise OptionError("--root opens the data of one protocol; give its name as well")
    if options.json and (options.root or options.published):
        raise OptionError("--json is for what protocols say; leave --root and --published out")
    chosen = [protocols.get(name) for name in ([options.name] if options.name else _names())]
    if options.json:
        print_json([{**asdict(one), "fingerprint": one.fingerprint} for one in chosen])
    elif not options.name:
        print_rows([[one.name, one.title] for one in chosen], ("name", "what it is"))
    else:
        print_rows(list(_told(chosen[0])), ("", ""))
    if options.published:
        _print_published([one.name for one in chosen])
    if options.root:
        prepared = chosen[0].open(root=options.root)
        rows = [
            [part, str(len(data)), str(len(set(data.groups)))]
            for part, data in prepared.parts._asdict().items()
        ]
        print_rows(rows, ("part", "images", "groups"))
        for remark in prepared.remarks:
            print(remark)
    return 0


def _told(protocol: Protocol) -> Iterator[list[str]]:
    by_folder = "the publisher's folders"
    shares = protocol.shares
    by_hash = f"a hash of the group's name: test {shares.get('test', 0):.0%}, "
    by_hash += f"validation {shares.get('validation', 0):.0%}"
    crop = f"{protocol.crop} x {protocol.crop} pixels" if protocol.crop else "whole images"
    counts = [
        f"{part}: {one.images or '?'} images, {one.groups or '?'} groups"
        for part, one in protocol.counts.items()
    ]
    yield ["name", protocol.name]
    yield ["title", protocol.title]
    yield ["data", f"{protocol.dataset or 'any'} {dict(protocol.options) or ''}".strip()]
    yield ["complete data", "; ".join(counts) or "not known"]
    yield ["split by", by_folder if protocol.split == "parts" else by_hash]
    yield ["crop", f"{crop}{', placed by a hash' if protocol.place == 'random' else ''}"]
    yield ["annotators", str(protocol.annotators or "any number")]
    yield ["samples", ", ".join(map(str, protocol.samples))]
    yield ["metrics", ", ".join(protocol.metrics)]
    yield ["empty masks", protocol.empty_masks]
    yield ["what differs", protocol.differences]
    yield ["fingerprint", protocol.fingerprint]
