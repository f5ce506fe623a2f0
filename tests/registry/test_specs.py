"""Descriptions: names, mappings and ready objects, and the way back."""

import json

import pytest
import torch
from small_models import ENCODER, NET, RECIPES, UNET, small
from torch import nn

import probseg
from probseg import build
from probseg.errors import OptionError, UnknownNameError
from probseg.registry.specs import StoredWeights, plain, with_stored_weights


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((recipe, {}) for recipe in (*RECIPES, "deterministic")),
        ("csae", {"shared_flow": False, "flow_context": "own", "in_channels": 3, "classes": 4}),
        ("csae", {"projector": {"prior": "planar", "posterior": "rational-quadratic"}}),
        ("csae", {"projector": {"prior": "planar", "posterior": "planar"}}),
        ("csae", {"encoder": {"prior": ENCODER, "posterior": {**ENCODER, "channels": [8]}},
                  "flow_context": "own", "shared_flow": False}),
        ("csae", {"projector": {"name": "affine-autoregressive", "steps": 1}, "latent_dim": 3}),
        ("2p-planar", {"projector": {"name": "planar", "steps": 4}, "kl": {"name": "kl"}}),
        ("punet", {"decoder": {"name": "fcomb", "class_prior": (0.9, 0.1)}, "beta": 1}),
        ("punet", {"backbone": {**UNET, "norm": "group"}, "divergence": "exact-ot", "gamma": 2.0}),
        ("deterministic", {"class_prior": (0.9, 0.1), "reduction": "pixel-mean"}),
    ],
)  # fmt: skip
def test_the_description_is_json_and_rebuilds_the_model(name, options):
    model = small(name, **options)
    spec = json.loads(json.dumps(model.spec, allow_nan=False))
    again = build(**spec)
    assert spec == model.spec == again.spec and spec["name"] == name
    assert shapes(again) == shapes(model)
    # a shared flow stays shared, and two stay two
    assert len(list(again.parameters())) == len(list(model.parameters()))


def test_the_description_holds_defaults_and_the_loss_convention():
    spec = build("csae").spec
    assert spec["backbone"] == {
        "name": "unet", "channels": [32, 64, 128, 192], "convolutions": 3, "norm": None
    }  # fmt: skip
    assert spec["divergence"]["samples"] == 16 and spec["divergence"]["diameter"] == 100
    assert (spec["reduction"], spec["beta"], spec["gamma"]) == ("pixel-sum", 10, 10)


def test_a_part_is_a_name_a_mapping_or_an_object():
    by_name = build("punet", encoder=ENCODER)
    by_mapping = build("punet", encoder=ENCODER, backbone={"name": "unet"})
    ready = probseg.backbones.create("unet", in_channels=1)
    by_object = build("punet", encoder=ENCODER, backbone=ready)
    assert shapes(by_name) == shapes(by_mapping) == shapes(by_object)
    assert by_object.backbone is ready


def test_a_ready_object_is_named_and_has_to_be_passed_again(tmp_path):
    ready = probseg.backbones.create("unet", in_channels=1, **NET)
    model = build("punet", backbone=ready, encoder=ENCODER)
    wanted = (
        r"the backbone was a ready object \(probseg\.backbones\.unet\.UNet\) .*pass it again, "
        r"or register it with a name in probseg\.backbones"
    )
    with pytest.raises(OptionError, match=wanted):
        build(**model.spec)
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(OptionError, match=wanted):
        probseg.load(tmp_path / "m.safetensors")
    fresh = probseg.backbones.create("unet", in_channels=1, **NET)
    loaded = probseg.load(tmp_path / "m.safetensors", backbone=fresh)
    assert loaded.backbone is fresh
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


def test_projectors_and_encoders_are_shared_or_two():
    shared, two = small("csae"), small("csae", shared_flow=False)
    assert shared.prior_projector is shared.posterior_projector
    assert two.prior_projector is not two.posterior_projector
    pair = small("csae", projector={"prior": "identity", "posterior": "planar"})
    assert pair.spec["projector"]["prior"] == {"name": "identity"}
    assert pair.spec["projector"]["posterior"] == {"name": "planar", "steps": 2}
    assert pair.spec["shared_flow"] is False
    assert not list(pair.prior_projector.parameters())
    assert small("punet").prior_encoder is not small("punet").posterior_encoder


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("csea", {}, UnknownNameError, "no model is called 'csea'; did you mean 'csae'"),
        ("csae", {"latent_dims": 3}, OptionError, "'latent_dims'; did you mean 'latent_dim'"),
        ("csae", {"projector": "plannar"}, UnknownNameError, "did you mean 'planar'"),
        ("csae", {"backbone": {"name": "unet", "chanels": [4]}}, OptionError, "mean 'channels'"),
        ("csae", {"backbone": {"name": "unet", "in_channels": 1}}, OptionError,
         "'in_channels' of backbone 'unet' is set by the model; leave it out"),
        ("csae", {"backbone": {"channels": [4]}}, OptionError, 'needs a "name" among its keys'),
        ("csae", {"backbone": 3}, OptionError, "int is no backbone: it has no __call__, out_chann"),
        ("csae", {"backbone": None}, OptionError, "a name, a mapping or a ready object, not None"),
        ("csae", {"backbone": nn.ReLU}, OptionError, "or a ready object, not <class"),
        ("csae", {"backbone": nn.ReLU()}, OptionError, "no out_channels, stride; see probseg.int"),
        ("csae", {"encoder": nn.ReLU()}, OptionError, "two encoders, and ReLU is one ready"),
        ("csae", {"projector": nn.ReLU(), "shared_flow": False}, OptionError, "two projectors"),
        ("csae", {"latent_dim": "6"}, OptionError, "model 'csae' must be int, not '6'"),
        ("csae", {"latent_dim": 0}, OptionError, "latent_dim must be an integer of at least 1"),
        ("csae", {"in_channels": True}, OptionError, "'in_channels' of model 'csae' must be int"),
        ("csae", {"classes": 1}, OptionError, "classes must be an integer of at least 2"),
        ("csae", {"beta": -1}, OptionError, "beta must be a non-negative finite number, not -1"),
        ("csae", {"gamma": float("nan")}, OptionError, "gamma must be a non-negative finite"),
        ("csae", {"beta": "10"}, OptionError, "'beta' of model 'csae' must be float, not '10'"),
        ("csae", {"flow_context": "imge"}, OptionError, "did you mean 'image'"),
        ("csae", {"kl_on": "basis"}, OptionError, "not 'basis'; did you mean 'base'"),
        ("csae", {"project": "all"}, OptionError, "one of 'posterior', 'both', not 'all'"),
        ("csae", {"shared_flow": "no"}, OptionError, "model 'csae' must be bool"),
        ("csae", {"reduction": "pixel-some"}, OptionError, "did you mean 'pixel-sum'"),
        ("csae", {"divergence": None}, OptionError, "gamma=10.0 has no divergence to weight"),
        ("punet", {"divergence": "sinkhorn"}, OptionError, "pass gamma too"),
        ("csae", {"encoder": {"prior": ENCODER, "posterior": {**ENCODER, "channels": [8, 9]}},
                  "flow_context": "own"}, OptionError, "one width, and they have 8 and 9"),
        ("csae", {"backbone": {"name": "unet", "channels": 32}}, OptionError,
         r"'channels' of backbone 'unet' must be Sequence\[int\], not 32"),
        ("csae", {"backbone": {"name": "unet", "channels": []}}, OptionError, "at least one level"),
        ("csae", {"backbone": {"name": "unet", "channels": [4, 0]}}, OptionError, "least 1, not 0"),
        ("csae", {"backbone": {"name": "unet", "norm": "bach"}}, OptionError, "mean 'batch'"),
        ("csae", {"encoder": {**ENCODER, "log_scale_bound": 0}}, OptionError,
         "log_scale_bound must be a positive finite number, not 0"),
        ("csae", {"projector": {"name": "planar", "steps": "2"}}, OptionError,
         "'steps' of projector 'planar' must be int, not '2'"),
        ("csae", {"projector": {"name": "planar", "steps": 0}}, OptionError,
         "steps must be an integer of at least 1, not 0"),
        ("csae", {"projector": {"name": "affine-autoregressive", "steps": 0}}, OptionError,
         "steps must be an integer of at least 1, not 0"),
        ("csae", {"divergence": {"name": "sinkhorn", "samples": 2.5}}, OptionError, "must be int"),
        ("csae", {"divergence": {"name": "exact-ot", "samples": 0}}, OptionError,
         "samples must be an integer of at least 1, not 0"),
        ("csae", {"divergence": {"name": "sinkhorn", "weights": "densty"}}, OptionError, "density"),
        ("csae", {"kl": {"name": "kl", "samples": 0}}, OptionError,
         "samples must be an integer of at least 1, not 0"),
        ("csae", {"decoder": {"name": "fcomb", "features": -1}}, OptionError,
         "decoder 'fcomb' cannot be made from {'features': -1}"),
        ("csae", {"decoder": {"name": "fcomb", "layers": 0}}, OptionError,
         "layers must be an integer of at least 1, not 0"),
        ("csae", {"decoder": {"name": "fcomb", "class_prior": [1.0]}}, OptionError, "2 positive"),
        ("deterministic", {"in_channels": 0}, OptionError, "in_channels must be an integer"),
        ("deterministic", {"reduction": 3}, OptionError, "must be str, not 3"),
        ("deterministic", {"class_prior": [0.0, 1.0]}, OptionError, "2 positive numbers"),
    ],
)  # fmt: skip
def test_a_wrong_choice_is_named_with_the_right_one(name, options, error, text):
    with pytest.raises(error, match=text):
        small(name, **options)


def test_no_divergence_needs_no_weight():
    assert small("punet", divergence=None).spec["divergence"] is None


def test_recipes_show_their_name_and_options():
    import inspect

    recipe = probseg.models["csae"]
    assert repr(recipe) == "<recipe csae>" and "Sinkhorn" in recipe.__doc__
    assert inspect.signature(recipe).parameters["gamma"].default == 10


def test_plain_turns_tuples_into_lists_and_notes_objects():
    wanted = {"a": [1, 2.5, None, True], "b": {"object": "torch.nn.modules.activation.ReLU"}}
    assert plain({"a": (1, 2.5, None, True), "b": nn.ReLU()}) == wanted


def test_the_weights_of_all_parts_of_a_loaded_spec_are_stored_ones():
    backbone = {"name": "smp", "encoder": "resnet18", "encoder_weights": "imagenet"}
    spec = {"name": "csae", "backbone": backbone, "divergence": {"weights": "uniform", "p": 2}}
    stored = with_stored_weights(spec)
    assert stored == spec and plain(stored) == spec
    assert type(stored["backbone"]["encoder_weights"]) is StoredWeights
    assert type(stored["divergence"]["weights"]) is StoredWeights
    assert type(stored["backbone"]["encoder"]) is str
    assert type(plain(stored)["backbone"]["encoder_weights"]) is str


def test_a_divergence_that_learns_is_part_of_the_model():
    class Learning(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(6))

        def forward(self, q, p):
            return ((q.mean - p.mean).square() * self.weight).sum(-1)

    model = small("punet", divergence=Learning(), gamma=1.0)
    assert "divergences.divergence.weight" in model.state_dict()
    image, label = torch.randn(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
    model.loss(image, label)["divergence"].backward()
    assert model.divergences["divergence"].weight.grad.abs().sum() > 0


def test_segmentation_models_as_backbones():
    model = small("punet", backbone={"name": "smp", "encoder": "resnet18", "features": 5})
    assert model.backbone.out_channels == 5 and model.backbone.stride == 32
    assert model.eval().sample(torch.randn(1, 1, 20, 33), 2).shape == (2, 1, 2, 20, 33)
    assert shapes(build(**model.spec)) == shapes(model)
    pyramid = small("punet", backbone={"name": "fpn", "encoder": "resnet18"})
    assert shapes(build(**pyramid.spec)) == shapes(pyramid)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"arch": "unett"},
            "no architecture of segmentation-models-pytorch is called 'unett'; did you mean 'unet'",
        ),
        (
            {"encoder": "resnet_34"},
            "no encoder of segmentation-models-pytorch is called 'resnet_34'; did you mean 'resn",
        ),
        (
            {"encoder": "resnet18", "decoder_interpolaton": 3},
            "'decoder_interpolation'",
        ),
        ({"encoder": "resnet18", "encoder_depth": 9}, "cannot build 'unet' with encoder"),
        ({"encoder": "tu-no_such_network"}, "cannot build|tu-no_such_network"),
    ],
)
def test_what_segmentation_models_do_not_have(options, text):
    with pytest.raises(OptionError, match=text):
        small("punet", backbone={"name": "smp", **options})


def test_a_network_that_cannot_train_on_one_image_says_so():
    from probseg.errors import InputError

    model = small("deterministic", backbone={"name": "deeplabv3plus", "encoder": "resnet18"})
    with pytest.raises(InputError, match="batch of one; use a larger batch"):
        model.loss(torch.randn(1, 1, 32, 32), torch.zeros(1, 32, 32, dtype=torch.long))
