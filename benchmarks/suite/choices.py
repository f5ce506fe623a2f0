"""What the command line asks for, checked before anything runs and without importing torch."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import probseg
from benchmarks.suite.checks import part_faults
from benchmarks.suite.definition import Suite
from benchmarks.suite.settings import FOLDS
from benchmarks.suite.validation import ChoiceError, check, choose, schema
from probseg.cli import assignments
from probseg.cli.parser import Parser as Parser
from probseg.errors import OptionError


def datasets(options: argparse.Namespace, suite: Suite) -> tuple[str, ...]:
    """Return the data sets asked for.

    Raises:
        ChoiceError: None is, or one is unknown.
    """
    if options.datasets:
        return choose(options.datasets, probseg.datasets, kind="data set")
    if not options.all:
        raise ChoiceError("say what to run: --all, or --datasets NAME …")
    return choose(suite.all["datasets"], probseg.datasets, kind="data set")


def rows(options: argparse.Namespace, suite: Suite) -> tuple[str, ...]:
    """Return the rows asked for, which may be models that have none: models, then baselines.

    Raises:
        ChoiceError: One is unknown.
    """
    wanted = options.baselines
    baselines = suite.all["baselines"] if wanted is None else tuple(wanted)
    models = tuple(options.models or suite.all["models"])
    known = dict.fromkeys([*suite.models, *probseg.models])
    return choose(models + baselines, known, kind="model")


def overrides(given: Iterable[str]) -> dict[str, Any]:
    """Return settings from ``KEY=VALUE``, whose value is TOML or else a plain word.

    Raises:
        ChoiceError: One is no assignment, names no setting or has a wrong value.

    >>> overrides(["max_steps=5", "backbone=unet"])
    {'max_steps': 5, 'backbone': 'unet'}
    """
    chosen = assigned(given)
    settings = schema("suite")
    check(chosen, {**settings["$defs"]["settings"], "$defs": settings["$defs"]}, where="--set")
    for fault in part_faults(chosen):
        raise ChoiceError(f"--set: {fault}")
    return chosen


def assigned(given: Iterable[str]) -> dict[str, Any]:
    """Return names and values from ``KEY=VALUE``, see :func:`probseg.cli.assignments.assigned`.

    Raises:
        ChoiceError: One is no assignment, or two contradict each other.
    """
    try:
        return assignments.assigned(given)
    except OptionError as error:
        raise ChoiceError(str(error)) from None


def check_folds(folds: Iterable[int]) -> None:
    """Refuse folds that are none of the cross-validation's.

    Raises:
        ChoiceError: One is not there.
    """
    for fold in folds:
        if not 0 <= fold < FOLDS:
            known = ", ".join(map(str, range(FOLDS)))
            raise ChoiceError(f"there is no fold {fold}; cross-validation has folds {known}")


def check_seeds(seeds: Iterable[int]) -> None:
    """Refuse seeds that no generator takes.

    Raises:
        ChoiceError: One is negative.
    """
    for seed in seeds:
        if seed < 0:
            raise ChoiceError(f"--seed is {seed}; a seed is a whole number of at least 0")


def check_places(root: Path | None, out: Path | None, device: str) -> None:
    """Refuse a data root that is not there, a folder that is none and a device that no machine has.

    Raises:
        ChoiceError: One is not what it should be.
    """
    if root is not None and not root.exists():
        raise ChoiceError(f"--data-root {root} does not exist; give the place of the data sets")
    if out is not None and out.exists() and not out.is_dir():
        raise ChoiceError(f"--out {out} is a file; give a folder")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ChoiceError(f"--device {device!r} is none of auto, cpu, cuda, cuda:1, mps")


def profile(name: str, device: str) -> str:
    """Return the profile to run; ``auto`` is the paper's on a GPU and the quick one elsewhere."""
    if name != "auto":
        return name
    if device == "auto":
        import torch

        return "paper" if torch.cuda.is_available() else "quick"
    return "paper" if device.startswith("cuda") else "quick"
