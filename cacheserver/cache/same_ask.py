"""One definition of "the same ask": who may be given what one call to Claude brings.

Rule: as with fingerprints, whatever is not known to leave the call, and what becomes of its answer,
alone is part of it. What is left out is a list, each with its reason; a field that is added
tomorrow costs a second call, and never gives one caller what another asked for. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from cacheserver.cache import cacheability
from cacheserver.cache.fingerprint import UNSHAPING
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.types import Controls, Query

_KEYED: Final = "part of the fingerprint"
_DERIVED: Final = "follows from the fingerprint and the tenant's settings"

_USER_ID: Final = 256  # characters of `metadata.user_id` that Claude takes, by its API reference

# Fields of `Query` that are not compared as they are.
QUERY_LEFT_OUT: Final[Mapping[str, str]] = {
    "body": f"{_KEYED}; of the rest, what Claude is told besides is compared (`_besides`)",
    "raw": "the same body in other spelling",
    "headers": f"{_KEYED}, where Claude reads them",
    "tenant": f"{_KEYED} by name; settings are the operator's, and `shadow` is compared",
    "controls": "compared field by field",
    "scope": _DERIVED,
    "text": _DERIVED,
    "exact_only": _DERIVED,
    "model": _KEYED,
    "volatile": _DERIVED,
    "ttl_cap_s": _DERIVED,
    "stream": "a stream and a message are two shapes of one answer, but see `_streamed`",
    "conversation": "shortens and routes later turns only (`_conversation`)",
    "key_id": "whose books a call is in; who joins one pays nothing",
    "actor": "the same request is answered the same, whoever asks: so are stored answers",
    "caller": "for labels, which only who led a call can bring",
}

# Fields of `Controls` that are not compared.
CONTROLS_LEFT_OUT: Final[Mapping[str, str]] = {
    "namespace": _KEYED,
    "task": _KEYED,
    "deep": _KEYED,
    "check": _KEYED,
    "actor": "see `actor` of the query",
}


def key(query: Query) -> str:
    """Digest the way a query asks: two queries with one key may share one call. 40 hex digits."""
    parts = [
        *_compared(query, QUERY_LEFT_OUT),
        *_compared(query.controls, CONTROLS_LEFT_OUT),
        ("shadow", query.tenant.shadow),
        ("streamed", _streamed(query)),
        ("conversation", _conversation(query)),
        ("besides", *_besides(query.body)),
    ]
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]
    return keyed(query.tenant, digest)


def _compared(value: Query | Controls, left_out: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for name in (one.name for one in fields(value) if one.name not in left_out):
        found = getattr(value, name)
        yield name, sorted(found) if isinstance(found, tuple) else found


def _streamed(query: Query) -> bool:
    """Return whether a stream's answer may be another than a message's.

    A stream alone is ended at the tenant's price limit, and one that is not held back is not asked
    again where its answer will not do.
    """
    if not query.stream:
        return False
    off, tenant = query.controls.off, query.tenant
    metered = tenant.lengths.stream_usd is not None and "output-cap" not in off
    rules = tenant.routing.validation
    looked_at = query.controls.check is not None or (rules.enabled and "routing" not in off)
    return metered or (looked_at and not rules.streams)


def _conversation(query: Query) -> str | None:
    """The conversation's name where it may change what is sent: a first turn is everybody's."""
    return query.conversation if len(query.body["messages"]) > 1 else None


def _besides(body: Mapping[str, Any]) -> list[object]:
    """Return what a body tells Claude besides what shapes the answer.

    It decides whether a call is taken at all, and how fast: one caller's bad `service_tier`, or
    fifth prompt-cache mark, must not be another's 400. A well-formed name of who asks changes
    nothing.
    """
    told: dict[str, object] = {name: body.get(name) for name in UNSHAPING - {"stream"}}
    match body.get("metadata"):
        case {"user_id": None | str() as user, **rest} if not rest:
            told["metadata"] = len(user or "") > _USER_ID or None
    marks = [block["cache_control"] for block in _marked(body)]
    eager = [tool.get("eager_input_streaming") for tool in body.get("tools") or ()]
    return [sorted((name, repr(value)) for name, value in told.items()), repr(marks), repr(eager)]


def _marked(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    system = body.get("system")
    for block in (*(body.get("tools") or ()), *(system if isinstance(system, list) else ())):
        if "cache_control" in block:
            yield block
    for block in cacheability.blocks(body):
        if "cache_control" in block:
            yield block
