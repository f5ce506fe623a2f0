"""The origin of a run's numbers: data, split, profile, seeds, versions, machine and revision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.jobs.results import Result

Facts = dict[str, list[str]]


def data_facts(results: Sequence[Result]) -> dict[str, Facts]:
    """Return data set to what its results say of it."""
    names = dict.fromkeys(r["config"]["dataset"]["name"] for r in results)
    return {
        name: _data([r for r in results if r["config"]["dataset"]["name"] == name])
        for name in names
    }


def _data(results: Sequence[Result]) -> Facts:
    return {
        "data": _distinct(results, lambda r: r["data"]["provenance"]),
        "fingerprint": _distinct(results, lambda r: r["data"]["fingerprint"][:16]),
        "split": _distinct(results, lambda r: r["data"]["split"]),
        "images": _distinct(results, _images),
    }


def _images(result: Result) -> str:
    data = result["data"]
    return f"{data['train']} to train, {data['validation']} to validate, {data['test']} to test"


def run_facts(results: Sequence[Result]) -> Facts:
    """Return what was run, by which code, on what machine; each value that occurs is named."""
    trained = [r for r in results if r["config"]["model"] is not None]
    return {
        "profile": _distinct(results, lambda r: r["config"]["profile"]),
        "folds": _distinct(trained, lambda r: r["config"]["fold"]),
        "seeds": _distinct(trained, lambda r: r["config"]["seed"]),
        "what": [f"{len(results)} cells, {len(trained)} of them trained"],
        "training": [_duration(sum(r["timings"].get("training_s", 0) for r in results))],
        "finished": _ends(results),
        "revision": _distinct(results, _revision),
        "device": _distinct(results, lambda r: r["provenance"]["machine"].get("device")),
        "machine": _distinct(results, _machine),
        "versions": _distinct(results, _versions),
    }


def _distinct(results: Iterable[Result], tell: Callable[[Result], Any]) -> list[str]:
    return list(dict.fromkeys(str(tell(result)) for result in results))


def _revision(result: Result) -> str:
    git = result["provenance"]["git"]
    changed = ", with changes that are not committed" if git["dirty"] else ""
    return f"{git['revision'] or 'unknown'}{changed}"


def _machine(result: Result) -> str:
    machine = result["provenance"]["machine"]
    told = {"cores": "cores", "threads": "threads of PyTorch"}
    counts = [f"{machine[key]} {what}" for key, what in told.items() if key in machine]
    return ", ".join(filter(None, [machine.get("processor"), *counts, machine.get("system")]))


def _versions(result: Result) -> str:
    return ", ".join(
        f"{name} {version}" for name, version in result["provenance"]["versions"].items()
    )


def _ends(results: Sequence[Result]) -> list[str]:
    times = sorted(r["timings"]["finished"] for r in results if "finished" in r["timings"])
    return list(dict.fromkeys([times[0], times[-1]])) if times else []


def _duration(seconds: float) -> str:
    """Say how long something took.

    >>> _duration(59), _duration(3720)
    ('59 s', '1 h 2 min')
    """
    minutes, hours = round(seconds / 60), int(seconds // 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{hours} h {minutes - 60 * hours} min" if hours else f"{minutes} min"


def settings(results: Sequence[Result]) -> dict[str, str]:
    """Return data set and row to the configuration of its first cell, as JSON."""
    found: dict[str, str] = {}
    for result in results:
        config = result["config"]
        label = f"{config['dataset']['name']} · {config['row']}"
        found.setdefault(label, json.dumps(config, indent=2, ensure_ascii=False))
    return found
