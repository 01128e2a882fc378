"""Records as entries: under the identity of the request that will be sent. No I/O.

Three kinds of records: `answers` (a question and its answer, and one request for all), `calls`
(each with its own request and Claude's message, from logs), `export` (what another server stored).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cacheserver.cache import cacheability, fingerprint
from cacheserver.cache.controls import MAX_TAGS, tags
from cacheserver.cache.store.curated_entry import own
from cacheserver.cache.store.stored_entry import new_id
from cacheserver.cache.ttl import lifetime
from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.routing import Tiers
from cacheserver.core.types import AUTO, MOST_TTL_S, Controls, Entry, Nanodollars, Query, Tenant
from cacheserver.core.usage import Usage, usage_of, word
from cacheserver.matching.language import Language
from cacheserver.pricing.estimate import chars_per_token
from cacheserver.routing.answer_checks import flaw, requested_schema
from cacheserver.transfer.import_store import IMPORT_TAG, ImportJob
from cacheserver.transfer.planned import Planned
from cacheserver.transfer.records import FaqRecord, Problem, record_of
from cacheserver.transfer.request_template import RequestTemplate

LONGEST_ANSWER: Final = 100_000  # characters, as of a curated answer
LONGEST_QUESTION: Final = 50_000  # characters: more is no question, and no embedder reads it

_TO_CLAUDE: Final = "anthropic-"

Price = Callable[[str, Usage, float], Nanodollars | None]


@dataclass(frozen=True, slots=True)
class Place:
    """The tenant that imports, and what answers there."""

    tenant: Tenant
    upstream: str  # identity, as of a request
    language: Language
    price: Price
    now: float


@dataclass(frozen=True, slots=True)
class Sent:
    """Headers and cache controls that the application sends."""

    headers: Mapping[str, str]
    controls: Controls


def query_of(place: Place, body: Mapping[str, Any], sent: Sent) -> Query:
    """Read a body as the request it will be. Raises `BadRequest`."""
    return fingerprint.read(
        body,
        json_text.dumps(body),
        headers=sent.headers,
        tenant=place.tenant,
        controls=sent.controls,
        upstream=place.upstream,
        language=place.language,
    )


def plan_answer(
    place: Place, job: ImportJob, template: RequestTemplate, sent: Sent, record: Mapping[str, Any]
) -> Planned | Problem:
    """Plan a question and its answer as a curated entry, or one like Claude's."""
    where = str(record.get("where", ""))[:200]
    found = record_of({k: v for k, v in record.items() if k != "where"}, where)
    if isinstance(found, Problem):
        return found
    for name, text, most in (
        ("question", found.question, LONGEST_QUESTION),
        ("answer", found.answer, LONGEST_ANSWER),
    ):
        if len(text) > most:
            return Problem(where, f"the {name} has more than {most:,} characters")
    try:
        controls = _controls(job, sent.controls, found)
        query = query_of(place, template.asking(found.question), replace(sent, controls=controls))
    except BadRequest as wrong:
        return Problem(where, wrong.message)
    message = {"stop_reason": "end_turn", "content": [{"type": "text", "text": found.answer}]}
    check = requested_schema(query.body)
    if check is not None and flaw(message, check) is not None:
        return Problem(where, "does not fit the JSON schema that the request asks for")
    ttl_s = _lifetime(place, query)
    if query.bypass is not None or ttl_s == 0:
        return Problem(where, _unanswered(query))
    entry = own(query, found.answer, by=job.who, now=place.now, ttl_s=ttl_s)
    if job.pinned:
        entry = replace(entry, curated_by=job.who, put_by=None)
    return Planned(where, entry, worth(place.price, query, found.answer, place.now), job.pinned)


def plan_call(
    place: Place, job: ImportJob, sent: Sent, record: Mapping[str, Any]
) -> Planned | Problem:
    """Plan a request and Claude's own message, from a log; its age counts from `at`."""
    where = str(record.get("where", ""))[:200]
    body, message = record.get("request"), record.get("message")
    if not isinstance(body, dict) or not isinstance(message, dict):
        return Problem(where, "must have `request` and `message`, both objects")
    if (why := cacheability.unstorable(message)) is not None:
        return Problem(where, f"its answer may not be stored: {why}")
    if cacheability.made_up(message):
        return Problem(where, "its answer is of a simulated Claude")
    at = record.get("at", place.now)
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= place.now:
        return Problem(where, "`at` must be Unix seconds, and past")
    try:
        controls = _controls(job, sent.controls, None)
        headers = {**sent.headers, **_claudes(record.get("headers"))}
        query = query_of(place, body, Sent(headers, controls))
        usage = usage_of(message)
    except BadRequest as wrong:
        return Problem(where, wrong.message)
    ttl_s = _lifetime(place, query)
    if query.bypass is not None or ttl_s == 0:
        return Problem(where, _unanswered(query))
    if at + ttl_s <= place.now:
        return Problem(where, "is older than its lifetime allows")
    model = word(message.get("model"), query.model)
    cost = place.price(model, usage, place.now)
    entry = Entry(
        id=new_id(place.now),
        tenant=place.tenant.name,
        namespace=query.controls.namespace,
        fingerprint=query.fingerprint,
        scope=query.scope,
        text=query.text,
        model=model,
        message=sse.without_id(message),
        usage=usage,
        cost=cost,
        tags=query.controls.tags,
        created_at=at,
        expires_at=at + ttl_s,
        curated_by=job.who if job.pinned else None,
    )
    return Planned(where, entry, cost or 0, job.pinned)


def _claudes(headers: object) -> dict[str, str]:
    """Return those headers of a logged call that went to Claude. Raises `BadRequest`."""
    if headers is None:
        return {}
    if not isinstance(headers, dict) or not all(isinstance(one, str) for one in headers.values()):
        raise BadRequest("headers", "must be names and texts")
    found = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in found.items() if name.startswith(_TO_CLAUDE)}


def worth(price: Price, query: Query, text: str, now: float) -> Nanodollars:
    """Estimate what Claude would have charged for an answer: by that the store keeps entries."""
    model = Tiers().middle if query.model == AUTO else query.model
    per_token = chars_per_token(model)
    usage = Usage(
        input_tokens=round(len(query.text or "") / per_token),
        output_tokens=round(len(text) / per_token),
    )
    return price(model, usage, now) or 0


def _controls(job: ImportJob, given: Controls, record: FaqRecord | None) -> Controls:
    """Return the controls of a record: its own tags and lifetime, those of the import, its id."""
    own, ttl_s = ((), None) if record is None else (record.tags, record.ttl_s)
    found = tags("tags", [*given.tags, *job.tags, *own])
    check_tags(found)
    if len(found) == MAX_TAGS:
        raise BadRequest("tags", f"at most {MAX_TAGS - 1}, and that of the import")
    lifetimes = [one for one in (ttl_s, job.ttl_s, given.ttl_s) if one is not None]
    return replace(given, tags=(*found, job.tag), ttl_s=min(lifetimes, default=MOST_TTL_S))


def check_tags(given: Sequence[str]) -> None:
    """Raise `BadRequest` for the tag of an import: undoing that one would remove other answers."""
    if any(one.startswith(IMPORT_TAG) for one in given):
        raise BadRequest("tags", f"must not begin with `{IMPORT_TAG}`, which names an import")


def _lifetime(place: Place, query: Query) -> int:
    ttl_s = lifetime(query.controls, place.tenant, query.model)
    return ttl_s if query.ttl_cap_s is None else min(ttl_s, query.ttl_cap_s)


def _unanswered(query: Query) -> str:
    why = query.bypass or "its lifetime is 0"
    return f"such a request is not answered from the cache: {why}"
