"""Model cards: known facts about a model, with missing ones marked unknown."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from probseg._version import __version__
from probseg.datasets.preprocessing import preprocessing_of
from probseg.errors import CheckpointError
from probseg.interfaces import Model
from probseg.utils.atomic_files import write_json

FACTS = "card.json"  # of a run, beside its model

_NO_USE = (
    "Not stated by the author. Nothing here says that this model is fit for decisions about "
    "people: use it for research only."
)
_NO_DATA = "Unknown: the author did not say what this model was trained on."
_NO_IMAGES = (
    "Unknown: the file does not say what was done to the images that the model learnt from."
)
_NO_METRICS = "Unknown: the author gave no measurements."
_NO_LICENCE = "Unknown: ask the author before you use this model."


@dataclass(frozen=True, kw_only=True)
class Card:
    """Facts about a model besides its architecture; its card marks missing ones as unknown.

    Args:
        title: Title of the card; the model's name by default.
        licence: An identifier as the Hugging Face hub has them, such as ``"mit"``.
        intended_use: What the model is for, and what it is not for.
        dataset: Name of the data set that it was trained and measured on.
        data: A sentence or more on that data set: origin, terms, split.
        metrics: Name to value, on data that the model was not trained on.
        measured_on: A sentence on how they were measured.
        provenance: Where the model comes from: code, versions, machine, date.
    """

    title: str | None = None
    licence: str | None = None
    intended_use: str | None = None
    dataset: str | None = None
    data: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    measured_on: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        """Write the facts as JSON, for :func:`read_card`.

        Raises:
            WriteError: The file cannot be written.
        """
        write_json(file, {name: fact for name, fact in vars(self).items() if fact})

    def text(self, model: Model) -> str:
        """Return the card of a model in Markdown, with the metadata that hubs read."""
        title = self.title or f"{model.spec['name']}, a probabilistic segmentation model"
        versions = f"probseg {__version__}, torch {torch.__version__}, Python "
        versions += platform.python_version()
        sections = {
            "Use": _example(model),
            "Intended use": self.intended_use or _NO_USE,
            "Data": self.data or self.dataset or _NO_DATA,
            "Images": _images(model),
            "Metrics": self._metrics_table(),
            "Model": _architecture(model),
            "Provenance": _table({**self.provenance, "saved with": versions}, "", ""),
            "Licence": self.licence or _NO_LICENCE,
        }
        body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
        return f"---\n{self._metadata(title)}\n---\n\n# {title}\n\n{body}\n"

    def _metadata(self, title: str) -> str:
        from huggingface_hub import EvalResult, ModelCardData  # with its network client, only here

        dataset = self.dataset or "unknown"
        results = [
            EvalResult("image-segmentation", dataset, dataset, metric_type=name, metric_value=value)
            for name, value in self.metrics.items()
        ]
        data = ModelCardData(
            library_name="probseg",
            license=self.licence,
            pipeline_tag="image-segmentation",
            tags=["probseg", "probabilistic-segmentation", "uncertainty"],
            model_name=title if results else None,
            eval_results=results or None,
        )
        return data.to_yaml().strip()

    def _metrics_table(self) -> str:
        if not self.metrics:
            return _NO_METRICS
        how = self.measured_on or "How they were measured is not stated."
        rounded = {name: f"{value:.4g}" for name, value in self.metrics.items()}
        return f"{how}\n\n{_table(rounded, 'metric', 'value')}"


def read_card(file: Path) -> Card:
    """Return the card that :meth:`Card.write` wrote, or one without facts if there is no file.

    Raises:
        CheckpointError: It is damaged.
    """
    try:
        facts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        metrics = {name: float(value) for name, value in facts.get("metrics", {}).items()}
        return Card(**{**facts, "metrics": metrics, "provenance": {**facts.get("provenance", {})}})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error}); remove it, and the card says less"
        ) from error


def _example(model: Model) -> str:
    return f"""```python
import torch

import probseg

model = probseg.from_pretrained("FOLDER-OR-REPOSITORY")
image = torch.rand(1, {model.in_channels}, 128, 128)  # scaled as the training images were
samples = model.sample(image, n=16)  # (16, 1, {model.classes}, 128, 128): probabilities
```"""


def _images(model: Model) -> str:
    known = preprocessing_of(model)
    if known is None:
        return _NO_IMAGES
    facts = {name: f"`{value}`" for name, value in known.to_plain().items()}
    return (
        f"What the model learnt from: {known}. `probseg predict` and `model.preprocessing.apply` "
        f"do the same.\n\n{_table(facts, 'what', 'value')}"
    )


def _architecture(model: Model) -> str:
    count = sum(parameter.numel() for parameter in cast("nn.Module", model).parameters())
    parts = {f"`{name}`": f"`{value}`" for name, value in model.spec.items()}
    return f"{count:,} parameters.\n\n{_table(parts, 'choice', 'value')}"


def _table(rows: Mapping[str, Any], left: str, right: str) -> str:
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join([f"| {left} | {right} |", "| --- | --- |", *lines])


def _cell(value: object) -> str:
    return str(value).replace("|", r"\|").replace("\n", " ")
