"""`probseg.evaluate` against a loop written out, and where metrics, models or data fail."""

import csv
from io import BytesIO, StringIO, TextIOWrapper
from math import isnan, nan
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from small_models import small

import probseg
from probseg.datasets.views import Annotated, subset
from probseg.errors import DataError, InputError, OptionError, UnknownNameError
from probseg.interfaces import Batch, Evaluation
from probseg.metrics.evaluation import compute_metrics
from probseg.metrics.intervals import mean_interval
from probseg.metrics.model_evaluation import evaluate
from probseg.metrics.scores import Scores

SMALL = {"channels": [4, 8], "convolutions": 1}


@pytest.fixture(scope="module")
def shapes():
    return subset(probseg.datasets.create("ambiguous-shapes"), range(10))


@pytest.fixture
def punet():
    torch.manual_seed(0)
    parts = {"backbone": {"name": "unet", **SMALL}, "encoder": {"name": "axis-aligned", **SMALL}}
    return probseg.build("punet", latent_dim=2, **parts)


class _Absent:
    """Four images of two groups, whose numbers of annotators are 3, 3, 1 and 2."""

    name, channels, classes, annotators = "absent", 1, 2, 3
    groups, fingerprint, provenance = ["a", "a", "b", "b"], "f", "made by this test"
    present = torch.tensor([[1, 1, 1], [1, 1, 1], [0, 1, 0], [1, 0, 1]]).bool()

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(4, 1, 8, 8, generator=generator)
        masks = (torch.rand(4, 3, 8, 8, generator=generator) > 0.5).byte()
        self.masks = masks * self.present[:, :, None, None]

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return SimpleNamespace(image=self.image[index])

    def batch(self, indices):
        rows = list(indices)
        return Batch(self.image[rows], self.masks[rows], self.present[rows])


class _Threshold:
    """Samples label maps: the image above a threshold that differs from sample to sample."""

    def sample(self, image, n, *, generator=None):
        thresholds = torch.linspace(0.2, 0.8, n, device=image.device).view(n, 1, 1, 1)
        return (image[:, 0] > thresholds).long()


def test_values_are_those_of_a_loop_written_out(shapes, punet):
    scores = evaluate(punet, shapes, 3, metrics=["ged", "ncc"], batch_size=4, seed=5, device="cpu")
    punet.eval()
    expected = {"ged": [], "ncc": []}
    for start in (0, 4, 8):
        batch = shapes.batch(range(start, min(start + 4, 10)))
        generator = torch.Generator().manual_seed(5 * 1_000_003 + start)
        samples = punet.sample(batch.image, 3, generator=generator).transpose(0, 1)
        for name, value in compute_metrics(
            Evaluation(samples, batch.masks), list(expected)
        ).items():
            expected[name] += value.tolist()
    assert list(scores) == ["ged", "ncc"] and scores.groups == list(shapes.groups)
    for name, values in expected.items():
        np.testing.assert_array_equal(scores[name], values)
        assert scores.mean()[name] == pytest.approx(np.mean(values))


def test_stratified_samples_are_those_of_the_model_and_the_table_says_so(shapes, punet):
    scores = evaluate(punet, shapes, n=4, stratified=True, metrics=["ged"], batch_size=10)
    batch = shapes.batch(range(10))
    drawn = punet.sample(
        batch.image, 4, stratified=True, generator=torch.Generator().manual_seed(0)
    )
    wanted = compute_metrics(Evaluation(drawn.transpose(0, 1), batch.masks), ["ged"])["ged"]
    np.testing.assert_allclose(scores["ged"], wanted.numpy(), rtol=1e-6)
    assert scores.samples == "4 stratified"


def test_a_model_without_stratified_samples_says_so(shapes):
    with pytest.raises(InputError, match="'deterministic' has no stratified samples"):
        evaluate(small("deterministic"), shapes, n=2, stratified=True)


def test_each_image_is_compared_with_those_who_annotated_it():
    data = _Absent()
    scores = evaluate(_Threshold(), data, 4, metrics=["ged", "annotator-diversity"], progress=False)
    for index in range(4):
        masks = data.masks[index][data.present[index]][None]
        samples = _Threshold().sample(data.image[index : index + 1], 4).transpose(0, 1)
        one_hot = torch.nn.functional.one_hot(samples, 2).movedim(-1, 2).float()
        for name, value in compute_metrics(Evaluation(one_hot, masks), list(scores)).items():
            np.testing.assert_array_equal(scores[name][index], value.item())
    assert np.isnan(scores["annotator-diversity"]).tolist() == [False, False, True, False]


def test_a_model_without_a_posterior_is_told_as_one_and_not_as_a_fault(shapes):
    scores = evaluate(small("energy"), shapes, 2, metrics=["latent-kl", "gini"], progress=False)
    assert scores.problems == {"latent-kl": "it needs a posterior, and this model has none"}
    scores = evaluate(small("deterministic"), shapes, 2, metrics=["gini"], progress=False)
    assert scores.problems == {"gini": "it needs a prior, and this model has none"}
    console = Console(width=100, record=True, file=StringIO())
    console.print(scores)
    text = " ".join(console.export_text().split())
    assert "– gini: it needs a prior, and this model has none" in text and "Error" not in text


def test_a_reason_that_is_meant_for_people_stands_alone(shapes, punet):
    class Picky:
        higher_is_better = True

        def __call__(self, evaluation):
            raise InputError("give three annotators")

    scores = evaluate(punet, shapes, 2, metrics={"picky": Picky()}, progress=False)
    assert scores.problems == {"picky": "give three annotators"}


def test_a_metric_that_fails_says_why_and_costs_no_other(shapes, punet):
    class Broken:
        higher_is_better = True

        def __call__(self, evaluation):
            raise ValueError("no luck")

    metrics = {"broken": Broken(), "ged": probseg.metrics.create("ged")}
    scores = evaluate(punet, shapes, 2, metrics=metrics)
    assert np.isnan(scores["broken"]).all() and np.isfinite(scores["ged"]).all()
    assert scores.problems == {"broken": "ValueError: no luck"}
    assert isnan(scores.mean()["broken"]) and scores.summary()["broken"].images == 0
    console = Console(width=100, record=True, file=StringIO())
    console.print(scores)
    text = console.export_text()
    assert "no luck" in text and "10 images of" in text and "lower" in text


def test_a_metric_that_runs_out_of_memory_ends_the_evaluation(shapes, punet):
    def greedy(evaluation):
        raise MemoryError

    with pytest.raises(MemoryError):
        evaluate(punet, shapes, 2, metrics={"greedy": greedy})


def test_a_latent_metric_without_a_latent_space_is_a_dash_with_a_reason(shapes):
    model = probseg.build("deterministic", backbone={"name": "unet", **SMALL})
    scores = evaluate(model, shapes, 1, metrics=["gini", "ged"])
    assert np.isnan(scores["gini"]).all() and "prior" in scores.problems["gini"]
    assert "gini" not in evaluate(model, shapes, 1) and "gini" in evaluate(
        probseg.build("punet", backbone={"name": "unet", **SMALL}), subset(shapes, [0]), 2
    )


@pytest.mark.parametrize(("marked", "told"), [(0, True), (1, True), (2, False), (4, False)])
def test_samples_that_mark_nothing_are_told(marked, told):
    data = _Absent()

    def sample(image, n, generator):
        number = [int((data.image == one).flatten(1).all(1).nonzero()) for one in image]
        labels = torch.zeros(n, len(image), 8, 8, dtype=torch.long)
        labels[0, torch.tensor(number) < marked] = 1  # of one sample only
        return labels

    model = SimpleNamespace(sample=sample, classes=2)
    scores = evaluate(model, data, n=3, metrics=["ged"], device="cpu")
    remark = f"no sample marks anything on {4 - marked} of the 4 images"
    assert any(remark in one for one in scores.remarks) == told
    assert bool(scores.remarks) == told


def test_one_annotation_an_image_is_told_and_its_diversity_is_a_dash(shapes, punet):
    scores = evaluate(punet, Annotated(shapes, 0), 2, metrics=["ged", "annotator-diversity"])
    (remark,) = scores.remarks
    assert remark.startswith("each image has one annotation, which says nothing of how")
    console = Console(width=100, record=True, file=StringIO())
    console.print(scores)
    (row,) = [line for line in console.export_text().splitlines() if "annotator-div" in line]
    assert row.count("–") == 3 and "nan" not in row
    assert np.isfinite(scores["ged"]).all()


def test_the_table_says_that_few_groups_make_rough_intervals_and_names_no_direction():
    few = Scores(
        per_image={"diversity": np.ones(4)},
        groups=["a", "a", "b", "b"],
        **{"ids": list("wxyz"), "samples": "2", "subject": "m", "data": "d"},
        higher_is_better={"diversity": None},
    )
    console = Console(file=StringIO(), width=100)
    console.print(few)
    shown = console.file.getvalue()
    assert "the intervals are rough, as there are 2 groups" in shown
    assert "higher" not in shown and "lower" not in shown


def test_images_keep_their_names():
    data = _Absent()
    data.ids = ["p1", "p2", "p3", "p4"]
    part = subset(subset(data, [3, 1, 0]), [2, 0])
    assert part.ids == ["p1", "p4"]

    def sample(image, n, generator):
        return torch.ones(n, len(image), 8, 8).long()

    model = SimpleNamespace(sample=sample, classes=2)
    assert evaluate(model, part, n=1, metrics=["ged"], device="cpu").ids == ["p1", "p4"]


def test_the_model_keeps_its_mode_and_gradients(shapes, punet):
    punet.train()
    evaluate(punet, shapes, 2, metrics=["ged"])
    assert punet.training and next(punet.parameters()).requires_grad


def test_the_summary_is_the_bootstrap_of_groups_where_the_metric_is_defined():
    values = np.array([1.0, np.nan, 3.0, 5.0])
    scores = Scores(
        per_image={"m": values},
        groups=["a", "a", "b", "c"],
        ids=list("0123"),
        samples="1",
        subject="s",
        data="d",
    )
    row = scores.summary()["m"]
    assert row == (3.0, *mean_interval(values[[0, 2, 3]], ["a", "b", "c"]), 3)
    narrow = scores.summary(confidence=0.5)["m"]
    assert row.low <= narrow.low <= 3.0 <= narrow.high <= row.high
    with pytest.raises(OptionError, match="confidence must be between 0 and 1"):
        scores.summary(confidence=95)


def test_printed_scores_are_a_line_of_means():
    values = {"ged": np.linspace(0, 1, 500), "diversity": np.full(500, np.nan)}
    names = [str(number) for number in range(500)]
    about = {"ids": names, "groups": names, "samples": "16", "subject": "punet", "data": "d"}
    scores = Scores(per_image=values, **about)
    line = "Scores of punet on 500 images: ged = 0.500, diversity = nan"
    assert repr(scores) == str(scores) == line


def test_the_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    draws = random.normal(size=(300, 40))
    inside = [low <= 0 <= high for low, high in (mean_interval(d, range(40)) for d in draws)]
    assert 0.88 < np.mean(inside) < 0.99
    assert all(isnan(end) for end in mean_interval(draws[0], ["one"] * 40))


def test_the_csv_reads_back_to_the_bit(shapes, punet, tmp_path):
    scores = evaluate(punet, shapes, 2, metrics=["ged"])
    scores.to_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ged"]) for row in rows] == scores["ged"].tolist()
    assert [row["group"] for row in rows] == scores.groups


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, OptionError, "n must be"),
        ({"metrics": ["gde"]}, UnknownNameError, "did you mean 'ged'"),
        ({"device": "gpu"}, OptionError, "device must be"),
        ({"batch_size": -1}, OptionError, "batch_size must be"),
    ],
)
def test_options_that_make_no_sense(shapes, punet, options, error, message):
    with pytest.raises(error, match=message):
        evaluate(punet, shapes, **options)


def test_data_and_models_that_do_not_fit(shapes, punet):
    with pytest.raises(DataError, match="has no image"):
        evaluate(punet, subset(shapes, []))
    with pytest.raises(InputError, match="in_channels=3"):
        evaluate(probseg.build("punet", in_channels=3), shapes)
    flat = SimpleNamespace(sample=lambda image, n, generator: torch.rand(n, len(image), 8, 8))
    with pytest.raises(InputError, match="must return probabilities"):
        evaluate(flat, shapes)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_scores_are_shown_in_characters_of_the_encoding(encoding):
    scores = Scores(
        per_image={"gini": np.array([nan])},
        groups=["a"],
        ids=["a"],
        samples="2",
        subject="csae",
        data="shapes",
        problems={"gini": "no prior"},
    )
    file = TextIOWrapper(BytesIO(), encoding=encoding)
    Console(file=file).print(scores)
    file.flush()
    shown = file.buffer.getvalue().decode(encoding)
    assert ("- gini: no prior" if encoding == "ascii" else "– gini: no prior") in shown


def test_without_densities_samples_are_the_same(shapes, punet, monkeypatch):
    expected = evaluate(punet, shapes, 3, metrics=["ged"], device="cpu")["ged"]
    for density in ("prior", "posterior"):
        monkeypatch.setattr(type(punet), density, lambda *_, **__: 1 / 0)
    scores = evaluate(punet, shapes, 3, latent=False, device="cpu")
    assert list(scores["ged"]) == list(expected) and "gini" not in scores


def test_reliability_is_that_of_all_images(shapes, punet):
    scores = evaluate(punet, shapes, 3, metrics=["ged"], reliability=True, device="cpu")
    pixels = shapes[0].masks[0].numel()
    assert scores.reliability.pixels.sum() == len(shapes) * pixels
    assert evaluate(punet, shapes, 3, metrics=["ged"], device="cpu").reliability is None


def test_scores_say_how_the_model_is_calibrated(shapes, punet):
    punet.calibration = {"temperature": 2.0}
    scores = evaluate(punet, shapes, 2, metrics=["ged"], device="cpu")
    assert scores.subject == "punet (temperature 2, prior scale 1)"
    assert scores.about["calibration"] == {"temperature": 2.0, "prior_scale": 1.0}
