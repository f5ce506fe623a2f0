"""What is cited of the cSAE paper, which readers cannot look up, stands in the documentation."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from probseg.training.augmentation import TABLE_5

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for top in ("probseg", "benchmarks", "plugins") for path in ROOT.glob(f"{top}/**/*.py")
)
CITATION = re.compile(r"\beqs?\. ?\(?(\d+)\)?(.{,60})", re.S)
METHOD = (ROOT / "docs/method.md").read_text(encoding="utf-8")
REPRODUCE = (ROOT / "docs/reproduce.md").read_text(encoding="utf-8")


def rows(heading: str) -> Iterator[list[str]]:
    """Yield the cells of the first table below a heading, without its head."""
    section = REPRODUCE.split(f"\n## {heading}\n")[1]
    table = re.search(r"(?:^\|.*\n)+", section, re.M)
    assert table
    for line in table[0].splitlines()[2:]:
        yield [cell.strip(" *`") for cell in line.strip("|").split("|")]


def test_a_cited_equation_stands_on_the_page_or_is_of_named_authors():
    others = ("Durkan et al", "ICML 2015", "Kingma et al", "Gneiting and Raftery", "Fu et al")
    cited = 0
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        for match in CITATION.finditer(text):
            line = text[text.rfind("\n", 0, match.start()) : match.end()]
            paragraph = text[text.rfind("\n\n", 0, match.start()) : match.end()]
            if not any(name in paragraph for name in others):
                assert re.match(r"\s+of\s+docs/method\.md", match[2]), f"{source}: {line}"
                assert f'<b id="eq-{match[1]}">' in METHOD, f"{source}: {line}"
                cited += 1
    assert cited >= 10


def test_the_page_restates_every_equation():
    numbers = [int(n) for n in re.findall(r'<b id="eq-(\d+)">', METHOD)]
    assert sorted(numbers) == list(range(1, 21))


def test_the_papers_results_are_those_of_the_reference():
    printed = [value for row in rows("The paper's results") for value in row[2:]]
    expected = []
    for table in ("table1.csv", "table2.csv"):
        with (ROOT / "benchmarks/reference" / table).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                values = [row[name] for name in row if name not in ("dataset", "model")]
                expected += map(" ± ".join, zip(values[::2], values[1::2], strict=True))
    assert printed == expected


def test_the_papers_settings_are_those_of_the_suite():
    suite = tomllib.loads((ROOT / "benchmarks/suite/suite.toml").read_text(encoding="utf-8"))
    table = rows("The paper's setting")
    shown = {name.split("`")[0]: [float(value) for value in own] for name, *own in table}
    numbers = r"L = (\d+) .* N_OT = (\d+) .* size (\d+), .*rate (\S+) .*decay (\S+),"
    common = re.search(numbers, " ".join(REPRODUCE.split()))
    assert common
    for name, settings in suite["profiles"]["paper"]["datasets"].items():
        own = [settings[key] for key in ("beta", "gamma", "patience", "n_eval")]
        same = ("latent_dim", "n_ot", "batch_size", "learning_rate", "weight_decay")
        assert shown[re.sub(r"-\d$", "-1", name)] == own, name
        assert [float(value) for value in common.groups()] == [settings[key] for key in same], name


def test_the_papers_augmentation_is_what_is_drawn():
    section = REPRODUCE.split("**Augmentation")[1].split("**What")[0].replace("−", "-")
    numbers = [
        tuple(map(float, re.findall(r"-?\d+(?:\.\d+)?", line)))
        for line in section.splitlines()
        if line.startswith("* ")
    ]
    assert numbers == list(TABLE_5.values())


FAMILIES = "punet 2p-planar csae punet-geco spu-net hierarchical hierarchical-csae energy"
SCORES = ("ged", "hungarian-iou", "diversity")
OF_LIDC = [("lidc", "", metric) for metric in SCORES]
STRATIFIED = [("lidc", " (stratified samples)", metric) for metric in SCORES]
OF_CONTOURS = [("contours", "", metric) for metric in SCORES]


@pytest.mark.parametrize(
    ("section", "results", "models", "columns"),
    [
        (
            "Every family",
            "families-quick",
            f"{FAMILIES} hierarchical-energy",
            [*OF_LIDC, STRATIFIED[0], *OF_CONTOURS],
        ),
        ("Every family", "families-quick", "flow-matching", [*OF_LIDC, *OF_CONTOURS]),
        (
            "Longer trainings",
            "lidc-2500-flips",
            "energy punet",
            [*OF_LIDC[:2], *STRATIFIED[:2]],
        ),
        ("The three models", "lidc-1500", "punet 2p-planar csae", [*OF_LIDC, ("lidc", "", "gini")]),
        ("The three models", "lidc-1500", "deterministic", OF_LIDC[:2]),
    ],
)
def test_the_scores_on_the_page_of_models_are_those_of_the_results(
    section, results, models, columns
):
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8").split(f"### {section}")[1]
    path = ROOT / "benchmarks/results" / results / "table.csv"
    with path.open(encoding="utf-8", newline="") as file:
        means = {(r["dataset"], r["row"], r["metric"]): r["mean"] for r in csv.DictReader(file)}
    for model in models.split():
        line = next(line for line in page.splitlines() if line.startswith(f"| `{model}` |"))
        shown = [float(n) for n in re.findall(r"(?<!± )(?<=[ *])\.\d{3}", line)]
        values = [means[dataset, model + variant, metric] for dataset, variant, metric in columns]
        assert shown == [round(float(value), 3) for value in values], model
