"""A tenant's own cache: statistics, decisions, purges; and the health checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from cacheserver.api.components import Components
from cacheserver.api.resources.entries.readable_texts import reads_decision, reads_served
from cacheserver.api.state import state_of
from cacheserver.cache import explanation
from cacheserver.cache.controls import name as checked_name
from cacheserver.cache.controls import stored_tag as checked_tag
from cacheserver.cache.declared import declarations
from cacheserver.core.errors import BadRequest, NotFound, StoreError
from cacheserver.core.money import usd
from cacheserver.core.rules.bounds import CONTEXT

router = APIRouter(tags=["operations"])

_OUTCOMES = ("exact", "semantic", "coalesced", "stale", "miss", "bypass", "failed")
_ONE_OF = "give one of `entry_id`, `tag`, `context` and `namespace`"
_PURGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "One of the four.",
                    "properties": {
                        "entry_id": {"type": "string"},
                        "tag": {"type": "string"},
                        "context": {
                            "type": "string",
                            "description": "A context key of declared questions.",
                        },
                        "namespace": {"type": "string"},
                    },
                },
                "examples": {"a tag": {"value": {"tag": "docs/pricing"}}},
            }
        },
    }
}


@router.get("/v1/stats", summary="What you asked, were served, paid and saved")
async def stats(request: Request) -> dict[str, Any]:
    """Counts since the tenant's first request: `requests` is the sum of the seven outcomes."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    return shown_stats(await state.parts.decision_log.stats(caller.tenant.name))


@router.get("/v1/decisions/{id}", summary="All of a decision, for a day")
async def decision(request: Request, id: str) -> dict[str, Any]:
    """Show a decision and its nearest candidates; only the served one with its question, if it is
    the one asked.

    To a key that did not make the request its texts are shown only if the tenant's setting
    `keys_read_content` is on.
    """
    state = state_of(request)
    caller = await state.gate.admit(request)
    found = await state.parts.decision_log.decision(caller.tenant.name, id)
    if found is None:
        raise NotFound("no decision of yours has this id, or it is more than a day old")
    texts, others = reads_decision(caller, found), reads_served(caller)
    return explanation.record_for_caller(found, texts=texts, others=others)


@router.post("/v1/purge", summary="Forget answers", openapi_extra=_PURGE_BODY)
async def purge(request: Request) -> dict[str, int]:
    """Delete one entry, or all of a tag, a context key or a namespace, calls in flight included."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    fields = await state.object(request)
    return {"purged": await purge_as(state.parts, caller.tenant.name, fields)}


async def purge_as(parts: Components, tenant: str, fields: Mapping[str, Any]) -> int:
    """Purge what `fields` names for `tenant`. Returns the number of entries removed."""
    if len(fields) != 1:
        raise BadRequest("entry_id", _ONE_OF)
    entries = parts.entries.entries
    match dict(fields):
        case {"entry_id": str(entry_id)}:
            return await entries.purge_id(tenant, entry_id)
        case {"tag": tag}:
            return await entries.purge_tag(tenant, checked_tag("tag", tag))
        case {"context": key}:
            tag = declarations.context_tag(CONTEXT.check("context", key))
            return await entries.purge_tag(tenant, tag)
        case {"namespace": namespace}:
            return await entries.purge_namespace(tenant, checked_name("namespace", namespace))
        case _:
            raise BadRequest(next(iter(fields)), _ONE_OF)


def shown_stats(sums: Mapping[str, int]) -> dict[str, Any]:
    """Return sums for display: hits over all that could have hit, money in dollars."""
    counts = {outcome: sums.get(outcome, 0) for outcome in _OUTCOMES}
    hits = sum(counts[kind] for kind in ("exact", "semantic", "coalesced", "stale"))
    asked = sums.get("requests", 0)
    eligible = asked - counts["bypass"] - counts["failed"]
    return {
        "requests": asked,
        **counts,
        "hit_rate": round(hits / eligible, 6) if eligible else None,
        "cost_usd": usd(sums.get("cost_nanodollars", 0)),
        "saved_usd": usd(sums.get("saved_nanodollars", 0)),
    }


@router.get("/healthz", summary="The process answers")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="The store answers and a miss may be asked")
async def readyz(request: Request, similarity: bool = False) -> Response:
    """503 while Redis is away or takes no writes (a full disk), while this server has no lease and
    so serves nothing stored, or so many calls wait for Claude that the next is refused; requests
    are answered all the same.

    After a start `similarity` is `loading` for a moment: similar questions are misses with the
    reason `warming`. `?similarity=1` is 503 until they are found too.

    A Claude that fails (`upstream` is not `ok`) leaves the server ready: another one would ask the
    same Claude, and hits are served. So does another model behind an embeddings endpoint
    (`embedder` is `changed`): exact hits are served. Without a model `embedder` and `similarity`
    are `none`.
    """
    parts = state_of(request).parts
    try:
        await parts.entries.entries.probe()
        store = "ok"
    except StoreError:
        store = "away"
    upstream = parts.upstream
    lease = "ok" if await parts.host.peers.trust() else "lapsed"
    queue = "full" if upstream.slots.full else "ok"
    checks = {"store": store, "lease": lease, "queue": queue}
    shown = {"similarity": _similarity(parts)}
    ready = set((checks | shown if similarity else checks).values()) == {"ok"}
    circuit = upstream.breaker.state(upstream.clock())
    shown["upstream"] = "ok" if circuit == "closed" else circuit
    shown["embedder"] = _embedder(parts)
    return JSONResponse({"ready": ready, **checks, **shown}, status_code=200 if ready else 503)


def _similarity(parts: Components) -> str:
    if parts.entries.missing:
        return "none"
    return "ok" if parts.entries.ready else "loading"


def _embedder(parts: Components) -> str:
    if parts.entries.missing:
        return "none"
    return "ok" if parts.reembedding.changed() is None else "changed"


@router.get("/metrics", summary="Prometheus metrics (admin key)")
async def metrics(request: Request) -> Response:
    state = state_of(request)
    state.gate.admit_admin(request)
    return Response(await state.counts.render(), media_type="text/plain; version=0.0.4")
