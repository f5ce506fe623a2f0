"""The Sinkhorn divergence: solvers side by side, and its share of a training step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.speed.contest import Contest, Disagreement, Entry, hold
from benchmarks.speed.options import Options
from benchmarks.speed.solvers import SOLVERS, Divergence
from benchmarks.speed.term import Step, Term

# Relative, in single precision: the last temperature, 0.0025, amplifies the rounding of the costs.
VALUE, GRADIENT = 1e-4, 1e-2
NEAR = 0.2  # of the value, where another problem is solved: without debiasing, or without blur
AIM = "at most 3 %"
MICRO_BATCHES = 4

Answer = dict[str, Any]


def contests(options: Options) -> list[Contest]:
    """Return the tables of this topic."""
    return [_solvers(options), _share(options)]


def _solvers(options: Options) -> Contest:
    known = {"batch": options.size(32, 2), "samples": options.size(16, 3), "latent": 6}
    first, *others = list(SOLVERS)[: 2 if options.small else None]
    entries = [
        Entry(
            name=name,
            make=Divergence,
            options={"solver": name, "device": options.device, **known},
            agree=None if name == first else same if SOLVERS[name].same else near,
        )
        for name in (first, *others)
    ]
    return hold(
        "Divergence of {batch} pairs of {samples} points, L = {latent}, forward and "
        "backward".format(**known),
        entries,
        rounds=options.rounds,
        notes=["probseg's is GeomLoss; “stacked” goes through the same iterations in one tensor."],
        watch=options.watch,
    )


def _share(options: Options) -> Contest:
    batch, size = options.size(32, 4), options.size(128, 16)
    known = {"batch": batch, "device": options.device}
    step = f"the cSAE's step, {batch} images of {size} × {size}"
    variants: dict[str, dict[str, Any]] = {
        "its divergence": {},
        f"the same in {MICRO_BATCHES} micro-batches": {"parts": MICRO_BATCHES},
        "weights by density": {"divergence": {"weights": "density"}},
        "stacked": {"divergence": {"solver": "stacked"}},
        f"stacked, {MICRO_BATCHES} micro-batches": {
            "parts": MICRO_BATCHES,
            "divergence": {"solver": "stacked"},
        },
    }
    entries = [Entry(name=step, make=Step, options=known | {"size": size})]
    for name in list(variants)[: 1 if options.small else None]:
        options_of = {"parts": 1, "divergence": {}} | known | variants[name]
        entries.append(Entry(name=name, make=Term, options=options_of))
    contest = hold(
        "Share of the divergence in a training step",
        entries,
        rounds=options.rounds,
        watch=options.watch,
    )
    shares = ", ".join(f"{row.name} {row.ratio:.2%}" for row in contest.rows[1:])
    return replace(contest, notes=[f"Of the step: {shares} (aim: {AIM})."])


def same(ours: Answer, theirs: Answer) -> str:
    """Return how well two answers agree that should be equal.

    Raises:
        Disagreement: By less than single precision allows.
    """
    value, gradient = (_difference(ours[what], theirs[what]) for what in ("value", "gradient"))
    if value > VALUE or gradient > GRADIENT:
        raise Disagreement(f"values differ by {value:.1e}, gradients by {gradient:.1e}")
    return f"value to {value:.0e}, gradient to {gradient:.0e}{_prepared(theirs)}"


def near(ours: Answer, theirs: Answer) -> str:
    """Return how near an answer is that solves a neighbouring problem.

    Raises:
        Disagreement: It is another one altogether.
    """
    excess = float(theirs["value"].mean() / ours["value"].mean()) - 1
    if abs(excess) > NEAR:
        raise Disagreement(f"mean values differ by {excess:+.0%}")
    left, right = ours["gradient"].ravel(), theirs["gradient"].ravel()
    cosine = float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    return f"value {excess:+.1%}, gradient's cosine {cosine:.2f}{_prepared(theirs)}"


def _prepared(answer: Answer) -> str:
    seconds = answer["preparation"]
    return f"; {seconds:.0f} s to get ready" if seconds > 5 else ""


def _difference(left: Any, right: Any) -> float:
    """Return the norm of the difference in terms of the right one's norm."""
    return float(np.linalg.norm(left - right) / np.linalg.norm(right))
