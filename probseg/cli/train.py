"""``probseg train``: from a folder of images and masks to a trained model and its scores."""

from __future__ import annotations

import argparse
import glob
import shlex
import sys
from collections.abc import Mapping
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg.cli.opening import (
    add_data,
    add_protocol,
    add_sections,
    as_typed,
    checkpoint_of,
    counted,
    is_packed_data,
    open_data,
    parse_sections,
    split_data,
)
from probseg.cli.parser import Parser
from probseg.cli.run_split import FILE as SPLIT
from probseg.cli.run_split import RunSplit
from probseg.cli.share import card_of
from probseg.cli.train_defaults import USUAL_SIZE, choose_model, choose_training
from probseg.cli.trained import deviations, stated
from probseg.errors import OptionError
from probseg.options import check_given, check_integer, check_options
from probseg.registry import registry
from probseg.registry.training_options import check_no_training
from probseg.utils.imports import require

if TYPE_CHECKING:
    from probseg.datasets.annotators import Annotator
    from probseg.datasets.views import Parts
    from probseg.interfaces import Dataset
    from probseg.metrics.scores import Scores
    from probseg.training.settings import TrainingSettings

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
_GOES_ON = "the same command again goes on (training from its last validation round)"
_SHOWN = 8  # samples of the picture


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``train``."""
    parser.add_argument("model", metavar="MODEL", help="a name: probseg list models")
    add_data(parser)
    add_protocol(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    add("--seed", type=int, default=0, metavar="N", help="of split and training (0)")
    add("-n", type=int, default=16, metavar="N", help="samples an image (16)")
    add_sections(parser, SECTIONS)


def run(options: argparse.Namespace) -> int:
    """Train, score and draw; say what was chosen, and what to type next."""
    try:
        return _run(options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_GOES_ON) from None


def _run(options: argparse.Namespace) -> int:
    check_integer("--seed", options.seed, low=0)
    check_integer("-n", options.n)
    _check_folder(options.out)
    given = parse_sections(options.set, SECTIONS)
    _check_model(options.model, given["model"])
    require("matplotlib", extra="plot", for_="probseg train")  # before any work is done
    import torch
    from rich.console import Console

    import probseg
    from probseg import protocols
    from probseg.sharing.cards import FACTS

    _settings({"seed": options.seed, **given["training"]})  # mistakes show before data are read
    protocol = protocols.get(options.protocol) if options.protocol else None
    packed = is_packed_data(options.data, options.root)  # which knows its layout
    defaults = dict(protocol.options) if protocol and not packed else {}
    data = open_data(options.data, options.root, given["data"], **defaults)
    prepared = protocol.prepare(data) if protocol else None
    annotator = given["training"].get("annotator", "random")
    whole = prepared.parts if prepared else split_data(data, options.seed)
    parts = _of_annotator(whole, annotator)
    settings = _settings(choose_training(given["training"], parts.train, options.seed))
    chosen = choose_model(options.model, given["model"], parts.train, settings)
    with torch.random.fork_rng([]):  # the first weights are a part of the run
        torch.manual_seed(options.seed)
        model: Any = probseg.build(options.model, like=whole.train, **chosen)
    _tell(data, parts, model, chosen, settings)
    split = RunSplit.chosen(options.seed, options.protocol)
    split.check(options.out)
    if not (options.out / "run.json").exists():  # else an older run, of which only fit knows
        split.keep(options.out)
    _fit(model, parts, settings, options.out)
    split.keep(options.out)
    _log(f"scoring {len(parts.test)} test images")
    model = probseg.load(checkpoint_of(options.out))  # the same to the bit, trained just now or not
    scores = probseg.evaluate(
        model, parts.test, n=options.n, device=settings.device, seed=options.seed
    )
    if protocol and prepared:
        others = [f"{options.n} samples"] * (options.n not in protocol.samples)
        others += deviations(prepared, given["data"])
        scores = stated(scores, protocol, "test", prepared.remarks, others)
    scores.to_csv(options.out / "scores.csv")
    Console().print(scores)
    if scores.remarks:
        print("Train longer (another --out, --set training.max_steps=N), or on more images.")
    card_of(scores, parts, _changed(settings)).write(options.out / FACTS)
    _draw(model, parts.test, scores, options.out / "samples.png")
    print(
        f"\n{options.out} has the model (best.safetensors), each image's values (scores.csv) and a "
        "picture of samples (samples.png); next:"
    )
    for command in _next_commands(options, data, parts):
        print(f"  {shlex.join(command)}")
    return 0


def _of_annotator(parts: Parts, annotator: Annotator) -> Parts:
    """Leave out of training and validation what an annotator of a number did not annotate."""
    from probseg.datasets.views import annotated_by

    train, validation = (annotated_by(part, annotator) for part in parts[:2])
    if left_out := len(parts.train) + len(parts.validation) - len(train) - len(validation):
        print(f"{left_out} images that annotator {annotator} did not annotate are not trained on")
    return parts._replace(train=train, validation=validation)


def _check_model(name: str, given: Mapping[str, Any]) -> None:
    """Check that there is a model of a name, and that it takes options.

    Raises:
        UnknownNameError: There is none.
        OptionError: It does not take one, or two places say what only one should.
    """
    constructor = registry("models")[name]
    if given.keys() & {"name", "like"}:
        raise OptionError(f"the model is the first argument, {name}; leave model.name out of --set")
    owner = f"model {name!r}"
    check_no_training(constructor, given, owner=owner, place="--set training.{option}=…")
    check_given(constructor, given, owner=owner)


def _check_folder(out: Path) -> None:
    """Check that a folder is new, empty or a run's.

    Raises:
        OptionError: It is not.
    """
    if out.exists() and not out.is_dir():
        raise OptionError(f"--out {out} is a file; give a folder")
    from probseg.datasets.formats.files import shorten

    names = [file.name for file in out.glob("[!.]*")] if out.exists() else []
    if set(names) - {SPLIT} and "run.json" not in names:
        raise OptionError(
            f"--out {out} holds other files ({shorten(sorted(names), ', ')}); give a new folder, "
            "or that of a run, which goes on"
        )


def _settings(chosen: dict[str, Any]) -> TrainingSettings:
    from probseg.training.settings import TrainingSettings

    check_options(TrainingSettings, chosen, owner="training")
    return TrainingSettings(**chosen)


def _fit(model: Any, parts: Parts, settings: TrainingSettings, out: Path) -> None:
    """Train, or go on, and say how far it is where no progress bar can."""
    from probseg.training import fit
    from probseg.training.trainer import RoundReport, duration

    log = [] if sys.stderr.isatty() else [RoundReport(_log, settings.max_steps)]
    with as_typed("training", out="--out"):
        result = fit(model, *parts[:2], settings, out=out, callbacks=log)
    name, best = settings.monitor, "lowest" if settings.monitor == "loss" else "best"
    print(
        f"trained {result.steps} steps in {duration(result.seconds)}; the validation {name} was "
        f"{best}, {result.best_value:.4g}, at step {result.best_step}"
    )


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(
    data: Dataset, parts: Parts, model: Any, chosen: Mapping[str, Any], settings: TrainingSettings
) -> None:
    """Print what was chosen, options as they are given with ``--set``."""
    from probseg.training.execution import choose_execution

    execution = choose_execution(settings)
    cpu = execution.device.type == "cpu"
    size = tuple(data[0].image.shape[-2:])
    weights = sum(parameter.numel() for parameter in model.parameters())
    sizes = ", ".join(f"{len(part)} {name}" for name, part in parts._asdict().items())
    print(
        f"data: {data.provenance}, {counted(data)}, "
        f"{size[0]}x{size[1]} pixels, {data.channels} channels, {data.classes} classes, "
        f"up to {data.annotators} annotators",
        f"parts: {sizes}; a group is in one part only",
        f"model: {model.spec['name']}, {weights:,} parameters; {_as_set('model', chosen)}",
        f"training: {execution.device}, {'bf16' if execution.bf16 else 'float32'}; "
        f"{_as_set('training', _changed(settings))}",
        f"A {'CPU gets a small network and few steps' if cpu else 'GPU gets a large network'}; "
        "--set changes any of these.",
        sep="\n",
    )
    if cpu and prod(size) > 2 * USUAL_SIZE**2:
        print(f"A CPU takes long on images of this size; --set data.size={USUAL_SIZE} is quicker.")


def _changed(settings: TrainingSettings) -> dict[str, Any]:
    """Return the seed, and the settings that are not the library's own."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    defaults = {field.name: field.default for field in fields(settings) if field.name != "seed"}
    return {name: value for name, value in values.items() if value != defaults.get(name)}


def _as_set(section: str, options: Mapping[str, Any]) -> str:
    """Return options as the words of ``--set``, so that they can be copied.

    >>> _as_set("model", {"beta": 1.0, "encoder": {"channels": [8, 16]}})
    "model.beta=1.0 'model.encoder.channels=[8,16]'"
    """
    return " ".join(
        _as_set(f"{section}.{key}", value)
        if isinstance(value, Mapping)
        else shlex.quote(f"{section}.{key}={str(value).replace(' ', '')}")
        for key, value in options.items()
    )


def _next_commands(options: argparse.Namespace, data: Dataset, parts: Parts) -> list[list[str]]:
    """Return what to type next: a prediction of a test image, if it is a file, and the scores."""
    where = ["--root", str(options.root)] if options.root else []
    of_data = [one for one in options.set if one.startswith("data.")]
    where += ["--seed", str(options.seed)] if options.seed else []
    where += ["--protocol", options.protocol] if options.protocol else []
    again = ["probseg", "evaluate", str(options.out), "--data", options.data, *where]
    commands = [[*again, *(["--set", *of_data] if of_data else [])]]
    name = parts.test.ids[0] if parts.test.ids else ""
    files = (Path(options.data) / "images").glob(f"{glob.escape(name)}.*")
    if name and (image := next(files, None)) is not None:
        predict = ["probseg", "predict", str(options.out), str(image)]
        commands.insert(0, [*predict, "--out", str(options.out / "predicted")])
    return commands


def _draw(model: Any, test: Dataset, scores: Scores, path: Path) -> None:
    """Draw samples beside the annotations of the image on which annotators differ most."""
    import numpy as np
    import torch

    from probseg.datasets.annotators import presence
    from probseg.datasets.mask_kinds import ignore_index_of
    from probseg.plots import Block, hide_ignored, sample_sheet
    from probseg.utils.atomic_files import atomic_file
    from probseg.utils.tensors import as_classes

    index = int(np.argmax(np.nan_to_num(scores["annotator-diversity"])))
    batch = test.batch([index])
    generator = torch.Generator().manual_seed(0)
    probabilities = model.sample(batch.image, _SHOWN, generator=generator)[:, 0]
    block = Block.of_probabilities(probabilities.numpy())
    masks = as_classes(batch.masks[presence(batch.masks, batch.present)])  # who annotated it
    figure = sample_sheet(
        batch.image[0].numpy(),
        hide_ignored(masks.numpy(), ignore_index_of(test)),
        {scores.subject: block},
        title=f"image {scores.ids[index]}",
        classes=test.classes,
    )
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
