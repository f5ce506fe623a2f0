"""Noise as CT has it, and smooth random fields; both are white noise seen through a kernel."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from scipy import fft, ndimage

from probseg.datasets.contours.rendering.window import Pixels


def smooth_field(shape: tuple[int, ...], width: float, random: Generator) -> Pixels:
    """Return Gaussian fields of unit standard deviation, smooth over ``width`` pixels.

    Args:
        shape: (n, H, W).
        width: Standard deviation of the smoothing kernel, pixels.
        random: Source of the fields.
    """
    white = random.standard_normal(shape, np.float32)
    field: Pixels = ndimage.gaussian_filter(white, (0, width, width), mode="wrap")
    return field * np.float32(2 * np.sqrt(np.pi) * width)  # 1 / norm of a Gaussian kernel


def ct_noise(shape: tuple[int, int, int], random: Generator) -> Pixels:
    """Return the noise of a scan in HU: a reconstruction kernel's grain, and streaks.

    Args:
        shape: (n, H, W).
        random: Source of the noise and of the scan's kernel and dose.
    """
    y = fft.fftfreq(shape[1]).astype(np.float32)[:, None]
    x = fft.rfftfreq(shape[2]).astype(np.float32)[None]
    sharp, dose = random.uniform(0.4, 0.9), random.gamma(6, 4)
    grain = _gauss(y, x, sharp, sharp) - 0.8 * _gauss(y, x, 2.5, 2.5)  # little of low frequency
    kernel = grain + random.uniform(0, 1) * _gauss(y, x, 0.6, 5)
    kernel *= dose / math.sqrt(float(np.mean(kernel**2)))
    white = random.standard_normal(shape, np.float32)
    noise: Pixels = fft.irfft2(fft.rfft2(white) * kernel, shape[1:])
    return noise


def _gauss(y: Pixels, x: Pixels, height: float, width: float) -> Pixels:
    return np.exp(-2 * np.pi**2 * ((y * height) ** 2 + (x * width) ** 2))
