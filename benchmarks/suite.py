"""The suite: which rows and data sets a benchmark has, and every hyper-parameter, from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.validation import ChoiceError, check, choose, schema

# Settings that are an option of one of the model's parts, wherever the model takes that part.
OF_PARTS = {"n_ot": ("divergence", "samples"), "class_prior": ("decoder", "class_prior")}
DEFAULT_SUITE = Path(__file__).parent / "suite.toml"


@dataclass(frozen=True)
class Entry:
    """One row of the table: a trained model with its options, or a baseline without training."""

    name: str
    description: str = ""
    build: str | None = None  # a name in probseg.models
    baseline: str | None = None  # a name in benchmarks.baselines
    takes: tuple[str, ...] = ()  # the settings that are options of this model
    projected: bool = False  # whether to score samples of the projected prior as well
    options: Mapping[str, Any] = field(default_factory=dict)

    def model(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what ``probseg.build`` is called with, or nothing for a baseline."""
        if self.build is None:
            return None
        taken = {key: settings[key] for key in self.takes if key in settings}
        for setting, (part, option) in OF_PARTS.items():
            if part in taken and setting in settings:
                taken[part] = {**_mapping(taken[part]), option: settings[setting]}
        return {"name": self.build, **taken, **self.options}


def _mapping(part: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": part} if isinstance(part, str) else part


@dataclass(frozen=True)
class Profile:
    """How everything is trained: settings for all, then for one model, then for one data set."""

    name: str
    description: str
    folds: tuple[int, ...]
    settings: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]
    datasets: Mapping[str, Mapping[str, Any]]
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what the command line sets

    def resolve(self, entry: str, dataset: str) -> dict[str, Any]:
        """Return the settings of one row on one data set; the more particular ones win."""
        particular = self.models.get(entry, {}), self.datasets.get(dataset, {})
        return {**self.settings, **particular[0], **particular[1], **self.overrides}


@dataclass(frozen=True)
class Suite:
    """A suite file, parsed and checked."""

    path: Path
    all: Mapping[str, tuple[str, ...]]  # what --all runs: datasets, models, baselines
    datasets: Mapping[str, Mapping[str, Any]]  # options of the data sets' constructors
    models: Mapping[str, Entry]
    profiles: Mapping[str, Profile]


def read_suite(path: Path = DEFAULT_SUITE) -> Suite:
    """Read and check a suite file.

    Raises:
        ChoiceError: The file is missing, is no TOML, or says something that makes no sense.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ChoiceError(f"cannot read the suite {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ChoiceError(f"{path} is no TOML: {error}") from error
    check(data, schema("suite"), where=str(path))
    return _consistent(_parse(path, data))


def _parse(path: Path, data: Mapping[str, Any]) -> Suite:
    return Suite(
        path=path,
        all={kind: tuple(names) for kind, names in data["all"].items()},
        datasets=data.get("datasets", {}),
        models={name: _entry(name, entry) for name, entry in data["models"].items()},
        profiles={name: _profile(name, profile) for name, profile in data["profiles"].items()},
    )


def _entry(name: str, data: Mapping[str, Any]) -> Entry:
    return Entry(name=name, **{**data, "takes": tuple(data.get("takes", ()))})


def _profile(name: str, data: Mapping[str, Any]) -> Profile:
    return Profile(
        name=name,
        description=data["description"],
        folds=tuple(data["folds"]),
        settings=data["settings"],
        models=data.get("models", {}),
        datasets=data.get("datasets", {}),
    )


def _consistent(suite: Suite) -> Suite:
    """Check the references that a schema cannot."""
    choose(suite.all["models"] + suite.all["baselines"], suite.models, kind="model of the suite")
    for profile in suite.profiles.values():
        choose(profile.models, suite.models, kind="model of the suite")
    settings = schema("suite")["$defs"]["settings"]["properties"]
    for entry in suite.models.values():
        choose(entry.takes, settings, kind="setting")
    return suite
