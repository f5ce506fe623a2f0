"""The exported sampler gives what the model gives, for sizes that it was not exported with."""

import json
import math
from functools import partial

import pytest
import torch
from tiny import tiny
from torch.distributions import Independent, MultivariateNormal, Normal, TransformedDistribution
from torch.distributions.transforms import AffineTransform, TanhTransform
from torch.nn import functional

from probseg.errors import ExportError
from probseg.sharing import export
from probseg.sharing.export import from_noise

# Torch's exporters are a lot of Python: one model shows which lines of ours are reached.
UNTRACED = pytest.mark.untraced
MODELS = ("punet", *(pytest.param(name, marks=UNTRACED) for name in ("2p-planar", "csae")))
SIZES = [(1, 1, 8, 8), (2, 3, 16, 24), (5, 1, 40, 8)]  # n, B, H, W


def expected(model, image, noise, *, projected=False):
    """What the model's own decoder says of latents that were made from the noise by hand."""
    prior = model.prior(image)
    latent = prior.mean + prior.stddev * noise
    if projected:
        context = model.prior_encoder(image)[1]
        flow = model.prior_projector.transform
        latent = torch.stack([flow(each, context)[0] for each in latent])
    return model.decode(image, latent)


def inputs(model, n, b, height, width):
    image = torch.randn(b, model.in_channels, height, width)
    return image, torch.randn(n, b, model.latent_dim)


@pytest.fixture(scope="module")
def runtime():
    return pytest.importorskip("onnxruntime")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_reproduces_the_model(name, runtime, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    model, path = tiny(name, in_channels=2, classes=3), tmp_path / "sampler.onnx"
    export.save_onnx(model, path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = 0.0
    for size in SIZES:
        image, noise = inputs(model, *size)
        (found,) = session.run(None, {"image": image.numpy(), "noise": noise.numpy()})
        difference = (torch.from_numpy(found) - expected(model, image, noise)).abs().max()
        worst = max(worst, float(difference))
    assert worst < 1e-4
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["probseg.spec"]) == model.spec and metadata["probseg.stride"] == "2"
    with capsys.disabled():
        print(f"\n{name}: onnxruntime and PyTorch differ by at most {worst:.1e}")


@UNTRACED
def test_the_projected_prior_is_exported_through_the_flow(runtime, tmp_path):
    pytest.importorskip("onnxscript")
    model, path = tiny("csae"), tmp_path / "sampler.onnx"
    export.save_onnx(model, path, projected=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image, noise = inputs(model, 4, 2, 16, 8)
    (found,) = session.run(None, {"image": image.numpy(), "noise": noise.numpy()})
    wanted = expected(model, image, noise, projected=True)
    torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-4, rtol=0)
    assert not torch.allclose(wanted, expected(model, image, noise), atol=1e-3)  # the flow acts


@pytest.mark.parametrize("name", MODELS)
def test_the_program_reproduces_the_model(name, tmp_path):
    model, path = tiny(name), tmp_path / "sampler.pt2"
    torch.export.save(export.to_program(model), path)
    program = torch.export.load(path).module()
    for size in SIZES:
        image, noise = inputs(model, *size)
        torch.testing.assert_close(program(image, noise), expected(model, image, noise))


class PooledNetwork(torch.nn.Module):
    """A backbone that adds means over a grid of six cells, as pspnet and upernet do."""

    def __init__(self, network, pool):
        super().__init__()
        self.network, self.pool = network, pool
        self.out_channels, self.stride = network.out_channels, network.stride

    def forward(self, image):
        features = self.network(image)
        return features + functional.interpolate(self.pool(features), features.shape[-2:])


@pytest.mark.slow
@UNTRACED
def test_a_program_with_adaptive_pooling_is_right_at_other_sizes():
    model = tiny()
    model.backbone = PooledNetwork(model.backbone, torch.nn.AdaptiveAvgPool2d((3, 2)))
    program = export.to_program(model).module()
    for size in SIZES:
        image, noise = inputs(model, *size)
        torch.testing.assert_close(program(image, noise), expected(model, image, noise))


@pytest.mark.slow
@UNTRACED
def test_onnx_with_adaptive_pooling_is_right_at_other_sizes(runtime, tmp_path):
    model, path = tiny(), tmp_path / "sampler.onnx"
    model.backbone = PooledNetwork(model.backbone, torch.nn.AdaptiveAvgPool2d((3, 2)))
    export.save_onnx(model, path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in SIZES:
        image, noise = inputs(model, *size)
        (found,) = session.run(None, {"image": image.numpy(), "noise": noise.numpy()})
        wanted = expected(model, image, noise)
        torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-4, rtol=0)


@pytest.mark.slow
@UNTRACED
def test_pooling_that_onnx_has_for_one_size_only_is_refused(runtime, tmp_path):
    model, path = tiny(), tmp_path / "sampler.onnx"
    pool = partial(functional.adaptive_avg_pool2d, output_size=(3, 2))
    model.backbone = PooledNetwork(model.backbone, pool)
    with pytest.raises(ExportError):
        export.save_onnx(model, path)
    assert not list(tmp_path.iterdir())


@UNTRACED
def test_the_models_mode_stays(tmp_path):
    model = tiny("punet", backbone={"name": "unet", "channels": [2, 4], "norm": "batch"}).train()
    program = export.to_program(model).module()
    assert model.training
    image, noise = inputs(model, 2, 2, 8, 8)
    wanted = expected(model.eval(), image, noise)
    torch.testing.assert_close(program(image, noise), wanted)


def test_noise_has_the_models_distribution():
    """Samples from noise and samples from the model have the same moments."""
    model = tiny("csae")
    image = torch.randn(1, 1, 8, 8)
    noise = torch.randn(4000, 1, model.latent_dim)
    mine = export.Sampler(model)(image, noise)
    theirs = model.sample(image, 4000)
    error = 5 * theirs.std(0) / math.sqrt(2000)
    assert ((mine.mean(0) - theirs.mean(0)).abs() <= error + 1e-6).all()


def test_a_model_without_latents_says_so():
    with pytest.raises(ExportError, match="'deterministic' is a DeterministicModel"):
        export.to_program(tiny("deterministic"))


@pytest.mark.slow
@UNTRACED
@pytest.mark.parametrize("projector", ["planar", "affine-autoregressive", "rational-quadratic"])
def test_a_program_passes_the_flow(projector):
    model = tiny("csae", projector=projector)
    program = export.to_program(model, projected=True).module()
    for size in SIZES:
        image, noise = inputs(model, *size)
        wanted = expected(model, image, noise, projected=True)
        torch.testing.assert_close(program(image, noise), wanted, rtol=1e-4, atol=1e-5)


class Deciding(torch.nn.Module):
    """A projector that does one thing or another, as the values say."""

    def forward(self, base, context):
        scale = 2.0 if bool(context.sum() > 0) else 3.0
        return TransformedDistribution(base, AffineTransform(0.0, scale, event_dim=1))


def test_a_flow_that_cannot_be_written_says_so():
    model = tiny("csae")
    model.prior_projector = Deciding()
    export.to_program(model)  # the base prior passes no flow
    with pytest.raises(ExportError, match="cannot be written as a program"):
        export.to_program(model, projected=True)


def test_noise_becomes_samples_of_each_density():
    noise = torch.randn(50_000, 2, 3)
    loc, scale = torch.randn(2, 3), torch.rand(2, 3) + 0.5
    factor = torch.randn(3, 3)
    covariance = factor @ factor.T + torch.eye(3)
    joint = MultivariateNormal(loc, covariance)
    normal = Independent(Normal(loc, scale), 1)
    torch.testing.assert_close(from_noise(normal, noise), loc + scale * noise)
    found = from_noise(joint, noise)
    torch.testing.assert_close(found.mean(0), loc, atol=0.1, rtol=0)
    torch.testing.assert_close(found[:, 0].T.cov(), covariance, atol=0.1, rtol=0.05)
    flow = TransformedDistribution(normal, [AffineTransform(1.0, 2.0), TanhTransform()])
    wanted = torch.tanh(1 + 2 * (loc + scale * noise))
    torch.testing.assert_close(from_noise(flow, noise), wanted)


def test_a_density_of_another_kind_says_so():
    with pytest.raises(ExportError, match="a Gamma cannot be sampled from normal noise"):
        from_noise(torch.distributions.Gamma(1.0, 1.0), torch.zeros(1))
