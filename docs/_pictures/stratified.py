"""Draw the picture of stratified samples in docs: ``python docs/_pictures/stratified.py``."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal

from probseg.models.stratified import stratified_normal
from probseg.plots import INK, MUTED

PICTURE = Path(__file__).parents[1] / "assets" / "stratified_samples.png"
COUNTS = (2, 4, 8, 16, 32, 64)
SHOWN, REPEATS = 16, 4000
BLUE, ORANGE = "#0072B2", "#E69F00"  # Okabe and Ito's


def stratified_samples() -> Figure:
    """Draw 16 independent and 16 stratified points, and how wrong either is on how often."""
    torch.manual_seed(1)
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    first, second, errors = figure.subplots(1, 3)
    points(first, torch.randn(SHOWN, 2), "independent", ORANGE)
    points(second, stratified_normal(SHOWN, (2,), torch.device("cpu")), "stratified", BLUE)
    for name, draw, colour in (("independent", independent, ORANGE), ("stratified", strata, BLUE)):
        errors.plot(COUNTS, [error(draw(n)) for n in COUNTS], "o-", color=colour, label=name)
    errors.set_xscale("log", base=2)
    errors.set_yscale("log")
    ticks = (0.03, 0.1, 0.3)
    errors.set_yticks(ticks, [str(one) for one in ticks])
    errors.minorticks_off()
    errors.set_xticks(COUNTS, [str(count) for count in COUNTS])
    errors.set_xlabel("samples", fontsize=8)
    errors.set_title("error of a frequency", fontsize=9, color=INK)
    errors.legend(frameon=False, fontsize=8)
    _tidy(errors)
    return figure


def points(panel, drawn: Tensor, name: str, colour: str) -> None:  # noqa: ANN001  # matplotlib's Axes
    """Draw points over the sixteen intervals of equal probability of either number."""
    for edge in Normal(0, 1).icdf(torch.arange(1, SHOWN) / SHOWN).tolist():
        panel.axhline(edge, color="#dddddd", linewidth=0.6)
        panel.axvline(edge, color="#dddddd", linewidth=0.6)
    panel.plot(*drawn.T, "o", color=colour, markersize=4)
    panel.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal")
    panel.set_title(f"16 {name} samples", fontsize=9, color=INK)
    _tidy(panel)


def independent(n: int) -> Tensor:
    """Return independent numbers (n, R, 6)."""
    return torch.randn(n, REPEATS, 6)


def strata(n: int) -> Tensor:
    """Return stratified numbers (n, R, 6)."""
    return stratified_normal(n, (REPEATS, 6), torch.device("cpu"))


def error(drawn: Tensor) -> float:
    """Return the root mean square error of how often z (n, R, 6) lies beyond a random plane."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(REPEATS, 6, generator=generator)
    direction /= direction.norm(dim=1, keepdim=True)
    offset = torch.randn(REPEATS, generator=generator)
    share = ((drawn * direction).sum(-1) > offset).float().mean(0)
    return float((share - (1 - Normal(0, 1).cdf(offset))).square().mean().sqrt())


def _tidy(panel) -> None:  # noqa: ANN001  # matplotlib's Axes
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8, colors=MUTED)


if __name__ == "__main__":
    stratified_samples().savefig(PICTURE, dpi=110, metadata={"Software": None})
