"""``describe``: a model's parameters, operations, memory and data flow."""

from __future__ import annotations

import argparse
import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.tree import Tree

from probseg.cli.assignments import assigned
from probseg.cli.output import print_json, print_rows
from probseg.errors import DataError, OptionError, ProbsegError
from probseg.specs import build

if TYPE_CHECKING:
    from probseg.cli.anatomy import Anatomy
    from probseg.cli.tracing import Flow, Node

FILES = (".json", ".toml", ".safetensors")
PICTURES = (".png", ".svg", ".pdf")
_PREFIXES = ("", "k", "M", "G", "T", "P")


def run(options: argparse.Namespace) -> int:
    """Print the description, draw it where that is asked for, and return exit status 0."""
    _check(options)
    spec = {**read_spec(options.spec), **assigned(options.set)}
    model = build(**spec)
    from probseg.cli.anatomy import dissect

    anatomy = dissect(model, size=options.size, samples=options.n)
    if options.out:  # first, for whoever reads the output may stop early
        _draw(anatomy, options.out)
    if options.json:
        print_json(_plain(anatomy))
        return 0
    _print(anatomy)
    if options.out:
        print(f"\ndrawn in {options.out}")
    return 0


def read_spec(spec: str) -> dict[str, Any]:
    """Return the description in a file or a checkpoint, or that of a model by its name.

    Raises:
        DataError: The file is no description of a model.
        CheckpointError: The checkpoint is missing or damaged.
    """
    path = Path(spec)
    if path.suffix == ".safetensors" or path.is_dir():
        from probseg.sharing.checkpoint import read_spec as read_checkpoint

        return read_checkpoint(path / "model.safetensors" if path.is_dir() else path)
    if path.suffix not in FILES:
        return {"name": spec}
    read = json.loads if path.suffix == ".json" else tomllib.loads
    try:
        found = read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is no {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise DataError(f'{path} describes no model; it needs a "name", such as "csae"')
    return found


def _check(options: argparse.Namespace) -> None:
    if options.size < 1 or options.n < 1:
        raise OptionError("--size and -n are at least 1")
    if options.out and options.out.suffix not in PICTURES:
        raise OptionError(f"--out {options.out} is none of {', '.join(PICTURES)}")


def _draw(anatomy: Anatomy, path: Path) -> None:
    try:
        from probseg.cli.flow_figure import draw_flows
    except ImportError as error:
        raise ProbsegError("--out draws with matplotlib: pip install 'probseg[bench]'") from error
    draw_flows(anatomy, path)


def _print(anatomy: Anatomy) -> None:
    height, width = anatomy.image[1:]
    name, n, memory = anatomy.spec["name"], anatomy.samples, anatomy.memory
    rows = [
        (
            part.name,
            part.type,
            f"{part.parameters:,}",
            scaled(part.sampling_flops),
            scaled(part.training_flops),
        )
        for part in anatomy.parts
    ]
    sampling = sum(anatomy.sampling.flops.values())
    training = sum(anatomy.training.flops.values())
    total = sum(part.parameters for part in anatomy.parts)
    print(f"{name} on an image of {height}x{width}, {n} samples\n")
    print_rows(
        [*rows, ("all", "", f"{total:,}", scaled(sampling), scaled(training))],
        ("part", "type", "parameters", "FLOPs to sample", "FLOPs of the loss"),
    )
    print(f"\nits gradients: {scaled(anatomy.backward_flops)} FLOPs")
    print(
        f"memory: weights {scaled(memory.weights)}B, training with Adam "
        f"{scaled(memory.training_state)}B and {scaled(memory.training_image)}B for each image, "
        f"{n} samples {scaled(memory.samples)}B\n"
    )
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    types = {part.name: part.type for part in anatomy.parts}
    for title, flow in (("training", anatomy.training), ("sampling", anatomy.sampling)):
        console.print(_tree(title, flow, types), markup=False)


def _tree(title: str, flow: Flow, types: dict[str, str]) -> Tree:
    """Hang under each output what it was made from; what stands there already only by name."""
    nodes = {node.name: node for node in flow.nodes}
    read = {name for node in flow.nodes for name in node.reads}
    tree, told = Tree(title), set[str]()

    def hang(above: Tree, node: Node) -> None:
        if node.name in told and node.reads:
            above.add(f"{node.name} (see above)")
            return
        told.add(node.name)
        kind = types.get(node.name.partition(" #")[0], "")
        branch = above.add(f"{node.name} {kind and f'[{kind}] '}→ {node.gives}")
        for name in node.reads:
            hang(branch, nodes[name])

    for node in flow.nodes:
        if node.name not in read and node.reads:
            hang(tree, node)
    return tree


def scaled(number: float) -> str:
    """Return a number with three digits and a prefix.

    >>> scaled(2_260_128), scaled(12)
    ('2.26 M', '12 ')
    """
    power = 0
    while number >= 1000 and power < len(_PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g} {_PREFIXES[power]}"


def _plain(anatomy: Anatomy) -> dict[str, Any]:
    flows = {
        title: {"nodes": [node._asdict() for node in flow.nodes], "flops": dict(flow.flops)}
        for title, flow in (("training", anatomy.training), ("sampling", anatomy.sampling))
    }
    return {
        "spec": anatomy.spec,
        "image": list(anatomy.image),
        "samples": anatomy.samples,
        "parts": [asdict(part) for part in anatomy.parts],
        "backward_flops": anatomy.backward_flops,
        "memory": asdict(anatomy.memory),
        **flows,
    }
