"""Results: one JSON file an experiment, checked against record and digest when it is read."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.jobs.output_folder import set_aside
from benchmarks.jobs.plan import Experiment
from benchmarks.jobs.provenance import Provenance
from benchmarks.jobs.records import check_keys, from_json, to_json
from probseg.errors import DataError
from probseg.utils.atomic_files import write_json

SCHEMA_VERSION = 2  # raise it with the keys, and where a score of a name means another thing
_ADDED = ("schema", "status", "key", "config", "digest")  # in JSON, beside the fields of the record

# Variant, such as "base", to metric to one value an image; None is undefined.
VariantScores = Mapping[str, Mapping[str, Sequence[float | None]]]


class ResultError(DataError):
    """A result that is damaged, of another schema, experiment or data, or at odds with itself."""


@dataclass(frozen=True)
class DataSummary:
    """The data of a result: what they are, and how many images each part has."""

    fingerprint: str
    provenance: str
    split: str  # in words
    train: int  # images, as the next two
    validation: int
    test: int
    channels: int | None = None
    classes: int | None = None
    annotators: int | None = None


@dataclass(frozen=True)
class Timings:
    """When an experiment finished, and how many seconds its parts took."""

    finished: str | None = None  # ISO 8601, in UTC
    training_s: float | None = None
    evaluation_s: float | None = None
    wall_s: float | None = None


@dataclass(frozen=True)
class TrainingSummary:
    """The model of a result and the course of its training, without the history."""

    spec: Mapping[str, Any]  # of the model, complete
    parameters: int
    steps: int
    best_step: int
    best_validation_loss: float | None
    stopped_early: bool
    micro_batch: int | None


@dataclass(frozen=True)
class TestImages:
    """The images that were scored, in the order of the scores."""

    __test__ = False  # no test of pytest's

    index: Sequence[int] = ()  # into the data set
    group: Sequence[str] = ()  # such as a patient


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one experiment, or why it failed."""

    experiment: Experiment
    error: str | None = None  # the traceback of a failed experiment
    data: DataSummary | None = None  # of an experiment that did not fail while it was prepared
    provenance: Provenance
    timings: Timings = Timings()
    training: TrainingSummary | None = None
    history: Sequence[Mapping[str, float | None]] = ()  # one record a validation round
    images: TestImages = TestImages()
    scores: VariantScores = field(default_factory=dict)
    means: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)  # over images

    @property
    def finished(self) -> bool:
        """Whether the experiment was done to its end."""
        return self.error is None

    @property
    def status(self) -> str:
        """The word "finished" or "failed"."""
        return "finished" if self.finished else "failed"

    @property
    def tested_on(self) -> DataSummary:
        """The data of a finished result.

        Raises:
            ResultError: The experiment failed before its data were opened.
        """
        if self.data is None:
            raise ResultError(
                f"{self.experiment.label} has no data: it failed before they were opened"
            )
        return self.data

    @property
    def key(self) -> str:
        """Key of the experiment."""
        return self.experiment.key

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything else."""
        return str(self.to_json()["digest"])

    @classmethod
    def from_json(cls, content: object, *, where: str = "result") -> Result:
        """Return a result from what its file holds, after checking it.

        Raises:
            ResultError: It has another schema, was altered, or its parts do not fit together.
        """
        schema = content.get("schema") if isinstance(content, Mapping) else None
        if schema != SCHEMA_VERSION:
            raise ResultError(f"{where} has schema {schema!r}, this code reads {SCHEMA_VERSION}")
        keys = [*_ADDED, *_FIELDS]
        try:
            values = check_keys(content, keys, required=keys, where=where)
            experiment = Experiment.from_json(values["config"], where=f"{where}: config")
            record = {"experiment": experiment, **{name: values[name] for name in _FIELDS}}
            result = from_json(cls, record, where=where)
        except DataError as error:
            raise ResultError(str(error)) from error
        _check_consistent(result, values, where)
        return result

    def to_json(self) -> dict[str, Any]:
        """Return what the file of the result holds; undefined scores are null."""
        content = finite(
            {
                "schema": SCHEMA_VERSION,
                "status": self.status,
                "key": self.key,
                "config": self.experiment.to_json(),
                **{name: getattr(self, name) for name in _FIELDS},
            }
        )
        return {**content, "digest": digest(content)}


_FIELDS = [field.name for field in fields(Result) if field.name != "experiment"]  # as JSON has them


def _check_consistent(result: Result, values: Mapping[str, Any], where: str) -> None:
    if digest(values) != values["digest"]:
        raise ResultError(f"{where} was damaged or altered: its digest is not that of its content")
    if result.key != values["key"]:
        raise ResultError(f"{where}: the key {values['key']} is not that of its config")
    if result.status != values["status"] or (result.finished and result.data is None):
        raise ResultError(f"{where}: status {values['status']!r} does not fit its error and data")
    images = len(result.images.index)
    lengths = {len(v) for variant in result.scores.values() for v in variant.values()}
    if lengths - {images} or len(result.images.group) != images:
        raise ResultError(f"{where}: scores and groups are not one per image ({images} images)")


def result_path(experiment: Experiment, out: Path) -> Path:
    """Return where the result of an experiment is kept."""
    return experiment.folder(out) / "result.json"


def read_result(path: Path) -> Result:
    """Read and check a result, which may be gzipped.

    Raises:
        ResultError: It is no JSON, or see :meth:`Result.from_json`.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            content = json.load(file, parse_constant=_refuse)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise ResultError(f"cannot read the result {path}: {error}") from error
    return Result.from_json(content, where=str(path))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def digest(content: Mapping[str, Any]) -> str:
    """Return 64 hex digits that differ wherever the JSON of a result does."""
    others = {key: value for key, value in content.items() if key != "digest"}
    canonical = json.dumps(others, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_result(path: Path, result: Result) -> Result:
    """Write a result atomically, and return it as it will be read.

    Raises:
        ResultError: Its parts do not fit together.
        WriteError: The disk is full or read-only.
    """
    content = json.loads(json.dumps(result.to_json()))
    read = Result.from_json(content, where=str(path))
    write_json(path, content)
    return read


def finite(value: Any) -> Any:
    """Return records and plain data as plain data, in which NaN and infinity are null."""
    if is_dataclass(value):
        return finite(to_json(value))
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are defined.

    >>> mean([1.0, None, 2.0])
    1.5
    """
    defined = [v for v in values if v is not None and math.isfinite(v)]
    return math.fsum(defined) / len(defined) if defined else None


def means(scores: VariantScores) -> dict[str, dict[str, float | None]]:
    """Return variant to metric to the mean over images."""
    return {
        variant: {name: mean(values) for name, values in metrics.items()}
        for variant, metrics in scores.items()
    }


def finished_result(
    experiment: Experiment, out: Path, fingerprint: str | None = None
) -> Result | None:
    """Return the result of an experiment that is done, on the data that are given; else None."""
    try:
        result = _read_experiment(experiment, out)
    except ResultError:
        return None
    if result is None or not result.finished or _is_on_other_data(result, fingerprint):
        return None
    return result


def set_aside_unusable(experiment: Experiment, out: Path, fingerprint: str) -> None:
    """Set aside a result that is damaged, of another experiment or on other data."""
    path = result_path(experiment, out)
    try:
        result = _read_experiment(experiment, out)
    except ResultError as error:
        set_aside(path, error)
        return
    if result is not None and _is_on_other_data(result, fingerprint):
        made_on = result.tested_on.fingerprint
        reason = f"{path} was made on other data, {made_on}, not {fingerprint}"
        set_aside(path, reason)  # first, so that nobody reads it from the renamed folder
        set_aside(path.parent, reason)


def _is_on_other_data(result: Result, fingerprint: str | None) -> bool:
    made_on = result.data.fingerprint if result.data else None  # a failure may name none
    return None not in (made_on, fingerprint) and made_on != fingerprint


def _read_experiment(experiment: Experiment, out: Path) -> Result | None:
    path = result_path(experiment, out)
    if not path.exists():
        return None
    result = read_result(path)
    if result.key != experiment.key:
        raise ResultError(f"{path} is of another experiment, {result.key}")
    return result
