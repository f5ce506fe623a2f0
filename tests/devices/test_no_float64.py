"""On a device without float64 metrics, models and augmentation give what they give on the CPU."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
import torch
from device_parts import (
    DIVERGENCES,
    LATENT,
    MODELS,
    PROJECTORS,
    called,
    data,
    tiny,
    with_divergence,
)
from no_float64 import MPS, There, Without64
from small_models import asked
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.utils._pytree import tree_leaves

import probseg
from probseg.errors import InputError
from probseg.interfaces import Batch, Evaluation
from probseg.metrics import (
    collapse,
    hausdorff,
    kernels,
    latent,
    matching,
    ncc,
    surface,
    uncertainty,
)
from probseg.metrics import ged as energy
from probseg.metrics.evaluation import compute_metrics, shared
from probseg.metrics.mean_maps import mean_maps
from probseg.metrics.streaming import StreamingMetric, streaming_collection
from probseg.training.augmentation import apply, draw
from probseg.utils import devices, model_inputs, tensors

CALLS: dict[str, Callable[[Evaluation], Any]] = {
    "generalised_energy_distance": lambda e: energy.generalised_energy_distance(*maps(e)),
    "sample_diversity": lambda e: energy.sample_diversity(e.annotations),
    "compute_metrics": lambda e: compute_metrics(e, list(probseg.metrics)),
    "shared": lambda e: shared(e, kernels.CrossEntropyCost()),
    "hausdorff_cost": lambda e: hausdorff.hausdorff_cost(*maps(e)),
    "iou_cost": lambda e: kernels.iou_cost(*maps(e)),
    "dice_cost": lambda e: kernels.dice_cost(*maps(e)),
    "cross_entropy_cost": lambda e: kernels.cross_entropy_cost(e.probabilities, e.annotations),
    "gini": lambda e: latent.gini(e.prior.stddev),
    "effective_rank": lambda e: latent.effective_rank(e.prior.stddev),
    "kl_per_dimension": lambda e: latent.kl_per_dimension(e.posterior, e.prior),
    "active_units": lambda e: latent.active_units(e.posterior.mean),
    "wasserstein": lambda e: matching.wasserstein(e.posterior.stddev[:, None]),
    "hungarian_iou": lambda e: matching.hungarian_iou(*maps(e)),
    "normalised_cross_correlation": lambda e: ncc.normalised_cross_correlation(
        e.probabilities, e.annotations
    ),
    "uncertainty_maps": lambda e: uncertainty.uncertainty_maps(e),
    "hd95_cost": lambda e: surface.hd95_cost(*maps(e)),
    "surface_dice_cost": lambda e: surface.surface_dice_cost(*maps(e)),
    "mean_maps": mean_maps,
    "to_float64": lambda e: devices.to_float64(e.prior.stddev),
}
WITHIN = {  # what those call with tensors on the device
    *("check_label_maps", "check_label_pair", "check_probabilities", "checked_annotations"),
    *("label_maps", "dice_of_masks", "overlap", "products", "check_classes", "check_not_empty"),
    *("chunks", "float64_chunks", "fetch_label_maps"),
}
ELSEWHERE = {  # have tests of their own
    *(
        "certain",
        "latent_statistics",
        "surprisal",
        "to_device",
        "in_single_precision",
        "probabilities",
    ),
    *(
        "checked_image",
        "checked_label",
        "checked_masks",
        "checked_latent",
        "check_device",
        "extremes",
        "one_hot",
        "padded",
        "cropped",
    ),
    *("as_classes", "has_fractions", "soft_label", "scale_of"),
}


def maps(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    return evaluation.probabilities.argmax(2), evaluation.annotations


def example(classes: int = 2) -> Evaluation:
    probabilities = (2 * torch.randn(3, 5, classes, 9, 11)).softmax(2)
    annotations = torch.randint(0, classes, (3, 4, 9, 11))
    spacing = torch.rand(3, 2) + 0.5
    return Evaluation(probabilities, annotations, density(), density(), spacing=spacing)


def density() -> Independent:
    return normal(torch.randn(3, 6), torch.rand(3, 6) + 0.1)


def normal(loc: Tensor, scale: Tensor) -> Independent:
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


def on_device(evaluation: Evaluation) -> Evaluation:
    prior, posterior = (
        normal(one.base_dist.loc.to(MPS), one.base_dist.scale.to(MPS))
        for one in (evaluation.prior, evaluation.posterior)
    )
    tensors = evaluation.probabilities.to(MPS), evaluation.annotations.to(MPS)
    return Evaluation(*tensors, prior, posterior, spacing=evaluation.spacing)


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    with Without64():
        yield


def same(found: Any, wanted: Any, *, atol: float = 1e-12) -> None:
    found, wanted = tree_leaves(found), tree_leaves(wanted)
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert type(one) is Tensor and one.device == torch.device("cpu")
        torch.testing.assert_close(one, other, rtol=0, atol=atol)  # and of the same dtype


def test_the_device_refuses_what_apples_does():
    there = torch.ones(2, 3).to("mps")
    assert there.device == MPS and type(there.cpu()) is Tensor
    assert (there + 1).sum(0).device == torch.zeros(2, device=there.device).device == MPS
    refused: list[Callable[[], Any]] = [
        lambda: there.double(),
        lambda: there.to("cpu", torch.float64),
        lambda: there.mean(dtype=torch.float64),
        lambda: torch.div(there.long(), torch.tensor(2.0, dtype=torch.float64)),
        lambda: torch.zeros(2, dtype=torch.float64).to("mps"),
        lambda: torch.zeros(2, dtype=torch.float64, device=there.device),
    ]
    for make in refused:
        with pytest.raises(TypeError, match="doesn't support float64"):
            make()
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()


@pytest.mark.parametrize("name", sorted(probseg.metrics))
@pytest.mark.parametrize("classes", [2, 3])
def test_every_metric_gives_the_cpus_numbers(name, classes):
    metric, evaluation = probseg.metrics.create(name), example(classes)
    same(metric(on_device(evaluation)), metric(evaluation))


@pytest.mark.parametrize("name", CALLS)
def test_every_function_gives_the_cpus_numbers(name):
    evaluation = example()
    same(CALLS[name](on_device(evaluation)), CALLS[name](evaluation))


def test_surprisal_stays_there_in_single_precision():
    probabilities = torch.rand(3, 4)
    found = kernels.surprisal(probabilities.to("mps"))
    assert found.device == MPS
    same(found.cpu(), kernels.surprisal(probabilities))


def test_certain_samples_stay_there_in_single_precision():
    labels = torch.randint(0, 3, (2, 4, 5, 6))
    found = tensors.certain(labels.to("mps"), 3)
    assert found.device == MPS
    same(found.cpu(), tensors.certain(labels, 3))


def takes_tensors(function: Any) -> bool:
    kinds = [str(one.annotation) for one in inspect.signature(function).parameters.values()]
    return any(kind in ("Tensor", "Distribution", "Evaluation", "Batch") for kind in kinds)


def test_no_function_is_forgotten():
    modules: list[ModuleType] = [
        import_module(f"probseg.metrics.{found.name}")
        for found in pkgutil.iter_modules(probseg.metrics.__path__)
    ]
    modules += [devices, model_inputs, tensors]
    found = {
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and takes_tensors(function)
    }
    assert {name for name in found if not name.startswith("_")} == {*CALLS, *WITHIN, *ELSEWHERE}


def test_a_planted_double_is_found(monkeypatch):
    monkeypatch.setattr(latent, "to_float64", Tensor.double)
    with pytest.raises(TypeError, match="doesn't support float64"):
        latent.gini(torch.ones(2, 3).to("mps"))


def test_bad_tensors_are_named_as_anywhere():
    good = on_device(example())
    labels = good.annotations
    cases: dict[str, Callable[[], Any]] = {
        "annotations must .* not values from 1 to 2": lambda: kernels.iou_cost(labels, labels + 1),
        "predictions must .* not values from 0 to 255": lambda: kernels.iou_cost(
            labels.byte() * 255, labels
        ),
        "predictions must be .* annotations, cpu, not on mps:0": lambda: kernels.iou_cost(
            labels, labels.cpu()
        ),
        "NaN": lambda: compute_metrics(Evaluation(good.probabilities * torch.nan, labels), ["ged"]),
        "finite and non-negative": lambda: latent.gini(good.posterior.mean),
    }
    for message, call in cases.items():
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.parametrize("moved", ["before", "between", "after"])
def test_a_stream_moves_and_adds_up(moved):
    first, second = example(), example()
    metric = StreamingMetric("ged")
    scores = torch.cat([metric.metric(first), metric.metric(second)])
    if moved == "before":
        metric = nn.ModuleList([metric]).to("mps")[0]
    stream(metric, on_device(first))
    if moved == "between":
        metric.to("mps")
    stream(metric, on_device(second))
    if moved == "after":
        metric.to("mps")
    same(metric.compute(), scores.mean())
    assert metric.total.device == metric.count.device == MPS
    metric.reset()
    stream(metric, on_device(second))
    same(metric.compute(), scores[3:].mean())


def test_a_collection_moves():
    evaluation = example()
    collection = streaming_collection(probseg.metrics).to("mps")
    for metric in collection.values():
        stream(metric, on_device(evaluation))
    wanted = compute_metrics(evaluation, list(probseg.metrics))
    same(collection.compute(), {name: value.mean() for name, value in wanted.items()})


def test_a_stream_is_made_where_this_device_is_the_default():
    with torch.device("mps"):
        metric = StreamingMetric("gini")
    assert metric.total.device == MPS


def stream(metric: StreamingMetric, evaluation: Evaluation) -> None:
    metric.update(
        *(evaluation.probabilities, evaluation.annotations),
        *(evaluation.prior, evaluation.posterior),
        spacing=evaluation.spacing,
    )


def moved_there(model: nn.Module) -> nn.Module:
    for module in model.modules():
        for kind in (module._parameters, module._buffers):
            known = {name: one for name, one in kind.items() if one is not None}
            kind.update({name: There(one.detach()) for name, one in known.items()})
    return model


def test_the_latent_space_of_a_model_there():
    net = {"channels": [8, 16], "convolutions": 1}
    parts = {"backbone": {"name": "unet", **net}, "encoder": {"name": "axis-aligned", **net}}
    model = probseg.build("punet", **parts).eval()
    batch = Batch(torch.rand(4, 1, 16, 16), torch.randint(0, 2, (4, 3, 16, 16)).byte())
    torch.manual_seed(1)
    wanted = collapse.latent_statistics(model, batch).scalars()
    there = Batch(*(None if part is None else part.to("mps") for part in batch))
    torch.manual_seed(1)
    found = collapse.latent_statistics(moved_there(model), there).scalars()
    assert found == pytest.approx(wanted, abs=1e-5) and len(found) > 5


@pytest.mark.parametrize("projector", PROJECTORS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_computes_there_what_it_does_here(name, projector):
    options = {"projector": projector} if name in LATENT else {}
    model, (image, label) = tiny(name, **options), data(16)
    generator, label = torch.Generator(), asked(model, label)
    wanted = model.loss(image, label, generator=generator.manual_seed(1))
    sampled = model.sample(image, 3, generator=generator.manual_seed(2))
    moved_there(model)
    image, label = image.to("mps"), label.to("mps")
    found = model.loss(image, label, generator=generator.manual_seed(1))
    for term, value in found.items():
        torch.testing.assert_close(value.detach().cpu(), wanted[term].detach())
    there = model.sample(image, 3, generator=generator.manual_seed(2))
    torch.testing.assert_close(there.cpu(), sampled)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=called)
def test_every_divergence_computes_there_what_it_does_here(divergence):
    model, (image, label) = with_divergence(divergence), data(16)
    generator = torch.Generator()
    wanted = model.loss(image, label, generator=generator.manual_seed(1))["divergence"].detach()
    moved_there(model)
    there = model.loss(image.to("mps"), label.to("mps"), generator=generator.manual_seed(1))
    torch.testing.assert_close(there["divergence"].detach().cpu(), wanted)


def test_augmentation_there():
    image, masks = torch.rand(3, 1, 16, 16), torch.randint(0, 2, (3, 4, 16, 16)).byte()
    parameters = draw(3, torch.Generator().manual_seed(0))
    wanted = apply(image, masks, parameters)
    found = apply(image.to("mps"), masks.to("mps"), parameters)
    for there, here in zip(found, wanted, strict=True):
        torch.testing.assert_close(there.cpu(), here)
