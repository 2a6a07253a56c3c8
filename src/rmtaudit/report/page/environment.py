"""How a page is rendered: one place that escapes, and a policy that lets nothing else run.

Every text that a template shows passes through :func:`.printable`, which writes control characters and
bidirectional overrides as escapes, and through the autoescape of Jinja2, which leaves no markup. Only what
this package draws itself and the rows of tables, which escape alike, are :class:`~markupsafe.Markup`. The
policy of the page allows its own style sheet and its own script, by their digests, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rmtaudit.report.page.parts import printable

_POLICY = (
    "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def render(template: str, **values: Any) -> str:
    """Return the page of a template: all texts among the values are escaped.

    The same values give the same bytes.
    """
    environment = _environment()
    style, script = _asset("page.css"), _asset("page.js")
    policy = _POLICY.format(style=_digest(style), script=_digest(script))
    page = environment.get_template(template)
    return page.render(style=Markup(style), script=Markup(script), policy=policy, **values) + "\n"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("rmtaudit.report", "templates"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _asset(name: str) -> str:
    """Return a file of the package as it stands, which is no template."""
    loader = _environment().loader
    assert loader is not None
    return loader.get_source(_environment(), name)[0].strip()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _printable(value: Any) -> Any:
    """Return what a template shows for a value: hostile text as one printable line."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return printable(value)
