"""Figures: contact sheets, samples beside annotations, curves of training, reliability.

Every function returns a ``matplotlib.figure.Figure`` that belongs to no window; save it with
``figure.savefig(path)``. Where an annotation is masked, as by ``hide_ignored``, nobody labelled:
no outline is drawn there, and the pixels are hatched.
"""

from probseg.utils.imports import require

# The imports below (E402) follow this call, whose error names the extra that is missing.
require("matplotlib", extra="plot", for_="probseg.plots")

from probseg.plots.annotated import Annotated, contact_sheet  # noqa: E402
from probseg.plots.block import Block, count_classes, hide_ignored, largest_spread, spread  # noqa: E402
from probseg.plots.curves import gini_curves, resample, training_curves  # noqa: E402
from probseg.plots.panel import draw_outline, in_colour, show_image  # noqa: E402
from probseg.plots.reliability import reliability_diagram  # noqa: E402
from probseg.plots.samples import draw_overview, map_headings, sample_overview, sample_sheet  # noqa: E402
from probseg.plots.style import (  # noqa: E402
    ANNOTATOR,
    CLASSES,
    GRID,
    INK,
    MUTED,
    Array,
    Curve,
    Labels,
    Pen,
    palette,
    pens,
)

__all__ = [
    "ANNOTATOR",
    "CLASSES",
    "GRID",
    "INK",
    "MUTED",
    "Annotated",
    "Array",
    "Block",
    "Curve",
    "Labels",
    "Pen",
    "contact_sheet",
    "count_classes",
    "draw_outline",
    "draw_overview",
    "gini_curves",
    "hide_ignored",
    "in_colour",
    "largest_spread",
    "map_headings",
    "palette",
    "pens",
    "reliability_diagram",
    "resample",
    "sample_overview",
    "sample_sheet",
    "show_image",
    "spread",
    "training_curves",
]
