"""The data flow of a model as a drawing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch

from probseg.utils.atomic_files import atomic_file

if TYPE_CHECKING:
    from probseg.cli.anatomy import Anatomy
    from probseg.cli.tracing import Flow, Node

_STEP, _LEVEL = 3.0, 1.1  # inches between columns and between rows
_FACES = {"input": "#E8EEF4", "part": "#FFF3DC", "output": "#E2F2EC"}


def draw_flows(anatomy: Anatomy, path: Path) -> None:
    """Draw what happens in training and in sampling, from left to right, into a file.

    Raises:
        WriteError: The file cannot be written.
    """
    flows = {"training": anatomy.training, "sampling": anatomy.sampling}
    grids = {title: _grid(flow) for title, flow in flows.items()}
    wide = max(column for grid in grids.values() for column, _ in grid.values()) + 1
    rows = [max(row for _, row in grid.values()) + 1.4 for grid in grids.values()]
    figure = Figure(figsize=(_STEP * wide, _LEVEL * sum(rows)), layout="constrained")
    panels = figure.subplots(len(flows), 1, height_ratios=rows, squeeze=False)[:, 0]
    for panel, (title, flow), height in zip(panels, flows.items(), rows, strict=True):
        _draw(panel, flow, grids[title])
        panel.set_title(f"{anatomy.spec['name']}, {title}", loc="left", fontweight="bold")
        panel.set(xlim=(-0.5, wide - 0.5), ylim=(height - 0.7, -0.7))
        panel.set_axis_off()
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _grid(flow: Flow) -> dict[str, tuple[int, float]]:
    """Return column and row of each node: one column after the last of what it reads."""
    columns: dict[str, int] = {}
    for node in flow.nodes:
        columns[node.name] = 1 + max((columns[name] for name in node.reads), default=-1)
    last = max(columns.values())
    read = {name for node in flow.nodes for name in node.reads}
    columns |= {name: last for name in columns if name not in read and columns[name]}
    inside = {c: [n for n in columns if columns[n] == c] for c in range(last + 1)}
    tallest = max(map(len, inside.values()))
    return {
        name: (column, row + (tallest - len(names)) / 2)
        for column, names in inside.items()
        for row, name in enumerate(names)
    }


def _draw(panel: Axes, flow: Flow, grid: dict[str, tuple[int, float]]) -> None:
    read = {name for node in flow.nodes for name in node.reads}
    boxes: dict[str, Patch] = {}
    for node in flow.nodes:
        kind = "part" if node.reads else "input"
        kind = "output" if node.name not in read else kind
        boxes[node.name] = _box(panel, node, grid[node.name], kind)
        for name in node.reads:
            far = grid[node.name][0] - grid[name][0] > 1  # bent round what lies between
            arrow = FancyArrowPatch(
                grid[name],
                grid[node.name],
                arrowstyle="-|>",
                connectionstyle=f"arc3,rad={0.12 * far}",
                mutation_scale=10,
                patchA=boxes[name],
                patchB=boxes[node.name],
                color="#666666",
            )
            panel.add_patch(arrow)


def _box(panel: Axes, node: Node, at: tuple[int, float], kind: str) -> Patch:
    name = node.name.replace(" = ", " =\n")
    gives = "" if node.gives == "()" else f"\n{node.gives}"
    text = panel.text(
        *at,
        f"{name}{gives}",
        ha="center",
        va="center",
        fontsize=8,
        zorder=3,
        bbox={"boxstyle": "round,pad=0.5", "facecolor": _FACES[kind], "edgecolor": "#999999"},
    )
    patch = text.get_bbox_patch()
    assert patch is not None
    return patch
