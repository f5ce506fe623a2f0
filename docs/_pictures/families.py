"""Draw the data flow of each family into docs/assets: ``python docs/_pictures/families.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from probseg.plots import INK, MUTED

ASSETS = Path(__file__).parents[1] / "assets"
FILLS = {
    "data": "#F4F4F4",
    "network": "#CFE3F2",  # Okabe and Ito's blue, orange and green, pale
    "density": "#FBE3B4",
    "loss": "#CDEBDD",
}
WIDTH, HEIGHT = 1.5, 0.62  # of a box


class Box(NamedTuple):
    """A box of a diagram, centred at a column and a row."""

    text: str
    x: float
    y: float
    kind: str


class Diagram(NamedTuple):
    """Boxes by name, and arrows between them; those of training only are dashed."""

    boxes: Mapping[str, Box]
    always: tuple[str, ...]  # "from to"
    training: tuple[str, ...]


LATENT = Diagram(
    {
        "x": Box("image x", 0, 1, "data"),
        "y": Box("annotation y", 0, 0, "data"),
        "backbone": Box("backbone", 1, 2.2, "network"),
        "prior": Box("prior encoder", 1, 1, "network"),
        "posterior": Box("posterior encoder", 1, 0, "network"),
        "p": Box("p(z | x)", 2, 1, "density"),
        "q": Box("q(z | x, y)", 2, 0, "density"),
        "flow": Box("flow: projected\np and q", 3, 0.75, "network"),
        "decoder": Box("decoder", 3, 2.2, "network"),
        "samples": Box("segmentations", 4, 2.2, "data"),
        "kl": Box("β KL(q, p)", 3, -0.25, "loss"),
        "ot": Box("γ transport", 4, 0.2, "loss"),
        "ce": Box("cross-entropy", 4, 1.2, "loss"),
    },
    ("x backbone", "x prior", "prior p", "p decoder", "backbone decoder", "decoder samples"),
    (
        *("x posterior", "y posterior", "posterior q", "q kl", "p kl", "p flow", "q flow"),
        *("flow ot", "flow decoder", "samples ce"),
    ),
)
SPU = Diagram(
    {
        "x": Box("image x", 0, 1, "data"),
        "y": Box("all annotations\ny₁ … y_A", 0, 0, "data"),
        "backbone": Box("backbone", 1, 2.2, "network"),
        "prior": Box("prior encoder", 1, 1, "network"),
        "posterior": Box("posterior encoder", 1, 0, "network"),
        "p": Box("p(z | x)", 2, 1, "density"),
        "q": Box("q(z | x, y₁) …\nq(z | x, y_A)", 2, 0, "density"),
        "decoder": Box("decoder", 3, 2.2, "network"),
        "samples": Box("segmentations", 4, 2.2, "data"),
        "ot": Box("γ Sinkhorn of\nthe two sets", 3, 0.5, "loss"),
        "ce": Box("cross-entropy", 4, 1.2, "loss"),
    },
    ("x backbone", "x prior", "prior p", "p decoder", "backbone decoder", "decoder samples"),
    (
        *("x posterior", "y posterior", "posterior q", "q ot", "p ot"),
        *("q decoder", "samples ce"),
    ),
)
ENERGY = Diagram(
    {
        "x": Box("image x", 0, 1, "data"),
        "y": Box("all annotations\ny₁ … y_A", 0, 0, "data"),
        "backbone": Box("backbone", 1, 1.5, "network"),
        "prior": Box("prior encoder", 1, 0.5, "network"),
        "p": Box("p(z | x)", 2, 0.5, "density"),
        "decoder": Box("decoder", 3, 1.5, "network"),
        "samples": Box("S segmentations\nŷ₁ … ŷ_S", 4, 1, "data"),
        "loss": Box("set loss:\nenergy score", 4, 0, "loss"),
    },
    ("x backbone", "x prior", "prior p", "p decoder", "backbone decoder", "decoder samples"),
    ("samples loss", "y loss"),
)
HIERARCHICAL = Diagram(
    {
        "x": Box("image x", 0, 2, "data"),
        "y": Box("annotation y", 0, 0, "data"),
        "pyramid": Box("pyramid of x", 1, 2, "network"),
        "posterior": Box("pyramid of x, y", 1, 0, "network"),
        "p0": Box("p(z₀ | x)", 2, 1.5, "density"),
        "q0": Box("q(z₀ | x, y)", 2, 0.5, "density"),
        "up0": Box("upsample,\nmerge skip", 3, 2.4, "network"),
        "p1": Box("p(z₁ | z₀, x)", 4, 1.5, "density"),
        "q1": Box("q(z₁ | z₀, x, y)", 4, 0.5, "density"),
        "up1": Box("… finer scales,\nlogits", 5, 2.4, "network"),
        "samples": Box("segmentations", 6, 2, "data"),
        "kl0": Box("KL, transport\nof scale 0", 2, -0.5, "loss"),
        "kl1": Box("KL, transport\nof scale 1", 4, -0.5, "loss"),
        "ce": Box("cross-entropy", 6, 1, "loss"),
    },
    (
        *("x pyramid", "pyramid p0", "pyramid up0", "p0 up0", "up0 p1", "p1 up1", "up0 up1"),
        "up1 samples",
    ),
    (
        *("x posterior", "y posterior", "posterior q0", "q0 kl0", "q0 q1", "q1 kl1"),
        *("q0 up0", "q1 up1", "samples ce"),
    ),
)
FLOW_MATCHING = Diagram(
    {
        "x": Box("image x", 0, 1, "data"),
        "y": Box("annotation y\ncoded ±1", 0, 0, "data"),
        "backbone": Box("backbone\n(once an image)", 1, 1, "network"),
        "base": Box("base\nN(μ(x), σ(x)²)", 2, 1.5, "density"),
        "path": Box("state s_t between\nbase and y", 2, 0, "data"),
        "velocity": Box("velocity network\n(t, s_t, features)", 3, 0.75, "network"),
        "samples": Box("segmentations\nafter 1 to 50 steps", 4.2, 1.5, "data"),
        "loss": Box("cross-entropy of\nthe end", 4.2, 0, "loss"),
        "base_loss": Box("cross-entropy of\nthe base", 3, 2, "loss"),
    },
    ("x backbone", "backbone base", "backbone velocity", "base velocity", "velocity samples"),
    ("y path", "base path", "base base_loss", "path velocity", "velocity loss"),
)
DIAGRAMS = {
    "latent": LATENT,
    "spu_net": SPU,
    "energy": ENERGY,
    "hierarchical": HIERARCHICAL,
    "flow_matching": FLOW_MATCHING,
}


def draw(diagram: Diagram) -> Figure:
    """Draw a diagram; dashed arrows belong to training only."""
    columns = [box.x for box in diagram.boxes.values()]
    rows = [box.y for box in diagram.boxes.values()]
    size = (1.75 * (max(columns) + 1), 0.95 * (max(rows) - min(rows) + 1))
    figure = Figure(figsize=size, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(1.75 * -0.5, 1.75 * (max(columns) + 0.5))
    axes.set_ylim(0.95 * (min(rows) - 0.5), 0.95 * (max(rows) + 0.5))
    axes.axis("off")
    patches = {name: _box(axes, box) for name, box in diagram.boxes.items()}
    for style, arrows in (("solid", diagram.always), ("dashed", diagram.training)):
        for arrow in arrows:
            start, end = (patches[name] for name in arrow.split())
            _arrow(axes, start, end, style)
    return figure


def _box(axes: Axes, box: Box) -> FancyBboxPatch:
    x, y = 1.75 * box.x, 0.95 * box.y
    patch = FancyBboxPatch(
        (x - WIDTH / 2 + 0.08, y - HEIGHT / 2 + 0.04),
        WIDTH - 0.16,
        HEIGHT - 0.08,
        boxstyle="round,pad=0.03",
        facecolor=FILLS[box.kind],
        edgecolor=MUTED,
        linewidth=0.8,
    )
    axes.add_patch(patch)
    axes.text(x, y, box.text, ha="center", va="center", fontsize=8.5, color=INK, zorder=3)
    return patch


def _arrow(axes: Axes, start: FancyBboxPatch, end: FancyBboxPatch, style: str) -> None:
    middles = [
        (p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2) for p in (start, end)
    ]
    axes.add_patch(
        FancyArrowPatch(
            *middles,
            patchA=start,
            patchB=end,
            arrowstyle="-|>",
            mutation_scale=9,
            linestyle=style,
            linewidth=0.9,
            color=MUTED if style == "dashed" else INK,
            shrinkA=2,
            shrinkB=2,
            zorder=0,  # behind the boxes that it passes
        )
    )


if __name__ == "__main__":
    for name, diagram in DIAGRAMS.items():
        path = ASSETS / f"family_{name}.png"
        draw(diagram).savefig(path, dpi=110, metadata={"Software": None})
