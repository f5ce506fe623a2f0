"""HTML pages in one file: style sheet and scripts are inlined, nothing is asked of a network."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_SCRIPTS = ("theme.js", "tables.js", "browser.js", "print.js")
_HERE = Path(__file__).parent


def render(template: str, /, *, templates: Path | None = None, **context: Any) -> str:
    """Return a page as self-contained HTML, in which the text of ``context`` is escaped.

    Args:
        template: A file's name. It extends ``layout.html.j2`` and may import ``parts.html.j2``.
        templates: The folder that has it; by default the one of this package.
        **context: What the template shows.
    """
    folders = [_HERE / "templates"] if templates is None else [templates, _HERE / "templates"]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    script = "\n".join(f"{{\n{_asset(name)}}}" for name in _SCRIPTS)
    return environment.get_template(template).render(
        **context,
        style=Markup(_asset("report.css")),
        script=Markup(script),
        policy=_policy(script),
    )


def _policy(script: str) -> str:
    """Return the content security policy: this script and no other, and nothing from elsewhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return f"{allowed}; script-src 'sha256-{digest}'"


def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")
