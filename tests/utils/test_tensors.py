"""What users may pass to a model, and what they are told when they may not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import batch, generator, small
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from probseg.errors import InputError
from probseg.models.cross_entropy import CrossEntropy, cross_entropies
from probseg.utils.tensors import cropped, one_hot, padded

IMAGE = torch.zeros(2, 1, 8, 8)
LABEL = torch.zeros(2, 8, 8, dtype=torch.long)


def with_value(tensor, value):
    changed = tensor.clone()
    changed[0, ..., 3, 3] = value
    return changed


BAD_IMAGES = [
    (IMAGE.numpy(), r"image must be a torch\.Tensor, not ndarray"),
    (IMAGE[0], r"image must be \(B, C, H, W\), not \(1, 8, 8\); add .* image\[None\]"),
    (IMAGE.expand(2, 3, 8, 8), "image has 3 channels and the model takes 1; .* in_channels=3"),
    (IMAGE[:0], r"image must not be empty, but the shape is \(0, 1, 8, 8\)"),
    (IMAGE[..., :0], "image must not be empty"),
    (IMAGE.to(torch.uint8), r"must be floating, not torch\.uint8; .* image\.float\(\) / 255"),
    (with_value(IMAGE, float("nan")), "1 values that are NaN or infinite in .*nan_to_num"),
    (with_value(IMAGE, float("inf")), "1 values that are NaN or infinite"),
    (with_value(IMAGE, -float("inf")), "1 values that are NaN or infinite"),
    (with_value(IMAGE.double(), 1e39), r"1 values that are NaN or infinite in torch\.float32"),
    (
        IMAGE.to("meta"),
        r"image must be on .* the model, cpu, not on meta; move it with \.to\('cpu'\)",
    ),
]
BAD_LABELS = [
    (LABEL.numpy(), r"label must be a torch\.Tensor, not ndarray"),
    (LABEL[:1], r"\(B, H, W\) = \(2, 8, 8\) like the image, not \(1, 8, 8\)"),
    (LABEL[..., :7], r"\(2, 8, 8\) like the image, not \(2, 8, 7\)"),
    (LABEL[:, None], r"not \(2, 1, 8, 8\); drop its channel axis with label\[:, 0\]"),
    (
        torch.stack([1 - LABEL, LABEL], dim=1),
        r"not \(2, 2, 8, 8\); if its channels are one-hot .* label\.argmax\(1\)",
    ),
    (LABEL.float(), r"integer classes, not torch\.float32; convert whole numbers with \.long\(\)"),
    (LABEL.to(torch.complex64), r"integer classes, not torch\.complex64"),
    (
        with_value(LABEL, 255),
        r"must hold the classes 0 to 1, not values from 0 to 255; map",
    ),
    (with_value(LABEL, 2), "must hold the classes 0 to 1, not values from 0 to 2"),
    (with_value(LABEL, -1), "values from -1 to 0"),
    (LABEL.to("meta"), "label must be on the device of the model, cpu, not on meta"),
]


@pytest.fixture(scope="module", params=["csae", "deterministic"])
def model(request):
    return small(request.param)


@pytest.mark.parametrize(("image", "text"), BAD_IMAGES)
def test_a_bad_image(model, image, text):
    with pytest.raises(InputError, match=text):
        model.loss(image, LABEL)
    with pytest.raises(InputError, match=text):
        model.sample(image, 2)
    if hasattr(model, "prior"):
        with pytest.raises(InputError, match=text):
            model.prior(image)
        with pytest.raises(InputError, match=text):
            model.posterior(image, LABEL)
        with pytest.raises(InputError, match=text):
            model.reconstruct(image, LABEL)


@pytest.mark.parametrize(("label", "text"), BAD_LABELS)
def test_a_bad_label(model, label, text):
    with pytest.raises(InputError, match=text):
        model.loss(IMAGE, label)
    if hasattr(model, "posterior"):
        with pytest.raises(InputError, match=text):
            model.posterior(IMAGE, label)
        with pytest.raises(InputError, match=text):
            model.reconstruct(IMAGE, label)


@pytest.mark.parametrize("count", [0, -1, 2.0, "3"])
def test_a_bad_number_of_samples(model, count):
    with pytest.raises(InputError, match="number of samples must be a positive integer, not"):
        model.sample(IMAGE, count)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.bool])
def test_any_integer_label_is_taken(model, dtype):
    image, label = batch(2, 8, 8)
    wanted = model.loss(image, label, generator=generator())
    found = model.loss(image, label.to(dtype), generator=generator())
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in wanted.items()}


def test_classes_are_compared_as_torch_scatters_them():
    _, label = batch(3, 5, 7, classes=4)
    wanted = functional.one_hot(label, 4).movedim(-1, 1)
    found = one_hot(label, 4)
    assert torch.equal(found, wanted.bool()) and found.stride() == wanted.stride()


def test_a_class_that_is_none_is_in_no_channel():
    label = torch.tensor([[[0, 255], [-1, 2]]])
    assert one_hot(label, 3).sum(1).tolist() == [[[1, 0], [0, 1]]]


@pytest.mark.parametrize("bad", [2, 255, -1, -101])
@pytest.mark.parametrize("reduction", ["pixel-sum", "pixel-mean"])
def test_a_label_that_nobody_looked_at_makes_the_loss_nan_and_asserts_nothing(bad, reduction):
    logits, (_, label) = torch.randn(2, 2, 8, 8), batch(2, 8, 8)
    each = cross_entropies(logits, with_value(label, bad))
    wanted = functional.cross_entropy(logits, label, reduction="none")
    assert each.isnan().nonzero().tolist() == [[0, 3, 3]]
    assert torch.equal(each[1], wanted[1])
    assert CrossEntropy(reduction)(logits, with_value(label, bad)).isnan()


@pytest.fixture
def on_a_gpu():
    """A model and a batch of fake tensors, which raise where a value is looked at."""
    fake = small("csae")  # outside: torch looks at values where it draws the first weights
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in fake.modules():
            for name, weight in module.named_parameters(recurse=False):
                there = nn.Parameter(torch.empty(weight.shape, device="cuda"))
                module.register_parameter(name, there)
        yield fake, torch.rand(2, 1, 16, 16, device="cuda")


@pytest.mark.skipif(torch.__version__ < "2.7", reason="its fake GPU asks for a driver")
def test_a_training_step_on_a_gpu_does_not_look_at_its_label(on_a_gpu):
    fake, image = on_a_gpu
    terms = fake.loss(image, torch.full((2, 16, 16), 255, device="cuda"))
    assert {term.device.type for term in terms.values()} == {"cuda"}


def test_where_values_may_be_waited_for_a_gpus_label_is_looked_at(on_a_gpu, monkeypatch):
    fake, image = on_a_gpu
    # the image's values are looked at first, of which fake tensors have none
    monkeypatch.setattr("probseg.utils.model_inputs._check_values", lambda image: None)
    label = torch.zeros(2, 16, 16, dtype=torch.long, device="cuda")
    for look in (fake.reconstruct, fake.posterior, fake.densities):
        with pytest.raises(DataDependentOutputException):
            look(image, label)


def test_a_projected_prior_that_needs_a_label_is_refused():
    model = small("csae", flow_context="posterior")
    with pytest.raises(InputError, match="needs a label; sample the base prior, or build with"):
        model.sample(IMAGE, 2, projected=True)
    assert small("csae").sample(IMAGE, 2, projected=True).shape == (2, 2, 2, 8, 8)
    # this one's prior is not projected at all
    assert small("2p-planar").sample(IMAGE, 2, projected=True).shape == (2, 2, 2, 8, 8)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 20), width=st.integers(1, 20), stride=st.sampled_from([1, 2, 8, 32]))
def test_padding_repeats_the_border_and_cropping_undoes_it(height, width, stride):
    tensor = torch.randn(2, 3, height, width)
    found = padded(tensor, stride)
    assert found.shape[2] % stride == found.shape[3] % stride == 0
    assert found.shape[2] - height < stride and found.shape[3] - width < stride
    assert torch.equal(cropped(found, tensor), tensor)
    rows = torch.arange(found.shape[2]).clamp_max(height - 1)
    columns = torch.arange(found.shape[3]).clamp_max(width - 1)
    assert torch.equal(found, tensor[:, :, rows][..., columns])
