"""Figures: contact sheets, samples beside annotations, the prior's Gini index over training time.

Every function returns a ``matplotlib.figure.Figure`` that belongs to no window; save it with
``figure.savefig(path)``.
"""

from probseg.utils.optional import require

require("matplotlib", extra="plot", for_="probseg.plots")  # before the modules that import it

from probseg.plots.curves import Curve, gini_curves, resample  # noqa: E402
from probseg.plots.sheets import Annotated, Block, contact_sheet, sample_sheet  # noqa: E402
from probseg.plots.style import (  # noqa: E402
    ANNOTATOR,
    INK,
    MUTED,
    Array,
    Labels,
    draw_outline,
    palette,
    show_image,
)

__all__ = [
    "ANNOTATOR",
    "INK",
    "MUTED",
    "Annotated",
    "Array",
    "Block",
    "Curve",
    "Labels",
    "contact_sheet",
    "draw_outline",
    "gini_curves",
    "palette",
    "resample",
    "sample_sheet",
    "show_image",
]
