"""From a page to one HTML file: nothing is fetched, and every text of a run is escaped."""

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from swapbench.report.html.page import Page

_PACKAGE: Final = "swapbench.report.html"

_FIGURE: Final = re.compile(r"(?<=\d) (?=(?:s|ms|µs|B|[KMGT]iB|[kMGT]B|[kMG]B/s|%)(?![\w/]))")


def render(page: Page) -> str:
    """The page as HTML."""
    style, script = _asset("page.css"), _asset("page.js")
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(page=page, style=Markup(style), script=Markup(script), policy=_policy(style, script))
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(_PACKAGE, "template"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _unbroken(value: Any) -> Any:
    """A figure is not parted from its unit at the end of a line; markup is left alone."""
    return _FIGURE.sub("\N{NO-BREAK SPACE}", value) if type(value) is str else value


def _asset(name: str) -> str:
    return (resources.files(_PACKAGE) / "template" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing but this style, this script and images within the page: a browser fetches and runs no more."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
