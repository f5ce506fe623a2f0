"""The claims of the paper, and a verdict on each from the results that are there.

A claim is "reproduced" where its rule holds in results of the paper's setting, "not reproduced"
where it does not, and "not tested" where no such results can decide. Results of another setting are
reported, but decide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal, get_args

from benchmarks.reports.analysis import paper
from benchmarks.reports.analysis.correlation import KERNELS
from benchmarks.reports.analysis.paper import Published, departures, published, reservations
from benchmarks.reports.analysis.rules import (
    Evidence,
    Judgement,
    is_best,
    is_correlated,
    is_discardable,
    is_lower_throughout,
    is_more_volatile,
    is_spread,
    rises_early,
)

Outcome = Literal["reproduced", "not reproduced", "not tested"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
HEADINGS: Mapping[Outcome, str] = {
    "reproduced": "Reproduced",
    "not reproduced": "Not reproduced",
    "not tested": "Not tested, though run in another setting",
}
RIVALS = ("punet", "2p-planar")
# Section 5.2, of the PU-Net's samples.
UNDERESTIMATED = ("qubiq-brain-growth", "qubiq-brain-tumor")
OVERESTIMATED = ("qubiq-pancreas", "qubiq-pancreatic-lesion")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one claim on one data set, and why, in plain language."""

    claim: str
    dataset: str
    source: str  # where the paper claims it
    outcome: Outcome
    why: str


@dataclass(frozen=True)
class Claim:
    """One claim of the paper on one data set, and the rule that decides it."""

    text: str
    dataset: str
    source: str
    rows: Sequence[str]  # that must have been run
    rule: Callable[[Evidence], Judgement]


def claims() -> list[Claim]:
    """Return every claim; who is best in which metric is read from the paper's own tables."""
    return [claim for table in published() for claim in _of_dataset(table)]


def _of_dataset(table: Published) -> Iterator[Claim]:
    yield from _of_table(table)
    if table.number == 1:  # of Table 2's data set the paper says that the index tells nothing
        yield from _of_index(table)
        yield from _of_training(table.dataset)
    yield from _of_samples(table.dataset)


def _of_table(table: Published) -> Iterator[Claim]:
    data, source = table.dataset, f"Table {table.number}"
    for metric in KERNELS:
        if table.lowest(metric) == "csae":
            text = f"The cSAE has the lowest {paper.metric_name(metric)} of the three models"
            yield Claim(text, data, source, paper.ROWS, _csae_is_best(metric))
    yield from _flow_helps(table, "w-iou", source)


def _flow_helps(table: Published, metric: str, source: str) -> Iterator[Claim]:
    rows = "2p-planar", "punet"
    if table.value(rows[0], metric).mean < table.value(rows[1], metric).mean:
        name = paper.metric_name(metric)
        text = f"A flow on the posterior alone (2p-planar) lowers the PU-Net's {name}"
        rule = partial(is_best, row=rows[0], rivals=rows[1:], metric=metric)
        yield Claim(text, table.dataset, source, rows, rule)


def _of_index(table: Published) -> Iterator[Claim]:
    data, source = table.dataset, "§5.1 and Table 1"
    text = "The cSAE retains the singular values most: the lowest Gini index of the three models"
    yield Claim(text, data, source, paper.ROWS, _csae_is_best("gini"))
    yield from _flow_helps(table, "gini", source)
    text = "The Gini index is correlated with Ŵ: the lower, the better"
    yield Claim(text, data, "§5.1", paper.ROWS, is_correlated)


def _of_training(data: str) -> Iterator[Claim]:
    source = "§5.1 and Figure 3"
    text = "The PU-Net's singular values vanish early in training: its Gini index rises"
    yield Claim(text, data, source, ("punet",), partial(rises_early, row="punet"))
    for row in ("2p-planar", "csae"):
        name, rows = paper.model_name(row), (row, "punet")
        text = f"The {name}'s Gini index is below the PU-Net's all through training"
        yield Claim(text, data, source, rows, partial(is_lower_throughout, row=row, rival="punet"))
        text = f"The {name}'s Gini index is more volatile than the PU-Net's"
        yield Claim(text, data, source, rows, partial(is_more_volatile, row=row, rival="punet"))


def _of_samples(data: str) -> Iterator[Claim]:
    text = "The cSAE's uncertainty agrees best with the annotators' disagreement (NCC)"
    yield Claim(text, data, "§5.2", paper.ROWS, _csae_is_best("ncc"))
    if data.startswith((*UNDERESTIMATED, *OVERESTIMATED)):
        more = data in OVERESTIMATED
        text = f"The PU-Net {'over' if more else 'under'}estimates the annotators' disagreement"
        yield Claim(text, data, "§5.2", ("punet",), partial(is_spread, row="punet", more=more))
    text = "The cSAE's flows can be discarded at test time: its base prior answers as well"
    yield Claim(text, data, "§4", ("csae",), partial(is_discardable, row="csae"))


def _csae_is_best(metric: str) -> Callable[[Evidence], Judgement]:
    return partial(is_best, row="csae", rivals=RIVALS, metric=metric)


def verdicts(evidence: Iterable[Evidence]) -> list[Verdict]:
    """Judge every claim of the paper by the data sets that were run, of any profile.

    Where none of them is the paper's, nothing is said of the paper.
    """
    evidence = list(evidence)
    if not any(one.results.dataset in paper.DATASETS for one in evidence):
        return []
    return [_verdict(claim, evidence) for claim in claims()]


def _verdict(claim: Claim, evidence: Sequence[Evidence]) -> Verdict:
    outcome, why = _judge(claim, [e for e in evidence if e.results.dataset == claim.dataset])
    return Verdict(claim.text, claim.dataset, claim.source, outcome, why)


def _judge(claim: Claim, evidence: Sequence[Evidence]) -> tuple[Outcome, str]:
    covering = [e for e in evidence if all(row in e.results.rows for row in claim.rows)]
    if not covering:
        return "not tested", _missing(claim, evidence)
    best = min(
        covering, key=lambda e: (len(_departures(claim, e)), e.results.profile != paper.PROFILE)
    )
    holds, why = claim.rule(best)
    apart = _departures(claim, best)
    if apart:
        return "not tested", _informal(holds, why, apart)
    if holds is None:
        return "not tested", why
    return ("reproduced" if holds else "not reproduced"), _reserved(claim, best, why)


def _departures(claim: Claim, evidence: Evidence) -> list[str]:
    of_rows = (departures(evidence.results, row) for row in claim.rows)
    return list(dict.fromkeys(chain.from_iterable(of_rows)))


def _missing(claim: Claim, evidence: Sequence[Evidence]) -> str:
    if not evidence:
        return f"No results on {paper.dataset_name(claim.dataset)}."
    ran = set.intersection(*(set(e.results.rows) for e in evidence))
    absent = ", ".join(paper.model_name(row) for row in claim.rows if row not in ran)
    return f"No results of {absent} on {paper.dataset_name(claim.dataset)}."


def _informal(holds: bool | None, why: str, apart: Sequence[str]) -> str:
    tendency = {True: "There it is borne out", False: "There it is not borne out", None: "There"}
    setting = f"The results are of another setting than the paper's ({'; '.join(apart)})."
    return f"{setting} {tendency[holds]}: {why}"


def _reserved(claim: Claim, evidence: Evidence, why: str) -> str:
    of_rows = (reservations(evidence.results, row) for row in claim.rows)
    distinct = dict.fromkeys(chain.from_iterable(of_rows))
    return why + (f" With reservations: {'; '.join(distinct)}." if distinct else "")


def verdicts_markdown(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts by outcome; claims on data sets that were not run are only counted."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    parts = [
        "## Verdicts on the paper's claims",
        ", ".join(f"{counts[outcome]} {outcome}" for outcome in HEADINGS) + ".",
    ]
    tested = [v for v in verdicts if not v.why.startswith("No results")]
    for outcome, heading in HEADINGS.items():
        items = [_item(verdict) for verdict in tested if verdict.outcome == outcome]
        parts += [f"### {heading}", "\n".join(items)] if items else []
    reasons = Counter(verdict.why for verdict in verdicts if verdict.why.startswith("No results"))
    missing = [f"- {why} Claims not tested: {count}." for why, count in reasons.items()]
    parts += ["### Not tested", "\n".join(missing)] if missing else []
    return "\n\n".join(parts) + "\n"


def _item(verdict: Verdict) -> str:
    source = f"{paper.dataset_name(verdict.dataset)}, {verdict.source}"
    return f"- **{verdict.claim}** ({source}). {verdict.why}"
