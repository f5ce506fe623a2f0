"""The suite: which rows and data sets a benchmark has, and every hyper-parameter, from TOML."""

from __future__ import annotations

import inspect
import textwrap
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import probseg
from benchmarks.suite.checks import option_problems, problems, row_problems
from benchmarks.suite.files import DEFAULT_SUITE, SuiteFile, lay_over, read_file, suites
from benchmarks.suite.settings import MODEL, OF_PARTS
from probseg.options import named_parameters
from probseg.registry import PARTS, Constructor, registry

WIDTH = 100  # of listings


@dataclass(frozen=True)
class SuiteRow:
    """One row of the table: a trained model with its options, or a baseline without training."""

    name: str
    description: str = ""
    build: str | None = None  # a name in probseg.models
    baseline: str | None = None  # a name in benchmarks.jobs.predictors
    takes: Sequence[str] = ()  # the settings that are options of this model
    plugin: str | None = None  # the distribution that offers the model
    projected: bool = False  # whether to score samples of the projected prior as well
    stratified: bool = False  # whether to score stratified samples of the prior as well
    latents: Sequence[str] = ()  # other latents to score too: noise, swapped
    settings: Mapping[str, Any] = field(default_factory=dict)  # make the row, so nothing wins
    options: Mapping[str, Any] = field(default_factory=dict)  # of the model, beside the settings

    def model(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the arguments of ``probseg.build``, or None for a baseline."""
        if self.build is None:
            return None
        taken = {key: settings[key] for key in self.takes if key in settings}
        for setting, (part, option) in OF_PARTS.items():
            if part in taken and setting in settings and _takes(part, taken[part], option):
                taken[part] = {**_mapping(taken[part]), option: settings[setting]}
        return {"name": self.build, **taken, **self.options}


def _takes(part: str, chosen: str | Mapping[str, Any], option: str) -> bool:
    """Return whether a part takes an option; our own parts do, which are not imported for it."""
    name, parts = str(_mapping(chosen).get("name")), registry(PARTS[part])
    offers = parts.offers().get(name, [])
    if name not in parts or any(offer.source == "probseg" for offer in offers):
        return True
    known = named_parameters(parts[name])
    return option in known or any(p.kind is p.VAR_KEYWORD for p in known.values())


def _mapping(part: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": part} if isinstance(part, str) else part


@dataclass(frozen=True)
class Profile:
    """How everything is trained: settings for all, then for one model, then for one data set."""

    name: str
    description: str
    folds: Sequence[int]
    settings: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what the command line sets

    def resolve(self, row: str, dataset: str) -> dict[str, Any]:
        """Return the settings of one row on one data set; the more particular ones win."""
        particular = self.models.get(row, {}), self.datasets.get(dataset, {})
        return {**self.settings, **particular[0], **particular[1], **self.overrides}


@dataclass(frozen=True)
class Selection:
    """What ``--all`` runs; models and baselines are also the default of every other command."""

    datasets: tuple[str, ...]
    models: tuple[str, ...]
    baselines: tuple[str, ...]


@dataclass(frozen=True)
class Suite:
    """A suite, parsed and checked."""

    file: SuiteFile
    all: Selection
    datasets: Mapping[str, Mapping[str, Any]]  # options of the data sets' constructors
    models: Mapping[str, SuiteRow]
    profiles: Mapping[str, Profile]
    absent: Mapping[str, str] = field(default_factory=dict)  # row to the plugin that it needs

    def check_options(self) -> None:
        """Check that models, parts and data sets take the options of the suite; needs torch.

        Raises:
            OptionError: One does not; the message has a line for each, as that of ``read_suite``.
        """
        self.file.refuse(option_problems(_installed(self.file.merged)[0]))

    def with_installed(self, rows: Iterable[str]) -> Suite:
        """Return the suite with a row for each of ``rows`` that it lacks, each the name of a model.

        Such a row takes every setting that is an option of its model, which is imported.

        Raises:
            PluginError: The plugin that offers a model is broken.
        """
        missing = [name for name in rows if name not in self.models]
        installed = {name: _row_of_model(name, probseg.models[name]) for name in missing}
        return replace(self, models={**self.models, **installed})


def read_suite(path: Path = DEFAULT_SUITE) -> Suite:
    """Read a suite file, and what it extends, and check both.

    Raises:
        OptionError: A file is missing or is not valid TOML, or makes no sense; the message has one
            line a problem, with the file, the key path and the nearest valid name.
    """
    file = read_file(path)
    data, absent = _installed(file.merged)
    file.refuse(problems(data))
    file.refuse(row_problems(data))
    return Suite(
        file=file,
        all=Selection(**{kind: tuple(names) for kind, names in data["all"].items()}),
        datasets=data.get("datasets", {}),
        models={name: _row(name, data["models"]) for name in data["models"]},
        profiles={name: Profile(name, **table) for name, table in data["profiles"].items()},
        absent=absent,
    )


def _installed(suite: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a suite without the rows whose plugin is not installed, and these with the plugin.

    The suite is not checked yet, so anything may be of a wrong type.
    """
    given = suite.get("models")
    tables = given if isinstance(given, Mapping) else {}
    rows = {name: row for name, row in tables.items() if isinstance(row, Mapping)}
    absent = {name: str(row["plugin"]) for name, row in rows.items() if _lacks_plugin(row)}
    for name, row in rows.items():
        if row.get("like") in [*absent]:
            absent[name] = absent[row["like"]]
    if not absent:
        return dict(suite), {}
    listed = [name for name in suite["all"]["models"] if name not in [*absent]]
    left = {name: row for name, row in suite["models"].items() if name not in absent}
    return {**suite, "models": left, "all": {**suite["all"], "models": listed}}, absent


def _lacks_plugin(row: Mapping[str, Any]) -> bool:
    return "plugin" in row and str(row.get("build")) not in probseg.models


def _row(name: str, rows: Mapping[str, Mapping[str, Any]]) -> SuiteRow:
    own = {key: value for key, value in rows[name].items() if key != "like"}
    shared = dict(rows[rows[name]["like"]]) if "like" in rows[name] else {}
    shared.pop("description", None)  # of the other row
    return SuiteRow(name, **lay_over(shared, own))


def _row_of_model(name: str, model: Constructor) -> SuiteRow:
    options = named_parameters(model)
    takes = [setting for setting in MODEL if setting in options]
    description = (inspect.getdoc(model) or "").partition("\n")[0].rstrip(".")
    return SuiteRow(name, description, build=name, takes=takes)


def list_suites() -> str:
    """Return the suites that come with the benchmark, without checking them."""
    read = {name: path.read_text(encoding="utf-8") for name, path in suites().items()}
    descriptions = {n: tomllib.loads(text).get("description", "") for n, text in read.items()}
    return _section("suites (--suite NAME)", descriptions)


def list_suite(suite: Suite) -> str:
    """Return all suites, and what one of them has."""
    named = suite.all.models + suite.all.baselines
    rows = {
        f"{name}*" if name in named else name: row.description for name, row in suite.models.items()
    }
    profiles = {name: profile.description for name, profile in suite.profiles.items()}
    datasets = textwrap.fill(", ".join(probseg.datasets), WIDTH - 2, break_on_hyphens=False)
    built = {row.build for row in suite.models.values()}
    others = ", ".join(name for name in probseg.models if name not in built)
    parts = [
        list_suites(),
        _section(f"rows of {suite.file.path.stem} (--models NAME …; * without --models)", rows),
        *([_section("rows that need a plugin", suite.absent)] if suite.absent else []),
        *(["models without a row (--models NAME … too):\n  " + others] if others else []),
        _section("profiles (--profile NAME)", profiles),
        "data sets (--datasets NAME …):\n" + textwrap.indent(datasets, "  "),
    ]
    return "\n\n".join(parts)


def _section(title: str, descriptions: Mapping[str, str]) -> str:
    width = max(map(len, descriptions)) + 4
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * width)
    lines = [wrap.fill(f"  {n}".ljust(width) + (text or "–")) for n, text in descriptions.items()]
    return "\n".join([f"{title}:", *lines])
