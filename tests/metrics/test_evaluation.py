"""Metrics together: the registry, what they share, and what every one of them promises."""

import pickle
from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

import probseg
from probseg.errors import InputError, OptionError, UnknownNameError
from probseg.interfaces import Evaluation, Metric
from probseg.metrics import ged as energy
from probseg.metrics import kernels, matching
from probseg.metrics.evaluation import SharedEvaluation, compute_metrics, shared
from probseg.metrics.kernels import PairCost, iou_cost

OF_SAMPLES = (
    *("annotator-diversity", "diversity", "ged", "ged-cross", "hungarian-iou", "ncc"),
    *("w-cross-entropy", "w-dice", "w-hausdorff", "w-iou"),
)
NAMES = [
    "annotator-diversity",
    "diversity",
    "effective-rank",
    "ged",
    "ged-cross",
    "gini",
    "hungarian-iou",
    "latent-kl",
    "ncc",
    "w-cross-entropy",
    "w-dice",
    "w-hausdorff",
    "w-iou",
]


def example(images: int = 3, samples: int = 5, annotators: int = 4, classes: int = 3) -> Evaluation:
    def density() -> Independent:
        return Independent(Normal(torch.randn(images, 6), torch.rand(images, 6) + 0.1), 1)

    probabilities = (2 * torch.randn(images, samples, classes, 9, 8)).softmax(2)
    annotations = torch.randint(0, classes, (images, annotators, 9, 8), dtype=torch.uint8)
    return Evaluation(probabilities, annotations, density(), density())


def part(evaluation: Evaluation, index: slice) -> Evaluation:
    def density(whole: Independent) -> Independent:
        return Independent(Normal(whole.base_dist.loc[index], whole.base_dist.scale[index]), 1)

    return Evaluation(
        evaluation.probabilities[index],
        evaluation.annotations[index],
        density(evaluation.prior),
        density(evaluation.posterior),
    )


def test_the_registry_offers_the_metrics():
    assert set(NAMES) <= set(probseg.metrics)
    with pytest.raises(UnknownNameError, match="did you mean 'w-dice'"):
        probseg.metrics.create("w-dyce")
    with pytest.raises(OptionError, match="no option 'on'"):
        probseg.metrics.create("gini", on="variance")
    assert probseg.metrics.create("gini", of="variance").of == "variance"
    assert probseg.metrics.create("w-hausdorff", one_empty=3.0)(example()).shape == (3,)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_keeps_its_promises(name):
    metric, evaluation = probseg.metrics.create(name), example()
    assert isinstance(metric, Metric)
    assert metric.higher_is_better in (True, False, None)
    values = metric(evaluation)
    assert values.shape == (3,)
    assert values.dtype == torch.float64
    assert torch.isfinite(values).all()
    assert pickle.loads(pickle.dumps(metric)) == metric
    # each image is scored by itself
    alone = [metric(part(evaluation, slice(i, i + 1))) for i in range(3)]
    torch.testing.assert_close(torch.cat(alone), values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_samples_and_annotators_is_irrelevant(name):
    metric, evaluation = probseg.metrics.create(name), example()
    shuffled = Evaluation(
        evaluation.probabilities[:, torch.randperm(5)],
        evaluation.annotations[:, torch.randperm(4)],
        evaluation.prior,
        evaluation.posterior,
    )
    torch.testing.assert_close(metric(shuffled), metric(evaluation), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name, best", [("w-iou", 0), ("ged", 0), ("hungarian-iou", 1)])
def test_identical_sets_are_best_and_higher_is_better_says_which_way(name, best):
    metric, evaluation = probseg.metrics.create(name), example(samples=4)
    onehot = torch.nn.functional.one_hot(evaluation.annotations.long(), 3).movedim(-1, 2).float()
    perfect = metric(Evaluation(onehot, evaluation.annotations))
    torch.testing.assert_close(perfect, torch.full((3,), float(best)).double(), atol=1e-12, rtol=0)
    imperfect = metric(evaluation)
    assert ((imperfect < perfect) == metric.higher_is_better).all()


@pytest.mark.parametrize(
    "name", ["diversity", "annotator-diversity", "gini", "effective-rank", "latent-kl"]
)
def test_what_describes_is_neither_better_high_nor_low(name):
    assert probseg.metrics.create(name).higher_is_better is None


@pytest.mark.parametrize("classes", [2, 3, 256, 257])
def test_the_label_is_the_most_probable_class_and_the_lowest_of_ties(classes):
    probabilities = torch.zeros(1, 1, classes, 1, 3)
    last = classes - 1
    probabilities[0, 0, [last, 0, last], 0, [0, 1, 1]] = torch.tensor([1.0, 0.5, 0.5])
    probabilities[0, 0, 1, 0, 2] = 1
    labels = SharedEvaluation.of(Evaluation(probabilities, torch.zeros(1, 1, 1, 3).long())).labels
    assert labels.tolist() == [[[[last, 0, 1]]]]
    assert labels.dtype == (torch.uint8 if classes <= 256 else torch.int64)


def test_compute_metrics_gives_what_each_metric_gives():
    evaluation = example()
    values = compute_metrics(evaluation, NAMES)
    assert list(values) == NAMES
    for name, value in values.items():
        expected = probseg.metrics.create(name)(evaluation)
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_compute_metrics_takes_ready_metrics_under_any_name():
    hausdorff = matching.w_hausdorff(one_empty=1.0)
    values = compute_metrics(example(), {"mine": hausdorff, "energy": energy.GED()})
    assert list(values) == ["mine", "energy"]


def test_pairwise_costs_are_computed_once(monkeypatch):
    calls: Counter[tuple[int, int]] = Counter()

    def counting(left: Tensor, right: Tensor, /, *, classes: int) -> Tensor:
        calls[left.shape[1], right.shape[1]] += 1
        return iou_cost(left, right, classes=classes)

    kernel = PairCost(counting)
    metrics = {str(i): matching.Wasserstein(PairCost(counting)) for i in range(3)}
    both = SharedEvaluation.of(example(samples=5, annotators=4))
    compute_metrics(both, metrics)
    shared(both, kernel)
    assert calls == {(5, 4): 1}
    compute_metrics(example(samples=5, annotators=4), metrics)
    assert calls == {(5, 4): 2}  # nothing outlives an evaluation


def test_options_are_not_confused_by_sharing():
    evaluation = Evaluation(
        torch.tensor([[[[[1.0, 1.0]], [[0.0, 0.0]]]]]), torch.tensor([[[[1, 1]]]])
    )
    near, far = matching.w_hausdorff(one_empty=1.0), matching.w_hausdorff(one_empty=2.0)
    values = compute_metrics(evaluation, {"near": near, "far": far})
    assert (values["near"].item(), values["far"].item()) == (1, 2)


def test_compute_metrics_records_no_gradient():
    scale = torch.ones(3, 6, requires_grad=True)
    plain = example()
    prior = Independent(Normal(torch.zeros(3, 6), scale), 1)
    values = compute_metrics(
        Evaluation(plain.probabilities, plain.annotations, prior), ["gini", "ged"]
    )
    assert not any(value.requires_grad for value in values.values())
    assert kernels.EPSILON == torch.finfo(torch.float32).eps


def set_pixel(value: float) -> Tensor:
    probabilities = torch.full((2, 3, 2, 4, 4), 0.5)
    probabilities[1, 0, 1, 2, 2] = value
    return probabilities


GOOD = torch.full((2, 3, 2, 4, 4), 0.5)
LABELS = torch.zeros(2, 4, 4, 4, dtype=torch.long)
BAD = {
    "some are NaN or infinity": (set_pixel(torch.nan), LABELS),
    "NaN or infinity": (set_pixel(torch.inf), LABELS),
    r"take .softmax\(dim=2\)": (torch.randn(2, 3, 2, 4, 4), LABELS),
    "not torch.int64; turn label maps": (GOOD.long(), LABELS),
    r"images, samples, classes, height, width\), not \(2, 3, 4, 4\)": (
        GOOD[:, :, 0],
        LABELS,
    ),
    r"probabilities must not be empty, but the shape is \(2, 0, 2, 4, 4\)": (GOOD[:, :0], LABELS),
    "must be of two classes or more": (torch.ones(2, 3, 1, 4, 4), LABELS),
    "annotations must hold integer classes, not torch.float32": (GOOD, LABELS.float()),
    "annotations must hold the classes 0 to 1, not values from 2 to 2": (GOOD, LABELS + 2),
    "annotations must hold the classes 0 to 1, not values from -1 to -1": (GOOD, LABELS - 1),
    r"annotations must be \(images, label maps, height, width\)": (GOOD, LABELS[:, 0]),
    "annotations must not be empty": (GOOD, LABELS[:, :0]),
    r"samples first: .transpose\(0, 1\)": (GOOD.transpose(0, 1), LABELS),
    r"of the size of annotations, \(4, 3\) pixels, not \(4, 4\)": (GOOD, LABELS[..., :3]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named_with_its_remedy(message):
    with pytest.raises(InputError, match=message):
        compute_metrics(Evaluation(*BAD[message]), ["w-iou"])
    with pytest.raises(InputError, match=message):
        kernels.cross_entropy_cost(*BAD[message])


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("gini", "effective-rank")])
def test_no_metric_lets_nan_through(name):
    evaluation = Evaluation(set_pixel(torch.nan), LABELS)
    with pytest.raises(InputError):
        probseg.metrics.create(name)(evaluation)


@pytest.mark.parametrize(
    "left, classes, message",
    [
        (LABELS.float(), 2, "predictions must hold integer classes"),
        (LABELS + 5, 2, "predictions must hold the classes 0 to 1, not values from 5 to 5"),
        (LABELS[:1], 2, "predictions must be of as many images as annotations, 2, not 1"),
        (LABELS, 1, "classes must be 2 or more"),
        (
            LABELS.to("meta"),
            2,
            "predictions must be on .* annotations, cpu, not on meta",
        ),
    ],
)
def test_bad_label_maps_are_named(left, classes, message):
    with pytest.raises(InputError, match=message):
        iou_cost(left, LABELS, classes=classes)


def test_arrays_of_numpy_become_tensors_or_are_told_how():
    maps, masks = torch.randint(2, (2, 3, 6, 5)), torch.randint(2, (2, 4, 6, 5))
    wanted = compute_metrics(Evaluation(maps, masks), ["ged"])["ged"]
    for given in (Evaluation(maps.numpy(), masks.numpy()), Evaluation(maps, masks.numpy())):
        assert compute_metrics(given, ["ged"])["ged"].equal(wanted)
        assert probseg.metrics.create("ged")(given).equal(wanted)
    with pytest.raises(InputError, match=r"must be a torch\.Tensor, not ndarray; .*as_tensor"):
        matching.hungarian_iou(maps.numpy(), masks.numpy(), classes=2)
    with pytest.raises(InputError, match=r"must be a torch\.Tensor, not ndarray; .*as_tensor"):
        energy.sample_diversity(maps.numpy(), classes=2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_label_maps_score_as_samples_that_are_certain(name, dtype):
    generator = torch.Generator().manual_seed(3)
    classes = 2 if dtype == torch.bool else 5
    maps, masks = (
        torch.randint(classes, (2, count, 6, 5), generator=generator) for count in (4, 3)
    )
    one_hot = torch.nn.functional.one_hot(maps, classes).movedim(-1, 2).float()
    metric = probseg.metrics.create(name)
    wanted = metric(Evaluation(one_hot, masks))
    given = Evaluation(maps.to(dtype), masks.to(torch.uint8), classes=classes)
    torch.testing.assert_close(metric(given), wanted, rtol=0, atol=0)
    torch.testing.assert_close(compute_metrics(given, [name])[name], wanted, rtol=0, atol=0)
    assert torch.equal(given.labels.long(), maps)


def test_label_maps_of_more_classes_than_said_are_refused():
    maps = torch.tensor([[[[0, 1, 3]]]])
    for given in (maps, maps.byte()):
        with pytest.raises(InputError, match="predictions must hold the classes 0 to 1"):
            compute_metrics(Evaluation(given, torch.ones(1, 1, 1, 3).long()), ["ged"])


@pytest.mark.parametrize(
    ("samples", "remedy"),
    [
        (torch.zeros(1, 2, 1, 3, 3, dtype=torch.uint8), "without an axis of classes"),
        (torch.zeros(1, 2, 2, 3, 3, dtype=torch.uint8), r"one-hot masks with \.float\(\)"),
        (torch.rand(1, 2, 1, 3, 3) * 0 + 1, r"torch\.stack\(\[1 - p, p\], dim=2\)"),
        (torch.rand(1, 2, 3, 3), "label maps are integers"),
    ],
)
def test_masks_of_other_programs_that_do_not_fit_name_the_remedy(samples, remedy):
    with pytest.raises(InputError, match=remedy):
        compute_metrics(Evaluation(samples, torch.zeros(1, 1, 3, 3).long()), ["ged"])
