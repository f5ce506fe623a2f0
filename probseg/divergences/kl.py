"""The Kullback-Leibler divergence, analytic where it can be."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from probseg.options import check_integer


class KL:
    r"""KL(q || p) per image, summed over the latent dimensions.

    The closed form is taken where torch knows one. Otherwise it is estimated from samples of q,

    .. math:: \frac{1}{n} \sum_i \log q(z_i) - \log p(z_i), \quad z_i \sim q,

    which for a flow evaluates the base density at z_0 and p at z_K.

    Args:
        samples: n of the Monte Carlo estimate.

    Raises:
        OptionError: There is no sample.
    """

    def __init__(self, *, samples: int = 1) -> None:
        self.samples = check_integer("samples", samples)

    def __call__(self, q: Distribution, p: Distribution) -> Tensor:
        """Return the divergence (B,) of two densities with batch (B,) and event (L,)."""
        try:
            return kl_divergence(q, p)
        except NotImplementedError:
            z = q.rsample((self.samples,))
            return (q.log_prob(z) - p.log_prob(z)).mean(0)
