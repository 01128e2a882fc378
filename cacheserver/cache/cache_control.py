"""`Cache-Control` of a request, by RFC 9111: it may tighten the rules, and is never refused.

An unknown directive is ignored (section 5.2). A malformed one has its tightest meaning: doubt is a
miss. A directive cannot loosen the operator's settings: `max-stale` and `stale-if-error` only lower
the tenant's own bound. Pure.
"""

from __future__ import annotations

import re
from dataclasses import replace

from cacheserver.core.errors import BadRequest
from cacheserver.core.types import LEVERS, Controls

# token [ "=" ( token / quoted-string ) ], each after a comma or the beginning (RFC 9110, 5.6).
_DIRECTIVE = re.compile(
    r"""[,\s]*(?P<name>[^\s,="]+)(?:\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^,]*)))?"""
)
_SECONDS = re.compile(r"[0-9]+")
_MOST_S = 2**31 - 1  # "or more" is what RFC 9111, 1.2.2 has for a number too large to hold

# Levers that send or return other words than the caller's; queueing and verification change none.
_TRANSFORMS = tuple(lever for lever in LEVERS if lever not in ("batching", "verify"))


def read(value: str) -> Controls:
    """Read the directives. Raises `BadRequest` where they contradict each other."""
    controls = Controls()
    for name, argument in _directives(value):
        match name:
            case "no-store":
                controls = replace(controls, read=False, store=False)
            case "no-cache":
                controls = replace(controls, read=False)
            case "only-if-cached":
                controls = replace(controls, only=True)
            case "max-age":
                age = least(controls.max_age_s, _seconds(argument, malformed=0))
                controls = replace(controls, max_age_s=age)
            case "min-fresh":
                fresh = _seconds(argument, malformed=_MOST_S)
                controls = replace(controls, min_fresh_s=max(controls.min_fresh_s, fresh))
            case "max-stale" if argument is None:
                continue  # any age that the operator allows
            case "max-stale" | "stale-if-error":
                stale = least(controls.max_stale_s, _seconds(argument, malformed=0))
                controls = replace(controls, max_stale_s=stale)
            case "must-revalidate" | "proxy-revalidate":
                controls = replace(controls, max_stale_s=0)
            case "private":  # stored answers may be read; the new one is not stored
                controls = replace(controls, ttl_s=0)
            case "no-transform":
                controls = replace(controls, off=_TRANSFORMS)
    if controls.only and not controls.read:
        raise BadRequest(
            "cache-control", "`only-if-cached` contradicts `no-cache` and `no-store`; send one"
        )
    return controls


def least(one: int | None, other: int) -> int:
    """Return the smaller number; None is no bound."""
    return other if one is None else min(one, other)


def _directives(value: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for match in _DIRECTIVE.finditer(value):
        quoted, token = match["quoted"], match["token"]
        argument = None if quoted is None and token is None else (quoted or token or "").strip()
        found.append((match["name"].lower(), argument))
    return found


def _seconds(argument: str | None, *, malformed: int) -> int:
    """Return whole seconds, quoted or not; `malformed` where it is none."""
    if argument is None or not argument.isascii() or not _SECONDS.fullmatch(argument):
        return malformed
    return min(int(argument[:20]), _MOST_S)
