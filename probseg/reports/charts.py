"""Figures as inline SVG in a page's colours, with what they show in words."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from probseg.plots import GRID, INK, MUTED

# Colours of a figure that are no system's, as the page's own, which follow its theme.
_THEMED = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)"}
# text stays text; the same bytes every time
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "probseg"}


@dataclass(frozen=True)
class Chart:
    """A figure, drawn and in words."""

    title: str
    svg: Markup
    summary: str

    @classmethod
    def of(cls, figure: Figure, title: str, summary: str) -> Chart:
        """Draw a figure.

        Args:
            figure: Without a title of its own.
            title: The heading; no other chart of the page has it.
            summary: What the figure shows, for who does not see it.
        """
        text = io.StringIO()
        with matplotlib.rc_context(_STYLE):
            figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        return cls(title, _inline(text.getvalue(), title), summary)


def _inline(svg: str, name: str) -> Markup:
    """Return the drawing alone, with themed colours and ids that no other drawing has."""
    drawing = svg[svg.index("<svg") :]
    for fixed, themed in _THEMED.items():
        drawing = drawing.replace(fixed.lower(), themed)
    drawing = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", drawing)  # which HTML knows
    drawing = drawing.replace("xlink:href", "href")
    prefix = re.sub(r"\W", "-", name)
    drawing = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", drawing)
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, flags=re.S)
    drawing = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'aria-hidden="true"', drawing, count=1)
    return Markup(drawing)
