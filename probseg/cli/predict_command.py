"""``predict``: samples, mean, standard deviation and contours of anybody's images."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probseg
from probseg.errors import DataError, OptionError, ProbsegError
from probseg.utils.progress import progress_bar

if TYPE_CHECKING:
    from probseg.cli.scaling import Scaling


def run(options: argparse.Namespace) -> int:
    """Predict every image, say which could not be, and return exit status 1 if one could not."""
    from probseg.cli.scaling import make_scaling

    _check(options)
    scaling = make_scaling(options.window)
    todo = _folders(options)
    model = _model(options)
    print(f"{model.spec['name']}, {options.n} samples an image; {scaling}", file=sys.stderr)
    faults = []
    with progress_bar("predicting", len(todo)) as advance:
        for file, folder in todo.items():
            try:
                _predict(model, file, folder, scaling, options)
                print(folder)
            except ProbsegError as error:
                faults.append(str(error))
            advance(1)
    for fault in faults:
        print(f"{options.parser.prog}: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _check(options: argparse.Namespace) -> None:
    for name, low in {"n": 1, "micro_batch": 1, "seed": 0}.items():
        if getattr(options, name) < low:
            raise OptionError(f"{name.replace('_', '-')} is {getattr(options, name)}, below {low}")
    if options.out.exists() and not options.out.is_dir():
        raise OptionError(f"--out {options.out} is a file; give a folder")


def _folders(options: argparse.Namespace) -> dict[Path, Path]:
    """Return the folder to make for each image that is to be predicted.

    Raises:
        OptionError: An image is of no kind that can be read, or two would go to one folder.
        DataError: One was predicted before, and nobody said what to do about that.
    """
    from probseg.datasets.formats.images import SUFFIXES, stem_and_suffix

    names = {file: stem_and_suffix(file.name) for file in dict.fromkeys(options.images)}
    for file, (_, suffix) in names.items():
        if not suffix:
            raise OptionError(f"{file} is none of {', '.join(SUFFIXES)}")
    stems = Counter(stem for stem, _ in names.values())
    for stem in (stem for stem, count in stems.items() if count > 1):
        twice = " and ".join(str(file) for file, (other, _) in names.items() if other == stem)
        raise OptionError(f"{twice} would both go to {options.out / stem}; predict them apart")
    folders = {file: options.out / stem for file, (stem, _) in names.items()}
    there = [folder for folder in folders.values() if folder.exists()]
    if there and options.existing == "refuse":
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise DataError(
            f"{there[0]}{more} exist already; nothing was done (--existing skip leaves them, "
            "--existing replace predicts them anew)"
        )
    skip = options.existing == "skip"
    return {file: folder for file, folder in folders.items() if not (skip and folder.exists())}


def _model(options: argparse.Namespace) -> Any:
    """Load the model onto the device."""
    path = options.model / "model.safetensors" if options.model.is_dir() else options.model
    model = probseg.load(path)
    import torch

    accelerated = "cuda" if torch.cuda.is_available() else "cpu"
    name = accelerated if options.device == "auto" else options.device
    try:
        return model.to(name)
    except (RuntimeError, AssertionError) as error:  # torch has no error of its own for this
        raise OptionError(
            f"--device {name} cannot be used: {str(error).splitlines()[0]}"
        ) from error


def _predict(
    model: Any, file: Path, folder: Path, scaling: Scaling, options: argparse.Namespace
) -> None:
    """Predict one image into one folder, which is there as a whole or not at all."""
    from probseg.cli.predicted_files import write_prediction
    from probseg.cli.sampling import predict
    from probseg.cli.scaling import read_image
    from probseg.errors import InputError

    image = read_image(file, scaling)
    try:
        predicted = predict(
            model, image.values, options.n, seed=options.seed, at_once=options.micro_batch
        )
    except InputError as error:
        raise DataError(f"{file}: {error}") from error
    about = {
        "image": str(file),
        "model": str(options.model),
        "spec": model.spec,
        "samples": options.n,
        "seed": options.seed,
        "values": str(scaling),
        "probseg": probseg.__version__,
    }
    write_prediction(folder, image, predicted, about)
