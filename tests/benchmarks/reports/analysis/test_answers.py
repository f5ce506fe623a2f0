"""The answer in words, of results in which it was planted."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.reports.analysis import analyse
from benchmarks.reports.analysis.answers import answer

ROWS = ("punet", "2p-planar", "csae")
IMAGES = 40


@pytest.fixture
def images(rng) -> np.ndarray:
    """What an image scores before a model's part is added."""
    return rng.random(IMAGES)


def answer_to(results, competing=ROWS):
    (evidence,) = analyse(results).evidence
    return answer(evidence, competing)


def findings(results, competing=ROWS) -> dict:
    return {one.metric: one for one in answer_to(results, competing).findings}


def test_a_lead_on_every_image_is_more_than_noise(make, images) -> None:
    steps = {"punet": 0.0, "2p-planar": 0.1, "csae": 0.2}
    results = [
        make(row, {"ged": images + step, "ncc": 0.5 + step + images / 10})
        for row, step in steps.items()
    ]
    found = answer_to(results)
    ged, ncc = found.findings
    assert found.sure == {"punet": ["GED"], "csae": [ncc.metric]}
    assert found.unsure == []
    assert (ged.best, ged.next, ged.beaten) == ("punet", "2p-planar", ["2p-planar", "csae"])
    assert ged.value == f"{images.mean():.3f}"
    assert ged.next_value == f"{images.mean() + 0.1:.3f}"
    share = 100 * 0.1 / (images.mean() + 0.1)
    assert ged.lead == f"0.100 or {share:.0f} % (95 % interval 0.100 to 0.100, p < 0.001)"
    assert (ncc.best, ncc.next) == ("csae", "2p-planar")  # high is better
    assert ncc.lead.startswith("0.100 or ")


def test_noise_is_called_noise_and_the_interval_of_a_lead_has_both_signs(make, rng, images) -> None:
    results = [make(row, {"ged": images + 0.1 * rng.normal(size=IMAGES)}) for row in ROWS]
    found = answer_to(results)
    (ged,) = found.findings
    assert found.sure == {}
    assert found.unsure == ["GED"]
    assert ged.beaten == [] and len(ged.alike) == 2
    assert "interval −" in ged.lead and not ged.lead.startswith("−")


def test_the_best_may_be_told_from_one_rival_alone(make, rng, images) -> None:
    noise = 0.01 * rng.normal(size=IMAGES)
    scores = {"punet": images + 0.3, "csae": images, "2p-planar": images + noise - noise.mean()}
    (ged,) = findings([make(row, {"ged": own + 0.0}) for row, own in scores.items()]).values()
    assert ged.beaten == ["punet"]
    assert len(ged.alike) == 1


def test_it_says_in_how_many_trainings_the_best_is_ahead(make, images) -> None:
    leads = {2: -0.1, 1: 0.2, 0: 0.2}
    results = [make("punet", {"ged": images}, fold=fold) for fold in range(3)]
    results += [make("csae", {"ged": images - lead}, fold=fold) for fold, lead in leads.items()]
    found = answer_to(results)
    (ged,) = found.findings
    assert ged.best == "csae"
    assert sorted(ged.ahead) == [False, True, True]
    assert found.trainings == [3, 3]


def test_the_gini_index_scores_no_answer_and_other_rows_are_told_for_scale(make, images) -> None:
    results = [
        make(row, {"w-iou": images + place, "gini": images - place})
        for place, row in enumerate((*ROWS, "deterministic"))
    ]
    found = answer_to(results)
    assert [one.best for one in found.findings] == ["punet"]
    assert found.scale == {"deterministic": f"{images.mean() + 3:.3f}"}


@pytest.mark.parametrize(("competing", "compared"), [(["csae"], 2), ([], 2)])
def test_where_one_competes_all_that_were_trained_are_compared(
    make, images, competing, compared
) -> None:
    results = [make(row, {"ged": images}) for row in ("csae", "deterministic")]
    assert len(answer_to(results, competing).rows) == compared


def test_one_model_or_none_has_no_rival(make, images) -> None:
    assert answer_to([make("csae", {"ged": images})]).findings == []
    baseline = answer_to([make("always-empty", {"ged": images})])
    assert (baseline.rows, baseline.findings, baseline.trainings) == ([], [], [])


def test_models_without_a_shared_image_are_not_compared(make) -> None:
    scores = {"csae": [0.1, None], "punet": [None, 0.9]}
    results = [
        replace(make(row, {"ged": [0.5, 0.5]}), scores={"base": {"ged": own}})
        for row, own in scores.items()
    ]
    (ged,) = findings(results).values()
    assert (ged.lead, ged.beaten, ged.alike) == ("", [], ["punet"])


def test_the_samples_diversity_is_told_beside_the_annotators_own(make, images) -> None:
    spread = {"annotator-diversity": np.full(IMAGES, 0.4)}
    results = [make(row, {"ged": images, "diversity": images, **spread}) for row in ROWS[:2]]
    left_out = {"diversity": np.full(IMAGES, 0.35)}
    found = answer_to([*results, make("annotators", {"ged": images, **left_out, **spread})])
    assert found.diversity == dict.fromkeys(ROWS[:2], f"{images.mean():.3f}")
    assert found.annotators_diversity == "0.400"
