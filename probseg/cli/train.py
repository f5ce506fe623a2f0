"""``probseg train``: from a folder of images and masks to a trained model and its scores."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.opening import add_data, add_sections, open_data, parse_sections
from probseg.cli.parser import Parser
from probseg.cli.share import card_of
from probseg.errors import OptionError
from probseg.options import check_integer, named_parameters
from probseg.registry import registry

if TYPE_CHECKING:
    from rich.console import Console

    from probseg.datasets.views import Parts
    from probseg.interfaces import Dataset

SUMMARY = "train a model on your data, score it and draw its samples"
EXAMPLES = """
examples:
  %(prog)s csae --data my-data --out run
  %(prog)s punet --data contours --out run --set training.max_steps=1000 model.beta=10
  %(prog)s csae --data scans --out run --set data.size=128 data.classes=3

The same command again goes on where it stopped. DIR gets best.safetensors (for probseg predict),
scores.csv, samples.png, and how it was trained. What --set leaves out is chosen: channels, classes
and class prior from the data, a small network and few steps on a CPU, more on a GPU.
"""
SECTIONS = ("data", "model", "training")
_SMALL = {"channels": [16, 32, 64], "convolutions": 2, "norm": "batch"}
_LARGE = {"channels": [32, 64, 128, 192], "convolutions": 3, "norm": "batch"}
_STEPS = {"cpu": 300, "cuda": 3000}
_COUNTED = 256  # training images whose pixels give the class prior
_SHOWN = 8  # samples of the picture


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``train``."""
    parser.add_argument("model", metavar="MODEL", help="a name: probseg list models")
    add_data(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    add("--seed", type=int, default=0, metavar="N", help="of split and training (0)")
    add("-n", type=int, default=16, metavar="N", help="samples an image (16)")
    add_sections(parser, SECTIONS)


def run(options: argparse.Namespace) -> int:
    """Train, score and draw; say what was chosen, and what to type next."""
    check_integer("--seed", options.seed, low=0)
    check_integer("-n", options.n)
    if options.model not in registry("models"):
        registry("models")[options.model]  # raises with the nearest name
    if options.out.is_file():
        raise OptionError(f"--out {options.out} is a file; give a folder")
    given = parse_sections(options.set, SECTIONS)
    from rich.console import Console

    import probseg
    from probseg.sharing.cards import FACTS
    from probseg.utils.devices import choose_device

    console = Console()
    data = open_data(options.data, options.root, given["data"])
    parts = probseg.split(data, seed=options.seed)
    device = choose_device(str(given["training"].get("device", "auto")))
    settings = _training(given["training"], device.type, len(parts.train), options.seed)
    chosen = _model(options.model, given["model"], parts.train, device.type)
    _tell(console, data, parts, chosen, settings)
    model = probseg.build(options.model, like=data, **chosen)
    probseg.fit(model, parts.train, parts.validation, out=options.out, **settings)
    scores = probseg.evaluate(model, parts.test, n=options.n, seed=options.seed)
    console.print(scores)
    scores.to_csv(options.out / "scores.csv")
    card_of(scores, parts, settings).write(options.out / FACTS)
    _draw(model, parts.test, options.out / "samples.png", name=options.model)
    best = options.out / "best.safetensors"
    console.print(f"\nscores and pictures are in {options.out}; next:", highlight=False)
    console.print(f"  probseg predict {best} IMAGES --out predicted", highlight=False, markup=False)
    return 0


def _training(given: Mapping[str, Any], device: str, images: int, seed: int) -> dict[str, Any]:
    """Return the settings of training, with what was not given."""
    steps = given.get("max_steps", _STEPS.get(device, _STEPS["cpu"]))
    chosen = {
        "max_steps": steps,
        "validate_every": max(1, steps // 10) if isinstance(steps, int) else None,
        "batch_size": min(8 if device == "cpu" else 32, images),
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "seed": seed,
    }
    return {**chosen, **given}


def _model(name: str, given: Mapping[str, Any], train: Dataset, device: str) -> dict[str, Any]:
    """Return the options of the model, with what was not given and what the data say."""
    takes = named_parameters(registry("models")[name])
    network = _SMALL if device == "cpu" else _LARGE
    prior = _class_prior(train)
    chosen: dict[str, Any] = {
        "backbone": {"name": "unet", **network},
        "encoder": {"name": "axis-aligned", **network},
        "beta": 1.0,
    }
    chosen |= {"decoder": {"name": "fcomb", "class_prior": prior}} if "decoder" in takes else {}
    chosen |= {"class_prior": prior}
    if given.get("penalties") is not None:
        del chosen["beta"]
    return {**{key: value for key, value in chosen.items() if key in takes}, **given}


def _class_prior(train: Dataset) -> list[float]:
    """Return the share of each class among the annotators' pixels, none of them zero."""
    import torch

    from probseg.datasets.annotators import presence

    batch = train.batch(range(min(len(train), _COUNTED)))
    masks = batch.masks[presence(batch.masks, batch.present)]
    counts = torch.bincount(masks.flatten().long(), minlength=train.classes).double() + 1
    return [round(share, 6) for share in (counts / counts.sum()).tolist()]


def _tell(
    console: Console,
    data: Dataset,
    parts: Parts,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Print what was chosen."""
    sizes = ", ".join(f"{len(part)} {name}" for name, part in parts._asdict().items())
    lines = [
        f"{data.name}: {len(data)} images of {len(set(data.groups))} groups, "
        f"{data.channels} channels, {data.classes} classes, up to {data.annotators} annotators",
        f"split by group: {sizes}",
        f"model: {', '.join(f'{key}={value}' for key, value in model.items())}",
        f"training: {', '.join(f'{key}={value}' for key, value in settings.items())}",
    ]
    console.print("\n".join(lines), highlight=False, markup=False)


def _draw(model: Any, test: Dataset, path: Path, *, name: str) -> None:
    """Draw samples beside the annotations of the image on which annotators differ most."""
    import torch

    from probseg.datasets.annotators import presence
    from probseg.plots import Block, sample_sheet
    from probseg.utils.atomic_files import atomic_file

    batch = test.batch(range(min(len(test), _COUNTED)))
    share = (batch.masks > 0).float().mean(1)
    index = int((share * (1 - share)).sum((1, 2)).argmax())
    image = batch.image[index : index + 1]
    generator = torch.Generator().manual_seed(0)
    probabilities = model.sample(image, _SHOWN, generator=generator)[:, 0]
    foreground = 1 - probabilities[:, 0]
    block = Block(
        probabilities.argmax(1).numpy(),
        foreground.mean(0).numpy(),
        foreground.std(0, correction=0).numpy(),
    )
    who = presence(batch.masks, batch.present)[index]
    figure = sample_sheet(image[0].numpy(), batch.masks[index][who].numpy(), {name: block})
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
