"""Streaming metrics: batches and processes add up to the whole."""

import pickle

import pytest
import torch
from torch.distributions import Independent, Normal

import probseg
from probseg.errors import InputError, UnknownNameError
from probseg.interfaces import Evaluation
from probseg.metrics.streaming import StreamingMetric, streaming_collection

NAMES = ["w-iou", "w-dice", "w-hausdorff", "w-cross-entropy", "ged", "hungarian-iou", "ncc"]
LATENT = ["gini", "effective-rank", "latent-kl"]


def batch(images: int) -> dict[str, object]:
    def density() -> Independent:
        return Independent(Normal(torch.randn(images, 6), torch.rand(images, 6) + 0.1), 1)

    return {
        "probabilities": (2 * torch.randn(images, 4, 2, 8, 8)).softmax(2),
        "annotations": torch.randint(0, 2, (images, 3, 8, 8)),
        "prior": density(),
        "posterior": density(),
    }


@pytest.mark.parametrize("name", NAMES + LATENT)
def test_shards_of_unequal_size_merge_to_the_whole(name):
    batches = [batch(n) for n in (3, 1, 2)]
    metric = probseg.metrics.create(name)
    scores = torch.cat([metric(Evaluation(**b)) for b in batches])
    first, second = StreamingMetric(name), StreamingMetric(name)
    first.update(**batches[0])
    second.update(**batches[1])
    second.update(**batches[2])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), scores.mean())
    assert first.higher_is_better == metric.higher_is_better


def test_states_are_summed_over_processes():
    # what torchmetrics does on all_gather: each state's reduction over the stacked ranks
    ranks = [StreamingMetric("ged") for _ in range(2)]
    batches = [batch(2), batch(5)]
    for rank, data in zip(ranks, batches, strict=True):
        rank.update(**data)
    whole = StreamingMetric("ged")
    for state, reduction in whole._reductions.items():
        setattr(whole, state, reduction(torch.stack([getattr(rank, state) for rank in ranks])))
    expected = torch.cat([probseg.metrics.create("ged")(Evaluation(**b)) for b in batches])
    whole._update_count = 1
    torch.testing.assert_close(whole.compute(), expected.mean())


def test_forward_gives_the_batch_and_keeps_the_sum():
    metric, batches = StreamingMetric("w-iou"), [batch(2), batch(3)]
    scores = [probseg.metrics.create("w-iou")(Evaluation(**b)) for b in batches]
    for data, expected in zip(batches, scores, strict=True):
        torch.testing.assert_close(metric(**data), expected.mean())
    torch.testing.assert_close(metric.compute(), torch.cat(scores).mean())
    metric.reset()
    assert metric.count == 0


def test_it_pickles_with_its_options_and_its_sum():
    data = batch(3)
    metric = StreamingMetric("gini", of="variance")
    metric.update(**data)
    loaded = pickle.loads(pickle.dumps(metric))
    assert loaded.compute() == metric.compute()
    assert loaded.metric == probseg.metrics.create("gini", of="variance")
    torch.testing.assert_close(loaded.compute(), loaded.metric(Evaluation(**data)).mean())


def test_a_ready_metric_is_wrapped_as_it_is():
    metric = probseg.metrics.create("w-hausdorff", one_empty=2.0)
    assert StreamingMetric(metric).metric is metric


def test_half_precision_does_not_reach_the_sums():
    metric = StreamingMetric("w-iou").half()
    metric.update(**batch(2))
    assert metric.compute().dtype == torch.float64


def test_half_precision_of_a_model_around_it_does_not_either():
    around = torch.nn.ModuleList([StreamingMetric("w-iou")]).half()
    data, alone = batch(2), StreamingMetric("w-iou")
    around[0].update(**data)
    alone.update(**data)
    assert torch.equal(around[0].compute(), alone.compute())


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16])
def test_another_type_of_the_states_does_not_reach_the_sums(kind):
    data, alone = batch(2), StreamingMetric("w-iou")
    alone.update(**data)
    for metric in (StreamingMetric("w-iou"), streaming_collection(["w-iou"])["w-iou"]):
        metric.update(**data)
        assert torch.equal(metric.set_dtype(kind).compute(), alone.compute())


def test_processes_add_their_sums_in_float64():
    parts = torch.tensor([1.0, 2.0**-50, 3.0], dtype=torch.float64)
    summed = StreamingMetric("w-iou")._reductions["total"](parts.view(torch.int64))
    assert torch.equal(summed.view(torch.float64), parts.sum())


def test_a_collection_keeps_metrics_apart_that_start_equal():
    data = batch(2)
    perfect = torch.nn.functional.one_hot(data["annotations"], 2).movedim(-1, 2).float()
    collection = streaming_collection(["w-iou", "w-dice", "ged"], prefix="val/")
    collection.update(perfect, data["annotations"])  # all three are zero
    collection.update(data["probabilities"], data["annotations"])
    values = collection.compute()
    assert sorted(values) == ["val/ged", "val/w-dice", "val/w-iou"]
    for name, value in values.items():
        metric = probseg.metrics.create(name.removeprefix("val/"))
        expected = metric(Evaluation(data["probabilities"], data["annotations"])).mean() / 2
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


def test_errors_come_through():
    with pytest.raises(UnknownNameError, match="did you mean 'ged'"):
        StreamingMetric("gde")
    data = batch(1)
    with pytest.raises(InputError, match="NaN"):
        StreamingMetric("ged").update(data["probabilities"] * torch.nan, data["annotations"])
