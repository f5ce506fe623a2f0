"""Rendering of a page: style sheet and scripts are inlined, and nothing is asked of a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from probseg.utils.atomic_files import atomic_file

_HERE = Path(__file__).parent


def write_page(path: Path, template: str, *, scripts: Sequence[str], **context: Any) -> None:
    """Render a template into one self-contained file, whole or not at all.

    Args:
        path: The file.
        template: A file of ``templates/``.
        scripts: Files of ``assets/``, run in this order.
        context: What the template shows; text in it is escaped.

    Raises:
        WriteError: The disk is full or read-only.
    """
    script = "\n".join(f"{{\n{_asset(name)}}}" for name in scripts)
    text = (
        _templates()
        .get_template(template)
        .render(
            **context,
            style=Markup(_asset("report.css")),
            script=Markup(script),
            policy=_policy(script),
        )
    )
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _policy(script: str) -> str:
    """Return the content security policy: this script and no other, and nothing from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = {"default": "'none'", "img": "data:", "style": "'unsafe-inline'"}
    sources = {**allowed, "script": f"'sha256-{digest}'"}
    return "; ".join(f"{kind}-src {source}" for kind, source in sources.items())


def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment
