"""The exported sampler gives what the model gives, for sizes that it was not exported with."""

import json
import math

import pytest
import torch
from tiny import PARTS, tiny
from torch.distributions import Independent, MultivariateNormal, Normal, TransformedDistribution
from torch.distributions.transforms import AffineTransform, TanhTransform

import probseg
from probseg.errors import ExportError
from probseg.sharing import export
from probseg.sharing.export import from_noise

# Torch's exporters are a lot of Python: one model shows which lines of ours are reached.
OFFERS = probseg.models.offers().items()
BUILTIN = [name for name, offers in OFFERS if offers[0].source == "probseg"]
UNTRACED = pytest.mark.untraced
MODELS = (
    "punet",
    *(pytest.param(name, marks=UNTRACED) for name in ("2p-planar", "csae", "energy")),
)
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


class Remembers(torch.nn.Module):
    """A backbone that keeps the size of the last image that it saw before it was written."""

    stride, out_channels = 2, 4

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, image):
        if type(image.shape[-1]) is int:  # torch.export has symbols in its place
            self.side = image.shape[-1]
        return self.conv(image) * self.side


@UNTRACED
def test_a_program_that_is_wrong_at_other_sizes_is_refused():
    with pytest.raises(ExportError, match=r"wrong at 4x6 pixels.* choose another backbone"):
        export.to_program(tiny("csae", backbone=Remembers()))


def of_library(arch):
    name = {"name": "smp", "arch": "unet"} if arch == "unet" else {"name": arch}
    encoder = {} if arch == "dpt" else {"encoder": "resnet18"}
    torch.manual_seed(0)
    options = {**PARTS, "backbone": {**name, **encoder}}  # the weights of tiny would overflow
    return probseg.build("csae", **options).eval()


# rows, columns of strides, other than the example's; some programs need two strides a side
STRIDES = [(2, 8), (7, 5), (2, 2), (1, 3)]


def check_sizes(model, written, *, least=1):
    """Check what was written at every size that is promised."""
    stride = model.backbone.stride
    for rows, columns in STRIDES if least == 1 else STRIDES[:-1]:
        image, noise = inputs(model, 3, 2, rows * stride, columns * stride)
        wanted = expected(model, image, noise)
        torch.testing.assert_close(written(image, noise), wanted, atol=1e-4, rtol=0)


@pytest.mark.slow
@UNTRACED
@pytest.mark.parametrize("arch", sorted({*probseg.backbones, "unet"} - {"smp"}))
def test_a_program_of_each_architecture_is_right_at_every_promised_size_or_refused(arch):
    model = of_library(arch)
    try:
        program = export.to_program(model).module()
    except ExportError as refusal:
        assert "choose another backbone" in str(refusal) or "of its parts" in str(refusal)
        return
    image, noise = inputs(model, 1, 1, model.backbone.stride, 3 * model.backbone.stride)
    try:
        program(image, noise)
    except Exception:  # says that the side is too small
        check_sizes(model, program, least=2)
    else:
        check_sizes(model, program)


@pytest.mark.slow
@UNTRACED
@pytest.mark.parametrize("arch", ["unet", "upernet", "pan"])
def test_onnx_of_an_architecture_is_right_at_every_promised_size(arch, runtime, tmp_path):
    pytest.importorskip("onnxscript")
    model = of_library(arch)
    export.save_onnx(model, tmp_path / "sampler.onnx")
    session = runtime.InferenceSession(
        tmp_path / "sampler.onnx", providers=["CPUExecutionProvider"]
    )
    facts = session.get_modelmeta().custom_metadata_map
    assert int(facts["probseg.stride"]) == model.backbone.stride

    def run(image, noise):
        (found,) = session.run(None, {"image": image.numpy(), "noise": noise.numpy()})
        return torch.from_numpy(found)

    check_sizes(model, run, least=int(facts["probseg.least"]) // model.backbone.stride)


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


def _has_a_sampler(name):
    try:
        export.Sampler(tiny(name))
    except ExportError:
        return False
    return True


def test_the_error_names_every_model_that_has_a_sampler():
    with pytest.raises(ExportError) as refused:
        export.Sampler(tiny("deterministic"))
    able = ", ".join(name for name in sorted(BUILTIN) if _has_a_sampler(name))
    assert str(refused.value).endswith(f"; {able} are such models")
    assert able == "2p-planar, csae, energy, punet, spu-net"


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
