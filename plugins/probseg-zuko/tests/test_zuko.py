"""zuko's flows keep the contract of every projector, and are zuko's."""

import json
import subprocess
import sys

import pytest
import torch
from torch.distributions import Independent, Normal

import probseg
from probseg.errors import OptionError
from probseg.testing import checks

NAMES = ["zuko-bpf", "zuko-maf", "zuko-nsf", "zuko-realnvp", "zuko-sospf"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _base(scale=1.0, features=6):
    mean = torch.linspace(-1, 1, 3 * features, dtype=torch.float64).view(3, features)
    return Independent(Normal(mean, torch.full_like(mean, scale), validate_args=False), 1)


def _flow(name, features=6, **options):
    options = {"features": features, "context_features": 4, **options}
    return probseg.projectors.create(name, **options).double()


def _context():
    return torch.randn(3, 4, dtype=torch.float64)


def test_every_name_is_registered():
    assert [name for name in probseg.projectors if name.startswith("zuko-")] == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", checks["projector"], ids=lambda check: check.__name__)
def test_the_flow_keeps_the_contract(name, check):
    check(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_density_is_that_of_zukos_own_flow(name):
    """On points that are no samples, whose density takes the inverse."""
    flow, base, context = _flow(name), _base(), _context()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    from zuko.distributions import NormalizingFlow

    points = base.sample((7,))
    of_zuko = NormalizingFlow(flow.transform.transform(context).inv, base)
    found, wanted = flow(base, context).log_prob(points), of_zuko.log_prob(points)
    assert (wanted - base.log_prob(points)).abs().max() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_it_starts_near_the_identity(name, scale):
    base = _base(scale)
    density = _flow(name)(base, _context())
    torch.manual_seed(1)
    z = base.rsample((50,))
    torch.manual_seed(1)
    found = density.rsample((50,))
    assert 0 < (found - z).abs().mean() / scale < 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("features", [1, 64])
def test_it_takes_any_number_of_latent_dimensions(name, features):
    density = _flow(name, features)(_base(features=features), _context())
    sample = density.rsample((2,))
    assert sample.shape == (2, 3, features)
    assert density.log_prob(sample).isfinite().all()


def test_a_point_that_zuko_cannot_invert_has_no_density():
    flow, base = _flow("zuko-sospf"), _base(8.0)
    points = torch.tensor([[0.0] * 6, [0.0] * 5 + [30.0], [5.0] * 6], dtype=torch.float64)
    found = flow(base, _context()).log_prob(points)
    assert found.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_weights_keep_the_samples_type(name):
    flow = _flow(name).to(torch.bfloat16)
    base = Independent(Normal(torch.zeros(3, 6), torch.ones(3, 6)), 1)
    sample = flow(base, torch.randn(3, 4)).rsample((5,))
    assert sample.dtype == torch.float32 and sample.isfinite().all()


def test_no_step_is_refused():
    with pytest.raises(OptionError, match="at least one step"):
        _flow("zuko-nsf", steps=0)


def test_an_unknown_option_gets_the_right_one():
    with pytest.raises(OptionError, match="did you mean 'bins'"):
        _flow("zuko-nsf", bin=4)


@pytest.mark.parametrize("name", NAMES)
def test_a_csae_with_it_trains_and_comes_back_from_disk(name, tmp_path):
    small = {"channels": [4, 8], "convolutions": 1}
    model = probseg.build(
        "csae",
        projector=name,
        backbone={"name": "unet", **small},
        encoder={"name": "axis-aligned", **small},
    )
    image, label = torch.rand(2, 1, 16, 16), torch.randint(2, (2, 16, 16))
    before = torch.cat([p.detach().flatten() for p in model.prior_projector.parameters()])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        torch.stack(list(model.loss(image, label).values())).sum().backward()
        optimizer.step()
    after = torch.cat([p.detach().flatten() for p in model.prior_projector.parameters()])
    assert after.isfinite().all() and not torch.equal(before, after)
    model.save(tmp_path / "model.safetensors")
    again = probseg.load(tmp_path / "model.safetensors")
    assert again.spec == json.loads(json.dumps(model.spec))
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_torch_checks_distributions_as_before_and_zuko_waits_for_the_first_flow():
    code = """
import sys, probseg
from torch.distributions import Normal
assert "zuko-nsf" in probseg.projectors and callable(probseg.projectors["zuko-nsf"])
assert "zuko" not in sys.modules
probseg.projectors.create("zuko-nsf", features=2, context_features=2)
assert "zuko" in sys.modules
try:
    Normal(0.0, -1.0)
except ValueError:
    print("checked")
"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "checked\n"
