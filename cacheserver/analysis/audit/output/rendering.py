"""Jinja templates of the audit's page.

Rule: every value in a template is escaped, after characters that no reader sees are written as
their code points.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cacheserver.analysis.audit.output.format import dollars, over_month, percent, visible


def render(template: str, **values: Any) -> Markup:
    """Return the HTML of a template in `templates/`."""
    return Markup(_environment().get_template(template).render(values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cacheserver.analysis.audit.output"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters |= {
        "code_spans": _code_spans,
        "dollars": dollars,
        "interval": _interval,
        "minute": _minute,
        "over_month": over_month,
        "percent": lambda part, whole: percent(float(part), float(whole)),
        "share": "{:.1%}".format,
        "thousands": "{:,}".format,
    }
    return environment


def _visible(value: object) -> object:
    return visible(value) if type(value) is str else value


def _interval(ends: Iterable[str | float]) -> str:
    return " to ".join(dollars(end) for end in ends)


def _minute(iso: str | None) -> str:
    return (iso or "")[:16].replace("T", " ")


def _code_spans(text: str) -> Markup:
    """Mark what stands in backticks as code."""
    parts = enumerate(visible(text).split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in parts
    )
