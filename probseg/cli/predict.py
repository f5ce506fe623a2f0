"""``probseg predict``: samples, mean, standard deviation and contours of images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probseg._version import __version__
from probseg.cli.opening import checkpoint_of
from probseg.cli.parser import Parser, add_stratified
from probseg.cli.preprocessing import add_as_is, check_agreement, parse_size, parse_window
from probseg.errors import DataError, InputError, OptionError, ProbsegError
from probseg.options import check_integer
from probseg.utils.imports import require
from probseg.utils.progress import progress_bar

if TYPE_CHECKING:
    from probseg.datasets.preprocessing import Preprocessing

SUMMARY = "write samples, mean, standard deviation and contours of images"
EXAMPLES = """
examples:
  %(prog)s model.safetensors scans/*.png --out predicted
  %(prog)s model.safetensors case.nii.gz --out predicted -n 64 --seed 1
  %(prog)s run scans/*.png --out predicted --existing skip
  %(prog)s run slide.tif --out predicted --tile 1024
  %(prog)s old.safetensors ct.nii.gz --out predicted --window=-1000,400 --size 128

What was done to the images that the model learnt from (size, window, crop) is done to each image,
and undone in what is written; the files of models from before say nothing of it, so tell it with
--window and --size.

Each image gets a folder in DIR with the samples as label maps, mean and standard deviation of the
foreground's probability, contours.png and about.json. NIfTI in, NIfTI out, on the same voxels, also
of NRRD and MHA; other images give PNG, mean and standard deviation as 16 bits, of which 65535 is 1.
"""

_WHY_EMPTY = (
    "if something should be there, the images are unlike those that the model learnt from (kind, "
    "size, window), or it was trained too short: look at contours.png, and score it with probseg "
    "evaluate"
)


def add_arguments(parser: Parser) -> None:
    """Add the arguments of ``predict``."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a checkpoint or its folder")
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help=".png, .jpg, .npy, .nii.gz, .dcm, …"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("-n", type=int, default=16, metavar="N", help="samples an image (16)")
    add_stratified(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every image (0)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1")
    parser.add_argument(
        "--window",
        metavar="LOW,HIGH",
        help="values that become 0 and 1 (default: as the model learnt or, where its file does not "
        "say, 0 and 255 of 8-bit images and each channel's own extremes of any others)",
    )
    parser.add_argument(
        "--size",
        metavar="PIXELS",
        help="the data.size that the model was trained at (default: as its file says); results "
        "have the image's own size",
    )
    add_as_is(parser)
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="sample images that do not fit into memory in parts of this edge (same result)",
    )
    parser.add_argument(
        "--existing",
        choices=["refuse", "skip", "replace"],
        default="refuse",
        help="what to do with images that were predicted before (refuse)",
    )


def run(options: argparse.Namespace) -> int:
    """Predict every image, print which failed, and return exit status 1 if one did."""
    require("matplotlib", extra="plot", for_="probseg predict")  # before any work is done
    check_integer("-n", options.n)
    check_integer("--seed", options.seed, low=0)
    if options.tile is not None:
        check_integer("--tile", options.tile)
    asked = {
        "size": ("--size ", parse_size(options.size)),
        "window": ("--window ", parse_window(options.window)),
    }
    folders = _folders(options.images, options.out, existing=options.existing)
    model = _load_model(options.model, options.device)
    if options.stratified:
        from probseg.metrics.model_evaluation import check_stratified

        check_stratified(model)
    todo = _preprocessing(model, asked, as_is=options.as_is)
    samples = f"{model.spec['name']}, {options.n} samples an image"
    print(f"{samples}; {_told(model, todo)}", file=sys.stderr)
    problems, marked, unseen = [], dict[Path, bool](), list[float]()
    with progress_bar("predicting", len(folders)) as advance:
        for file, folder in folders.items():
            try:
                marked[file], outside = _predict(model, file, folder, todo, options)
                unseen += [outside] * (outside > 0)
                print(folder)
            except ProbsegError as error:
                problems.append(str(error))
            advance(1)
    for problem in problems:
        print(f"{options.parser.prog}: {problem}", file=sys.stderr)
    if unseen:
        print(_partly_seen(unseen, len(marked), todo), file=sys.stderr)
    if empty := [file for file, any_ in marked.items() if not any_]:
        print(
            f"no sample of {len(empty)} of {len(marked)} images marks anything, such as of "
            f"{empty[0]}; {_WHY_EMPTY}",
            file=sys.stderr,
        )
    return 1 if problems else 0


def _check_out(out: Path) -> None:
    """Check that a folder is new, or holds nothing but earlier predictions and no pictures.

    Raises:
        OptionError: It does not.
    """
    from probseg.datasets.formats.files import shorten
    from probseg.datasets.formats.images import stem_and_suffix
    from probseg.datasets.mask_folders import ABOUT

    if out.exists() and not out.is_dir():
        raise OptionError(f"--out must be a folder, not the file {out}")
    others = [
        entry.name
        for entry in (sorted(out.glob("[!.]*")) if out.exists() else ())
        if (not (entry / ABOUT).is_file() if entry.is_dir() else stem_and_suffix(entry.name)[1])
    ]
    if others:
        raise OptionError(
            f"--out {out} holds what probseg predict did not write ({shorten(others, ', ')}), and "
            "probseg score could take that for predictions; give a new folder, or that of earlier "
            "predictions"
        )


def _folders(images: Iterable[Path], out: Path, *, existing: str) -> dict[Path, Path]:
    """Return the folder to write for each image that is to be predicted.

    Raises:
        OptionError: An image is of no kind that can be read, two would go to one folder, or ``out``
            holds other files.
        DataError: One was predicted before, and ``existing`` is ``"refuse"``.
    """
    from probseg.datasets.formats.images import SUFFIXES, stem_and_suffix

    _check_out(out)
    files: dict[Path, Path] = {}  # by the folder of their predictions
    for file in dict.fromkeys(images):
        stem, suffix = stem_and_suffix(file.name)
        if not suffix:
            raise OptionError(f"{file} must be one of {', '.join(SUFFIXES)}")
        other = files.setdefault(out / stem, file)
        if other is not file:
            raise OptionError(
                f"{other} and {file} would both go to {out / stem}; predict them separately"
            )
    done = [folder for folder in files if folder.exists()]
    if done and existing == "refuse":
        more = f" and {len(done) - 1} more" if len(done) > 1 else ""
        raise DataError(
            f"{done[0]}{more} exist already; nothing was done (--existing skip leaves them, "
            "--existing replace predicts them anew)"
        )
    skipped = set(done) if existing == "skip" else set()
    return {file: folder for folder, file in files.items() if folder not in skipped}


def _load_model(path: Path, device: str) -> Any:
    """Return the model of a checkpoint or its folder, on the device.

    Raises:
        OptionError: The device cannot be used.
    """
    from probseg.sharing.checkpoint import load

    return load(checkpoint_of(path), device=device)


def _preprocessing(
    model: Any, asked: Mapping[str, tuple[str, Any]], *, as_is: bool
) -> Preprocessing:
    """Return what to do to each image: what the model's file says, or else the options.

    Raises:
        OptionError: They contradict each other.
    """
    from dataclasses import replace

    from probseg.datasets.preprocessing import Preprocessing, wanted

    given = {name: one for name, one in asked.items() if one[1] is not None}
    learnt = Preprocessing() if as_is else model.preprocessing or Preprocessing()
    check_agreement(learnt, given)
    values = {name: value for name, (_, value) in given.items()}
    resize = "pad" if learnt.size else "stretch"  # as all images were before files told it
    mine = wanted(resize=resize, **values)
    if learnt.resize is None and mine.size:
        learnt = replace(learnt, size=mine.size, resize=mine.resize)
    if learnt.normalise is None:
        learnt = replace(learnt, normalise=mine.normalise, window=mine.window)
    return learnt


def _told(model: Any, todo: Preprocessing) -> str:
    """Return in words what is done to images, and on what ground."""
    learnt = model.preprocessing
    if learnt is None:
        return f"the model's file does not say what was done to its images; here {todo}"
    size = "" if todo.resize else f"; images keep their own size, it learnt from {_pixels(learnt)}"
    return f"as the model learnt: {todo}{size}"


def _pixels(learnt: Preprocessing) -> str:
    return "{}x{} pixels".format(*learnt.size) if learnt.size else "an unknown one"


def _partly_seen(shares: list[float], images: int, todo: Preprocessing) -> str:
    """Return in words which share of images lies outside of the crop that the model sees."""
    low, high = (f"{100 * share:.0f}" for share in (min(shares), max(shares)))
    share = low if low == high else f"{low} to {high}"
    crop = "{}x{}".format(*todo.crop) if todo.crop else "part"
    return (
        f"of {len(shares)} of {images} images the model saw the middle {crop} only, as it learnt "
        f"from such crops; {share} % of each was not seen, and is background in what was written"
    )


def _predict(
    model: Any, file: Path, folder: Path, todo: Preprocessing, options: argparse.Namespace
) -> tuple[bool, float]:
    """Predict one image into one folder, which is written completely or not at all.

    Returns whether a sample marks anything, and which share of the image the model did not see.
    """
    from probseg.cli.prediction import predict_at, read_image, write_prediction
    from probseg.datasets.formats.nifti import A_VOLUME

    image = read_image(file, todo)
    if len(image.pixels) != model.in_channels:
        raise DataError(
            f"{file} has {len(image.pixels)} channels, but the model was trained on images of "
            f"{model.in_channels}; convert it, or give a model of such images; {A_VOLUME}"
        )
    try:
        prediction = predict_at(
            *(model, image.pixels, options.n),
            seed=options.seed,
            done=todo,
            stratified=options.stratified,
            tile=options.tile,
        )
    except InputError as error:
        raise DataError(f"{file}: {error}") from error
    about = {
        "image": str(file),
        "model": str(options.model),
        "spec": model.spec,
        "samples": options.n,
        "seed": options.seed,
        "stratified": options.stratified,
        "images": str(todo),
        "preprocessing": todo.to_plain(),
        "unseen": prediction.unseen,
        "tile": options.tile,
        "probseg": __version__,
    }
    write_prediction(folder, image, prediction, about)
    return bool(prediction.labels.any()), prediction.unseen
