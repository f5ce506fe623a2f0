"""Figures: contact sheets, samples beside annotations, the prior's Gini index over training time.

Every function returns a ``matplotlib.figure.Figure`` that belongs to no window; save it with
``figure.savefig(path)``.
"""

from probseg.utils.imports import require

require("matplotlib", extra="plot", for_="probseg.plots")  # before the modules that import it

from probseg.plots.figures import (  # noqa: E402
    ANNOTATOR,
    INK,
    MUTED,
    Annotated,
    Array,
    Block,
    Curve,
    Labels,
    contact_sheet,
    draw_outline,
    gini_curves,
    palette,
    resample,
    sample_sheet,
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
