"""The Kullback-Leibler divergence, analytic where it can be."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from probseg.errors import OptionError
from probseg.options import an, check_integer, check_number


class KL:
    r"""KL(q || p) per image, summed over the latent dimensions.

    The closed form is taken where torch knows one. Otherwise it is estimated from samples of q,

    .. math:: \frac{1}{n} \sum_i \log q(z_i) - \log p(z_i), \quad z_i \sim q,

    which for a flow evaluates the base density at z_0 and p at z_K.

    With free bits b it is :math:`\sum_i \max(b, \mathrm{KL}_i)` over the latent dimensions i of an
    image: a divergence of a dimension below b is not penalised, as it has no gradient. They need
    independent Normals on both sides: other densities, as a flow's, have no divergence of each
    dimension, and are refused.

    Args:
        samples: n of the Monte Carlo estimate.
        free_bits: b, in nats a dimension.

    Raises:
        OptionError: There is no sample, or ``free_bits`` is negative.

    References:
        Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow", NeurIPS
        2016, eq. (15), there of the mean over a batch.
    """

    def __init__(self, *, samples: int = 1, free_bits: float = 0.0) -> None:
        self.samples = check_integer("samples", samples)
        self.free_bits = check_number("free_bits", free_bits, positive=False)

    def check_densities(self, q: Distribution, p: Distribution) -> None:
        """Check that densities can be compared; a model does when it is built.

        Raises:
            OptionError: There are free bits, and a density is not of independent Normals.
        """
        if self.free_bits:
            for density in (q, p):
                _independent(density)

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,).

        Raises:
            OptionError: There are free bits, and a density is not of independent Normals.
        """
        if self.free_bits:
            each = kl_divergence(_independent(q), _independent(p))
            return each.clamp_min(self.free_bits).sum(-1)
        try:
            return kl_divergence(q, p)
        except NotImplementedError:
            z = q.rsample((self.samples,))
            return (q.log_prob(z) - p.log_prob(z)).mean(0)


def _independent(density: Distribution) -> Normal:
    """Return the Normals, batch (B, L), of a density whose dimensions are independent.

    Raises:
        OptionError: It has none.
    """
    if isinstance(density, Independent) and isinstance(density.base_dist, Normal):
        return density.base_dist
    raise OptionError(
        f"free_bits needs independent Normals on both sides, and one of these is "
        f"{an(type(density).__name__)}; compare them on the base space (kl_on='base', or on='base' "
        "of a penalty) with an axis-aligned encoder, or leave free_bits out"
    )
