"""A training step and samples of every family, with the networks of the suite ``families``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.speed.comparison import Candidate, Comparison, Settings, compare
from benchmarks.speed.sample import Sampling
from benchmarks.speed.train import Step
from benchmarks.suite.definition import read_suite
from benchmarks.suite.files import find

DATASET = "lidc"  # whose settings of the profile ``quick`` the models have
SIZES = {"size": 64, "in_channels": 1, "classes": 2}


def comparisons(settings: Settings) -> Iterator[Comparison]:
    """Yield the tables of this topic."""
    models = family_models()
    size = {"size": SIZES["size"], "device": settings.device}
    batch = settings.size(16, 2)
    steps = [
        Candidate(name=name, make=Step, options=size | {"batch": batch, "model": model})
        for name, model in models.items()
    ]
    title = f"Training step of each family, {batch} images of {SIZES['size']} × {SIZES['size']}"
    notes = ["Models that learn from all annotators at once see four masks of each image."]
    yield compare(title, steps, settings, notes=notes)
    few, many = settings.size(16, 2), settings.size(100, 3)
    for images, count in ((settings.size(8, 1), few), (1, many)):
        yield compare(
            f"{count} samples of {images} image{'s' * (images > 1)} by each family",
            [
                Candidate(
                    name=name,
                    make=Sampling,
                    options=size | {"batch": images, "count": count, "model": model},
                )
                for name, model in models.items()
            ],
            settings,
        )


def family_models() -> dict[str, dict[str, Any]]:
    """Return what builds each row of the suite, the PU-Net first, all with the same network."""
    suite = read_suite(find("families"))
    settings = suite.profiles["quick"]
    models = {}
    for name in suite.all.models:
        row = suite.models[name]
        built = row.model({**settings.resolve(name, DATASET), **row.settings})
        sizes = {key: SIZES[key] for key in ("in_channels", "classes")}
        models[name] = {**(built or {}), **sizes}
    return models
