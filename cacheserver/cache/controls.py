"""Cache controls of a request: `Cache-Control`, the `x-cache-*` headers, `/v1/query` fields.

Rule: none of our own controls is ignored. An unknown one is refused by name, so that a misspelt
control never shares or stores an answer that its sender meant to protect. `Cache-Control` is read
as its RFC says (`cache.cache_control`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from cacheserver.cache import cache_control
from cacheserver.cache.declared import declarations
from cacheserver.core import actors
from cacheserver.core.answer_check import read_check
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.bounds import NAME, TAG
from cacheserver.core.types import LEVERS, Controls, Declaration

# Of 64 characters each: within the 1,024 bytes that CDNs allow for the tags of one response.
MAX_TAGS = 16

# Ten digits are 300 years, beyond any tenant's maximum.
_SECONDS = re.compile(r"[0-9]{1,10}")
_MAX_SECONDS = 9_999_999_999
_SECONDS_RULE = "must be whole seconds, 0 or more"

_HEADERS = frozenset(
    {"cache-control", "x-cache-ttl", "x-cache-tags", "x-cache-namespace", "x-cache-task"}
    | {"x-cache-deep-analysis", "x-cache-off", "x-cache-check", "x-cache-actor"}
    | {"x-cache-question", "x-cache-context", "x-cache-context-blocks"}
)
_ONE_VALUE = frozenset({"x-cache-actor", "x-cache-question"})  # a comma is part of it
_OURS = "x-cache"  # a header with this prefix is meant for us: `x-cachettl` is a misspelt control
_OURS_ELSEWHERE = frozenset({"x-cacheserver-key"})  # the caller's key, read by authentication
# Response headers of ours and of other caches: a request that sends them back means no control.
_ANSWERS = frozenset(
    f"x-cache-{name}"
    for name in (
        *("reason", "similarity", "probability", "veto", "age", "entry", "decision", "origin"),
        *("route", "plan", "cap", "history", "hits", "status", "lookup"),
    )
)
# `x-cache` itself: the values that other caches write ("HIT", "Miss from cloudfront",
# "TCP_MISS from a.example") are not meant for us; any other value was meant as a control.
_STATUS = re.compile(r"\s*[a-z_]*(hit|miss)\b.*", re.IGNORECASE)
_PLAIN = Controls()


def read_controls(headers: Mapping[str, str], *, also: frozenset[str] = frozenset()) -> Controls:
    """Read the controls of a request. `headers` have lower-case names.

    `headers.items()` may give a name twice, as HTTP may: the values are one list then. `also` are
    controls that the caller of this reads itself. Raises `BadRequest` naming the header that is
    malformed, or that says what we do not know.
    """
    given: dict[str, str] = {}
    for header, value in headers.items():
        if header in _HEADERS:
            if header in given and header in _ONE_VALUE:
                raise BadRequest(header, "is given twice")
            given[header] = f"{given[header]},{value}" if header in given else value
        elif header.startswith(_OURS) and header not in also and header not in _OURS_ELSEWHERE:
            _refuse_unknown(header, value, _HEADERS | also)
    if not given:
        return _PLAIN
    controls = cache_control.read(given.get("cache-control", ""))
    changes: dict[str, Any] = {}
    if (seconds := given.get("x-cache-ttl")) is not None:
        changes["ttl_s"] = cache_control.least(controls.ttl_s, _seconds("x-cache-ttl", seconds))
    if (listed := given.get("x-cache-tags")) is not None:
        changes["tags"] = tags("x-cache-tags", _items(listed))
    if (space := given.get("x-cache-namespace")) is not None:
        changes["namespace"] = name("x-cache-namespace", space)
    if (work := given.get("x-cache-task")) is not None:
        changes["task"] = name("x-cache-task", work)
    if (deep := given.get("x-cache-deep-analysis")) is not None:
        if deep not in ("true", "false"):
            raise BadRequest("x-cache-deep-analysis", "must be `true` or `false`")
        changes["deep"] = deep == "true"
    if (listed := given.get("x-cache-off")) is not None:
        off = levers("x-cache-off", _items(listed))
        changes["off"] = tuple(dict.fromkeys((*controls.off, *off)))
    if (check := given.get("x-cache-check")) is not None:
        if not (check.isascii() and check.isprintable()):
            # Headers have no defined encoding for other letters; JSON has `\u` escapes.
            raise BadRequest("x-cache-check", "must be printable ASCII; write `\\u00e9` for `é`")
        changes["check"] = read_check("x-cache-check", check)
    if (who := given.get("x-cache-actor")) is not None:
        # Headers have no defined encoding for other letters.
        changes["actor"] = actors.digest("x-cache-actor", who, ascii_only=True)
    changes["declared"] = _declared(given)
    return replace(controls, **changes)


def _declared(given: Mapping[str, str]) -> Declaration | None:
    names = declarations.HEADERS
    question = given.get(names.question)
    if question is not None:
        question = declarations.header_text(names.question, question)
    context, blocks = (_items(given.get(name, "")) for name in (names.context, names.blocks))
    return declarations.read_part(names, question, context, blocks)


def _items(listed: str) -> list[str]:
    return [one for one in map(str.strip, listed.split(",")) if one]


def _refuse_unknown(header: str, value: str, known: frozenset[str]) -> None:
    """Raise `BadRequest` for an unknown control, naming the nearest known one."""
    if header == _OURS and _STATUS.fullmatch(value):
        return
    if header == _OURS or header in _ANSWERS:
        problem = "is a response header, not a request header"
    else:
        near = get_close_matches(header, sorted(known), n=1)
        problem = "is not known here" + (f"; did you mean `{near[0]}`?" if near else "")
    listed = ", ".join(f"`{one}`" for one in sorted(known))
    raise BadRequest(header[:64], f"{problem}; known: {listed}")


def query_controls(fields: Mapping[str, Any], headers: Mapping[str, str]) -> Controls:
    """Read the controls of a `/v1/query` body and its headers; the tighter one applies.

    Fields: `cache`, `ttl_s`, `tags`, `namespace`, `task`, `requires_deep_analysis`, `levers_off`,
    `check`, `actor`, `question`, `context`, `context_blocks`; absent and null are the same.
    Raises `BadRequest` naming the field, also where body and headers contradict each other.
    """
    controls = read_controls(headers)
    match fields.get("cache"):
        case None | "default":
            pass
        case "refresh":
            controls = replace(controls, read=False)
        case "only":
            controls = replace(controls, only=True)
        case "off":
            controls = replace(controls, read=False, store=False)
        case _:
            raise BadRequest("cache", "must be `default`, `refresh`, `only` or `off`")
    if controls.only and not controls.read:
        raise BadRequest("cache", "`only` contradicts a control that forbids stored answers")
    if (ttl_s := fields.get("ttl_s")) is not None:
        ttl_s = ttl("ttl_s", ttl_s)
        both = ttl_s if controls.ttl_s is None else min(ttl_s, controls.ttl_s)
        controls = replace(controls, ttl_s=both)
    if (listed := fields.get("tags")) is not None:
        controls = replace(controls, tags=tags("tags", [*controls.tags, *_list("tags", listed)]))
    if (space := fields.get("namespace")) is not None:
        _same("namespace", name("namespace", space), headers.get("x-cache-namespace"))
        controls = replace(controls, namespace=space)
    if (work := fields.get("task")) is not None:
        _same("task", name("task", work), headers.get("x-cache-task"))
        controls = replace(controls, task=work)
    if (deep := fields.get("requires_deep_analysis")) is not None:
        if not isinstance(deep, bool):
            raise BadRequest("requires_deep_analysis", "must be true or false")
        controls = replace(controls, deep=deep or controls.deep)
    if (listed := fields.get("levers_off")) is not None:
        off = levers("levers_off", _list("levers_off", listed))
        controls = replace(controls, off=tuple(dict.fromkeys((*controls.off, *off))))
    if (check := fields.get("check")) is not None:
        if controls.check is not None:
            raise BadRequest("check", "is in the header `x-cache-check` too; send one")
        controls = replace(controls, check=read_check("check", check))
    if (who := fields.get("actor")) is not None:
        _same("actor", who := actors.digest("actor", who), controls.actor)
        controls = replace(controls, actor=who)
    names = declarations.FIELDS
    keys = fields.get(names.context)
    declared = declarations.read_part(
        names,
        fields.get(names.question),
        [keys] if isinstance(keys, str) else _list(names.context, keys or []),
        _list(names.blocks, fields.get(names.blocks) or []),
    )
    return replace(controls, declared=declarations.merge(controls.declared, declared, names))


def levers(field: str, values: list[Any]) -> tuple[str, ...]:
    """Check names of levers. Raises `BadRequest` naming the known ones."""
    for value in values:
        if value not in LEVERS:
            raise BadRequest(field, f"knows {', '.join(f'`{lever}`' for lever in LEVERS)} only")
    return tuple(dict.fromkeys(values))


def name(field: str, value: object) -> str:
    """Check a namespace, task or tenant name. Raises `BadRequest` naming `field`."""
    return NAME.check(field, value)


def ttl(field: str, value: object) -> int:
    """Check whole seconds from JSON, 0 or more; no string, fraction or boolean."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_SECONDS:
        raise BadRequest(field, _SECONDS_RULE)
    return value


def tag(field: str, value: object) -> str:
    """Check one tag. Raises `BadRequest` naming `field`."""
    return TAG.check(field, value)


def stored_tag(field: str, value: object) -> str:
    """Check a tag of stored answers: one that callers give, or that of a context key."""
    if isinstance(value, str) and declarations.is_context_tag(value):
        return value
    return tag(field, value)


def tags(field: str, values: list[Any]) -> tuple[str, ...]:
    """The tags in the order given, each once."""
    once = tuple(dict.fromkeys(tag(field, value) for value in values))
    if len(once) > MAX_TAGS:
        raise BadRequest(field, f"at most {MAX_TAGS} tags, not {len(once)}")
    return once


def _seconds(field: str, text: str) -> int:
    if not _SECONDS.fullmatch(text):
        raise BadRequest(field, _SECONDS_RULE)
    return int(text)


def _list(field: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(field, "must be a list of strings")
    return value


def _same(field: str, in_body: str, in_header: str | None) -> None:
    if in_header is not None and in_header != in_body:
        raise BadRequest(field, f"is not what the header `x-cache-{field}` says; send one")
