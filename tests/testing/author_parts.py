"""Parts as authors of plugins write them: some are no Normal, some compute in their own precision.

``ACCEPTED`` are trained and scored; ``REFUSED`` names the check that refuses a part, and words of
the remedy.
"""

import math

import torch
from network_faults import Box, Mixture, NarrowStudentT, NoMoments, NoVariance
from torch import nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
    Transform,
    TransformedDistribution,
    constraints,
)

from probseg.models.base import ProbabilisticModel
from probseg.models.cross_entropy import cross_entropies
from probseg.projectors.amortised import Amortised, VectorTransform
from probseg.utils.tensors import one_hot, probabilities


class StudentTEncoder(nn.Module):
    """Two convolutions, and a Student-t in full precision."""

    numbers = 2  # a latent dimension
    precise = True

    def __init__(self, *, in_channels, latent_dim, width=8):
        super().__init__()
        self.context_features, self.latent_dim = width, latent_dim
        self.layers = nn.Sequential(
            *(nn.Conv2d(in_channels, width, 3, stride=2, padding=1), nn.GELU()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.GELU()),
        )
        self.head = nn.Linear(width, self.numbers * latent_dim)

    def forward(self, image):
        features = self.layers(image).mean((2, 3))
        narrow = torch.is_autocast_enabled("cpu") and not self.precise
        with torch.autocast("cpu", enabled=narrow):
            context = features.to(self.head.weight.dtype)
            return self.density(*self.head(context).chunk(self.numbers, -1)), context

    def density(self, mean, raw):
        return Independent(StudentT(2.5, mean, raw.tanh().exp()), 1)


class LaplaceEncoder(StudentTEncoder):
    def density(self, mean, raw):
        return Independent(Laplace(mean, raw.tanh().exp()), 1)


class FullCovariance(StudentTEncoder):
    """A Normal with a factor of its covariance, for three latent dimensions."""

    numbers = 4

    def density(self, mean, *rows):
        lower = torch.stack([row.tanh() for row in rows], dim=-2).tril(-1)
        return MultivariateNormal(mean, scale_tril=lower + torch.diag_embed(rows[0].tanh().exp()))


class GumbelMixture(StudentTEncoder):
    """A mixture of two Normals, whose samples have gradients."""

    numbers = 5

    def density(self, weights, *moments):
        mean, other, raw, other_raw = moments
        each = Normal(torch.stack([mean, other], 1), torch.stack([raw, other_raw], 1).tanh().exp())
        return _Mixture(Categorical(logits=weights[:, :2]), Independent(each, 1))


class _Mixture(MixtureSameFamily):
    has_rsample = True

    def rsample(self, sample_shape=()):
        each = self.component_distribution.rsample(torch.Size(sample_shape))
        logits = self.mixture_distribution.logits.expand(each.shape[:-1])
        return (nn.functional.gumbel_softmax(logits, hard=True)[..., None] * each).sum(-2)


class NarrowNormal(StudentTEncoder):
    precise = False

    def density(self, mean, raw):
        return Independent(Normal(mean, raw.tanh().exp()), 1)


class Stretch(VectorTransform):
    def __init__(self, stretch, shift):
        super().__init__()
        self.stretch, self.shift = stretch.tanh(), shift

    def _call(self, z):
        return z * self.stretch.exp() + self.shift

    def _inverse(self, y):
        return (y - self.shift) / self.stretch.exp()

    def log_abs_det_jacobian(self, z, y):
        return self.stretch.sum(-1).expand(z.shape[:-1])


def wide_flow(*, features, context_features):
    """A flow that returns float32 under autocast."""
    shapes = {"stretch": (features,), "shift": (features,)}
    return Amortised(Stretch, shapes, context_features=context_features)


class Coupling(nn.Module):
    """A flow of one's own, whose network runs under autocast whenever it is sampled."""

    def __init__(self, *, features, context_features):
        super().__init__()
        self.half = features // 2
        self.network = nn.Linear(self.half + context_features, 2 * (features - self.half))

    def forward(self, base, context):
        return TransformedDistribution(base, [_Coupled(self, context)])


class _Coupled(Transform):
    domain = codomain = constraints.real_vector
    bijective = True

    def __init__(self, flow, context):
        super().__init__(cache_size=1)
        self.flow, self.context = flow, context

    def _read(self, x):
        first, second = x[..., : self.flow.half], x[..., self.flow.half :]
        context = self.context.expand(*x.shape[:-1], -1)
        stretch, shift = self.flow.network(torch.cat([first, context], -1)).chunk(2, -1)
        return first, second, stretch.tanh(), shift

    def _call(self, x):
        first, second, stretch, shift = self._read(x)
        return torch.cat([first, second * stretch.exp() + shift], -1)

    def _inverse(self, y):
        first, second, stretch, shift = self._read(y)
        return torch.cat([first, (second - shift) / stretch.exp()], -1)

    def log_abs_det_jacobian(self, x, y):
        return self._read(x)[2].sum(-1)


class NarrowFlow(nn.Module):
    """Gives samples in the precision of its network."""

    def __init__(self, *, features, context_features):
        super().__init__()
        self.network = nn.Linear(context_features, features)

    def forward(self, base, context):
        return TransformedDistribution(base, [_Narrow(self.network(context))])


class _Narrow(VectorTransform):
    def __init__(self, shift):
        super().__init__(cache_size=1)
        self.shift = shift

    def _call(self, z):
        return (z + self.shift).to(self.shift.dtype)

    def log_abs_det_jacobian(self, z, y):
        return z.new_zeros(z.shape[:-1])


class OfNormals(nn.Module):
    """Moves the location of a Normal, and drops what else the base may be."""

    def __init__(self, *, features, context_features):
        super().__init__()
        self.network = nn.Linear(context_features, features)

    def forward(self, base, context):
        normal = base.base_dist
        return Independent(Normal(normal.loc + self.network(context), normal.scale), 1)


class Upcasts(nn.Module):
    """A backbone that returns float32 under autocast."""

    stride, out_channels = 1, 6

    def __init__(self, *, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 6, 3, padding=1)

    def forward(self, image):
        return self.conv(image).float()


class DoublePrecision(Upcasts):
    def forward(self, image):
        return self.conv(image).double()


class Views(Upcasts):
    """Takes for granted how an image lies in memory."""

    def forward(self, image):
        features = self.conv(image)
        return features.view(len(image), -1).view(features.shape)


class Moments:
    """A divergence of samples."""

    def __call__(self, q, p):
        x, y = (density.rsample((32,)) for density in (q, p))
        return ((x.mean(0) - y.mean(0)).square() + (x.std(0) - y.std(0)).square()).sum(-1)


class NormalMoments:
    """A divergence that reads what a projected density has not."""

    def __call__(self, q, p):
        return (q.mean - p.mean).square().sum(-1) + (q.stddev - p.stddev).square().sum(-1)


class _WholeModel(ProbabilisticModel):
    """A model of one convolution as its backbone, which its description does not tell."""

    def __init__(self, name, in_channels, classes):
        super().__init__({"name": name, "in_channels": in_channels, "classes": classes})
        self.backbone = nn.Sequential(nn.Conv2d(in_channels, 8, 5, padding=2), nn.ReLU())
        self.backbone.stride = 1


class Heads(_WholeModel):
    """Two heads, of which each sample picks one: ``-log sum_h w_h(x) p_h(y | x)``."""

    def __init__(self, *, in_channels=1, classes=2):
        super().__init__("my-heads", in_channels, classes)
        self.heads = nn.Conv2d(8, 2 * classes, 1)
        self.weights = nn.Linear(8, 2)

    def terms(self, features, label):
        each = [-cross_entropies(logits, label).sum((1, 2)) for logits in self._logits(features)]
        joint = torch.stack(each, 1) + self._choice(features).logits
        return {"negative_log_likelihood": -joint.logsumexp(1).mean()}

    def draw(self, features, n):
        picked = self._choice(features).sample((n,))
        logits = torch.stack(self._logits(features), 1)
        return probabilities(logits[torch.arange(len(logits)), picked])

    def _logits(self, features):
        return self.heads(features).chunk(2, 1)

    def _choice(self, features):
        return Categorical(logits=self.weights(features.mean((2, 3))))


class LabelFlow(_WholeModel):
    """A conditional flow over the label with noise, after Lu and Huang's c-Glow."""

    def __init__(self, *, in_channels=1, classes=2):
        super().__init__("my-labelflow", in_channels, classes)
        self.affine = nn.Conv2d(8, 2 * classes, 3, padding=1)

    def terms(self, features, label):
        y = one_hot(label, self.classes).to(features)
        log_scale, shift = self._affine(features)
        z = (y + 0.3 * torch.randn_like(y) - shift) * (-log_scale).exp()
        per_pixel = 0.5 * (z.square() + math.log(2 * math.pi)) + log_scale
        return {"negative_log_likelihood": per_pixel.sum((1, 2, 3)).mean()}

    def draw(self, features, n):
        log_scale, shift = self._affine(features)
        z = torch.randn(n, *shift.shape, device=shift.device)
        return probabilities(8 * (shift + log_scale.exp() * z))

    def _affine(self, features):
        log_scale, shift = self.affine(features).chunk(2, 1)
        return log_scale.tanh(), shift


class OwnLatents(_WholeModel):
    """A latent model with a Laplace prior, which no posterior is learnt for."""

    latent_dim = 3

    def __init__(self, *, in_channels=1, classes=2):
        super().__init__("my-ownlatents", in_channels, classes)
        self.logits, self.from_latent = nn.Conv2d(8, classes, 1), nn.Linear(3, classes)
        self.encode = nn.Linear(8, 6)

    def terms(self, features, label):
        logits = self._decoded(features, self._prior(features).rsample((4,)))
        each = torch.stack([-cross_entropies(one, label).sum((1, 2)) for one in logits])
        return {"negative_log_likelihood": -(each.logsumexp(0) - math.log(4)).mean()}

    def draw(self, features, n):
        return probabilities(self._decoded(features, self._prior(features).sample((n,))))

    def prior(self, image) -> Distribution:
        return self._prior(self.features(image))

    def _prior(self, features):
        mean, raw = self.encode(features.mean((2, 3)).to(self.encode.weight.dtype)).chunk(2, -1)
        return Independent(Laplace(mean, raw.tanh().exp()), 1)

    def _decoded(self, features, latent):
        return self.logits(features) + self.from_latent(latent)[..., None, None]


ACCEPTED = [
    *(("encoder", part) for part in (StudentTEncoder, LaplaceEncoder, GumbelMixture, NoMoments)),
    *(("projector", part) for part in (wide_flow, Coupling)),
    *(("backbone", Upcasts), ("divergence", Moments)),
    *(("model", part) for part in (Heads, LabelFlow, OwnLatents)),
]
_NARROW = ("density_is_learnt_as_fit_runs_it", r"in float32 under bf16.*enabled=False")
REFUSED = {
    ("encoder", NarrowStudentT): _NARROW,
    ("encoder", NarrowNormal): _NARROW,
    ("encoder", NoVariance): ("scale_is_positive_and_bounded", "above two degrees of freedom"),
    ("encoder", Mixture): ("density_reaches_every_parameter", "Gumbel-softmax"),
    ("encoder", Box): ("density_is_compared_with_another", "same support"),
    ("projector", NarrowFlow): ("projected_as_fit_runs_it", "enabled=False"),
    ("projector", OfNormals): ("every_base_is_projected", "log_prob"),
    ("backbone", DoublePrecision): ("features_are_learnt_as_fit_runs_it", "bfloat16 or float32"),
    ("backbone", Views): ("features_are_learnt_as_fit_runs_it", "reshape"),
    ("divergence", NormalMoments): ("takes_densities_of_every_kind", "rsample and log_prob"),
}
