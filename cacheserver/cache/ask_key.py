"""The key under which requests share one call to Claude: live ones, batch items and jobs alike.

Rule: as in a fingerprint, every field is part of the key unless it is known not to change the call
or the use of its answer. The fields left out are listed, each with its reason. A field added
tomorrow costs a second call, and never gives one caller what another asked for. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from cacheserver.cache.fingerprint import UNSHAPING, shaping
from cacheserver.core import json_text
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.messages import client_headers
from cacheserver.core.messages.attribution import attribution
from cacheserver.core.messages.blocks import blocks
from cacheserver.core.types import Controls, Decision, Miss, Query

_KEYED: Final = "part of the fingerprint"
_DERIVED: Final = "follows from the fingerprint and the tenant's settings"

_USER_ID: Final = 256  # characters of `metadata.user_id` that Claude takes, by its API reference

# Fields of `Query` that are not compared as they are.
QUERY_LEFT_OUT: Final[Mapping[str, str]] = {
    "body": f"{_KEYED}; of the rest, the fields in `_besides` are compared",
    "raw": "the same body as it was spelled",
    "headers": f"{_KEYED}, where Claude reads them; what the fingerprint leaves out is compared",
    "tenant": f"{_KEYED} by name; settings are the operator's, and `shadow` is compared",
    "controls": "compared field by field",
    "scope": _DERIVED,
    "label_scope": _DERIVED,
    "text": _DERIVED,
    "exact_only": _DERIVED,
    "model": _KEYED,
    "volatile": _DERIVED,
    "ttl_cap_s": _DERIVED,
    "stream": "a stream and a message are two shapes of one answer, but see `_streamed`",
    "conversation": "shortens and routes later turns only, see `_conversation`",
    "key_id": "the call is billed to its leader; a request that joins it pays nothing",
    "actor": "stored answers are shared between actors, too",
    "caller": "for labels, which only the leader of a call brings",
    "received_at": "says which removals cover the answer: those since the leader's, for all",
}

# Fields of `Controls` that are not compared.
CONTROLS_LEFT_OUT: Final[Mapping[str, str]] = {
    "namespace": _KEYED,
    "task": _KEYED,
    "deep": _KEYED,
    "check": _KEYED,
    "declared": f"{_KEYED}; the prompt behind it is compared, see `_prompt`",
    "actor": "see `actor` of the query",
}

_OF_QUERY: Final = [one.name for one in fields(Query) if one.name not in QUERY_LEFT_OUT]
_OF_CONTROLS: Final = [one.name for one in fields(Controls) if one.name not in CONTROLS_LEFT_OUT]


def call_key(query: Query, decision: Decision, *, own: str) -> str:
    """The key of the call that answers a query: `own` unless its answer may be shared."""
    return ask_key(query) if isinstance(decision, Miss) else own


def ask_key(query: Query) -> str:
    """Digest what a query asks: two queries with one key may share one call. 40 hex digits."""
    parts = [
        *_compared(query, _OF_QUERY),
        *_compared(query.controls, _OF_CONTROLS),
        ("shadow", query.tenant.shadow),
        ("streamed", _streamed(query)),
        ("conversation", _conversation(query)),
        ("besides", *_besides(query.body)),
        ("prompt", _prompt(query)),
        *_of_clients(query),
    ]
    digest = hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]
    return keyed(query.tenant, digest)


def _compared(value: Query | Controls, names: Sequence[str]) -> Iterator[tuple[str, object]]:
    for name in names:
        found = getattr(value, name)
        yield name, sorted(found) if isinstance(found, tuple) else found


def _streamed(query: Query) -> bool:
    """Return whether a stream's answer may differ from a message's.

    Only a stream is ended at the tenant's price limit, and one that is not held back is not asked
    again if its answer fails validation.
    """
    if not query.stream:
        return False
    off, tenant = query.controls.off, query.tenant
    metered = tenant.lengths.stream_usd is not None and "output-cap" not in off
    rules = tenant.routing.validation
    looked_at = query.controls.check is not None or (rules.enabled and "routing" not in off)
    return metered or (looked_at and not rules.streams)


def _conversation(query: Query) -> str | None:
    """The conversation's name if it may change the call: a first turn is the same for all."""
    return query.conversation if len(query.body["messages"]) > 1 else None


def _prompt(query: Query) -> str | None:
    """Return a digest of a declared request's prompt, which its fingerprint replaces in part.

    Equal declarations share what is stored. A call they share only where the operator says so: the
    prompt of one caller may be refused, or get an answer that must not be stored.
    """
    if query.controls.declared is None or query.tenant.declared.share_calls:
        return None
    return hashlib.sha256(json_text.dumps(shaping(query.body), sort_keys=True)).hexdigest()


def _of_clients(query: Query) -> Iterator[tuple[str, object]]:
    """Yield what clients add of their own, which Claude may refuse, and answers do not depend on.

    Requests without any keep the keys that they had before it was left out of fingerprints.
    """
    if headers := client_headers.left_out(query.headers, query.body):
        yield "headers", sorted(headers.items())
    if (block := attribution(query.body.get("system"))) is not None:
        yield "attribution", block


def _besides(body: Mapping[str, Any]) -> list[object]:
    """The fields of a body that do not shape the answer.

    They decide whether Claude accepts the call, and how fast it is: one caller's bad
    `service_tier`, or fifth prompt-cache mark, must not be another's 400. A well-formed `user_id`
    changes nothing.
    """
    found: dict[str, object] = {name: body.get(name) for name in UNSHAPING - {"stream"}}
    match body.get("metadata"):
        case {"user_id": None | str() as user, **rest} if not rest:
            found["metadata"] = len(user or "") > _USER_ID or None
    marks = [block["cache_control"] for block in _marked(body)]
    eager = [tool.get("eager_input_streaming") for tool in body.get("tools") or ()]
    return [sorted((name, repr(value)) for name, value in found.items()), repr(marks), repr(eager)]


def _marked(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    system = body.get("system")
    for block in (*(body.get("tools") or ()), *(system if isinstance(system, list) else ())):
        if "cache_control" in block:
            yield block
    for block in blocks(body):
        if "cache_control" in block:
            yield block
