"""Docstrings' Sphinx notation, as Markdown: formulas become MathML, which needs no script."""

from __future__ import annotations

import re

from griffe import Extension, Object
from latex2mathml.converter import convert

_BLOCK = re.compile(r"^\.\. math::\s*(?P<latex>.+?)(?=\n\n|\Z)", re.M | re.S)
_EXAMPLE = re.compile(r"^>>> .+?(?=\n\n|\Z)", re.M | re.S)
_INLINE = re.compile(r":math:`(?P<latex>[^`]+)`")
_EQUATION = re.compile(r"\beq\. \((?P<number>\d+)\) of\s+docs/method\.md")
_PAGE = re.compile(r"\bdocs/(?P<page>[a-z-]+)\.md\b")
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`~?(?P<name>[^`]+)`")


class SphinxNotation(Extension):
    """Rewrites each docstring when its object has been read."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rewrite the docstring of ``obj``, if it has one."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    r"""Return a docstring without roles and directives, with links to the pages that it cites.

    >>> as_markdown("See :func:`gini`.")
    'See `gini`.'
    >>> as_markdown("The index, eq. (20) of docs/method.md.")
    'The index, [eq. (20)](../method.md#eq-20).'
    >>> as_markdown("Halve a number.\n\n>>> halve(4)\n2")
    'Halve a number.\n\n```pycon\n>>> halve(4)\n2\n```'
    """
    text = _BLOCK.sub(lambda m: _scrolling(convert(_joined(m["latex"]), display="block")), text)
    text = _EXAMPLE.sub(lambda m: f"```pycon\n{m[0].rstrip()}\n```", text)
    text = _INLINE.sub(lambda m: convert(m["latex"]), text)
    text = _EQUATION.sub(r"[eq. (\g<number>)](../method.md#eq-\g<number>)", text)
    text = _PAGE.sub(r"[\g<page>](../\g<page>.md)", text)
    return _ROLE.sub(lambda m: f"`{m['name']}`", text)


def _scrolling(formula: str) -> str:
    return f'<div class="formula" tabindex="0">{formula}</div>'


def _joined(latex: str) -> str:
    return " ".join(line.strip() for line in latex.splitlines())
