"""The normalizing flows of zuko as projectors, each a name in ``probseg.projectors``.

All of them start near the identity, and run zuko's transforms from the base density to the
projected one: a sample and its density take one pass, the density of any other point the inverse.
"""

from collections.abc import Sequence

from probseg.projectors.flow import Flow
from probseg_zuko.flow import projector

Widths = Sequence[int]


def maf(
    features: int, context_features: int, *, steps: int = 2, hidden_features: Widths = (32, 32)
) -> Flow:
    """Return a masked autoregressive flow of affine steps.

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many steps are composed; the order of the features alternates.
        hidden_features: Widths of each step's network.

    Raises:
        OptionError: There is no step.

    References:
        Papamakarios et al., "Masked Autoregressive Flow for Density Estimation", NeurIPS 2017;
        run in this direction, Kingma et al., "Improved Variational Inference with Inverse
        Autoregressive Flow", NeurIPS 2016.
    """
    return projector("MAF", features, context_features, steps, hidden_features=hidden_features)


def nsf(
    features: int,
    context_features: int,
    *,
    steps: int = 2,
    hidden_features: Widths = (32, 32),
    bins: int = 8,
) -> Flow:
    """Return a neural spline flow: autoregressive rational-quadratic splines on [-5, 5].

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many steps are composed; the order of the features alternates.
        hidden_features: Widths of each step's network.
        bins: Pieces of each spline.

    Raises:
        OptionError: There is no step.

    References:
        Durkan et al., "Neural Spline Flows", NeurIPS 2019.
    """
    options = {"hidden_features": hidden_features, "bins": bins}
    return projector("NSF", features, context_features, steps, **options)


def bpf(
    features: int,
    context_features: int,
    *,
    steps: int = 2,
    hidden_features: Widths = (32, 32),
    degree: int = 16,
) -> Flow:
    """Return autoregressive Bernstein polynomials on [-5, 5], smooth and linear beyond.

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many steps are composed; the order of the features alternates.
        hidden_features: Widths of each step's network.
        degree: Of the polynomials.

    Raises:
        OptionError: There is no step.

    References:
        Sick et al., "Deep Transformation Models", ICPR 2020.
    """
    options = {"hidden_features": hidden_features, "degree": degree}
    return projector("BPF", features, context_features, steps, **options)


def sospf(
    features: int,
    context_features: int,
    *,
    steps: int = 2,
    hidden_features: Widths = (32, 32),
    degree: int = 4,
    polynomials: int = 3,
) -> Flow:
    """Return autoregressive integrals of sums of squared polynomials.

    zuko inverts them in [-10, 10] only: beyond, the density of a point that is no sample is NaN.

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many steps are composed; the order of the features alternates.
        hidden_features: Widths of each step's network.
        degree: Of the polynomials.
        polynomials: How many are squared and summed.

    Raises:
        OptionError: There is no step.

    References:
        Jaini et al., "Sum-of-Squares Polynomial Flow", ICML 2019.
    """
    options = {"hidden_features": hidden_features, "degree": degree, "polynomials": polynomials}
    return projector("SOSPF", features, context_features, steps, **options)


def realnvp(
    features: int, context_features: int, *, steps: int = 4, hidden_features: Widths = (32, 32)
) -> Flow:
    """Return affine coupling steps, whose inverse takes a single pass too.

    Args:
        features: L.
        context_features: Width of the context.
        steps: How many steps are composed; each moves every other feature.
        hidden_features: Widths of each step's network.

    Raises:
        OptionError: There is no step.

    References:
        Dinh et al., "Density estimation using Real NVP", ICLR 2017.
    """
    return projector("RealNVP", features, context_features, steps, hidden_features=hidden_features)


__all__ = ["bpf", "maf", "nsf", "realnvp", "sospf"]
