"""The record of a decision: its ledger row, and details by position (`_DETAILS`).

`encode` writes the details; what the row has is not in them. `decode` makes the record of both,
which is complete: `explanation.record_for_caller` reduces it for callers.

Rule: a new detail goes at the end, so that those stored before can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from cacheserver.cache.answer import Settlement, entry_id, kind_of
from cacheserver.cache.conversation_mark import conversation_mark
from cacheserver.cache.explanation import shaped, shown, tokens, values, verified
from cacheserver.cache.request import Request
from cacheserver.cache.store import decision_index
from cacheserver.core import json_text
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.ledger_row import Row
from cacheserver.core.messages.attribution import prompt_of
from cacheserver.core.money import usd
from cacheserver.core.types import Bar, Query
from cacheserver.storage.sealer import as_object
from cacheserver.storage.stored_row import Details

_LAYOUT: Final = 1
_SYSTEM_CHARS: Final = 120
_DETAILS: Final = (
    *("seconds", "kind", "flags", "decision", "asked", "namespace", "declared", "fingerprint"),
    *("scope", "caller", "actor", "usage", "verified", "entry_id", "unstored", "ttl_s"),
    *("asked_how", "volatile", "embedder", "system", "received_at"),
)
_ESTIMATED, _WITHHELD, _SAVING_UNKNOWN, _BILLED = (1 << bit for bit in range(4))


def encode(
    request: Request, settlement: Settlement, *, bar: Bar | None, now: float, embedder: str
) -> Details:
    """Encode what the row of a request does not say of its decision.

    `embedder` is what its evidence rests on. For a tenant that keeps no content the details have
    no question.
    """
    query, decision = request.query, settlement.decision
    withheld, usage = query.tenant.no_content, settlement.usage
    asked = None if withheld else query.text
    billed = usage is not None and settlement.call is not None
    kind, served = kind_of(decision), settlement.stored or entry_id(decision)
    explained = values(decision, bar, now, asked=asked, questions=not withheld)
    plain = json_text.dumps(
        (
            _LAYOUT,
            round(now - request.started_at, 6),
            None if settlement.outcome == kind else kind,
            settlement.estimated * _ESTIMATED
            | withheld * _WITHHELD
            | (settlement.saved is None) * _SAVING_UNKNOWN
            | billed * _BILLED,
            explained,
            asked,
            query.controls.namespace,
            _declared(query),
            query.fingerprint,
            query.label_scope,
            query.caller,
            query.actor,
            None if usage is None or billed else list(tokens(usage).values()),
            None if request.verified is None else verified(request.verified),
            served,
            settlement.unstored,
            settlement.ttl_s,
            None if settlement.planned is None else shaped(settlement.planned),
            query.volatile,
            embedder,
            None if withheld else _system(query),
            *(() if query.received_at is None else (query.received_at,)),
        )
    )
    return Details(
        plain,
        kind in ("semantic", "miss") and explained[0] is not None,
        _facts(query, explained),
    )


def decode(row: Row, details: bytes) -> dict[str, Any]:
    """Return the record of a decision. Raises `ValueError` if these are no details."""
    layout, *stored = json_text.loads(details)
    if layout != _LAYOUT:
        raise ValueError("details of another layout")
    found = dict(zip(_DETAILS, stored, strict=False))
    flags, usage = found["flags"], found["usage"]
    if flags & _BILLED:
        usage = tokens(row.usage)
    elif usage is not None:
        usage = dict(zip(tokens(row.usage), usage, strict=True))
    talk, space = row.conversation, found["namespace"]
    return {
        **({"withheld": NO_CONTENT} if flags & _WITHHELD else {}),
        "id": row.id,
        "at": row.at,
        "seconds": found["seconds"],
        "outcome": row.outcome,
        "decision": shown(
            found["decision"], found["kind"] or row.outcome, row.reason, asked=found["asked"]
        ),
        "asked": found["asked"],
        "volatile": found["volatile"],
        "namespace": space,
        "task": row.task,
        "tags": list(row.tags),
        "declared": found["declared"],
        "fingerprint": found["fingerprint"],
        "scope": found["scope"],
        "caller": found["caller"],
        "actor": found["actor"],
        "conversation": None if talk is None else conversation_mark(space, talk),
        "stream": row.stream,
        "model_asked": row.asked,
        "model": row.model,
        "usage": usage,
        "cost_usd": None if row.shown_cost is None else usd(row.shown_cost),
        "saved_usd": None if flags & _SAVING_UNKNOWN else usd(row.net - row.verification),
        "verified": found["verified"],
        "prices": row.prices,
        "entry_id": found["entry_id"],
        "unstored": found["unstored"],
        "ttl_s": found["ttl_s"],
        "status": row.status,
        "usage_estimated": bool(flags & _ESTIMATED),
        "asked_how": found["asked_how"],
        "embedder": found["embedder"],
        "system": found.get("system"),
        "received_at": found.get("received_at", row.at),
        "saved_by_usd": {cause: usd(part) for cause, part in row.saved.items()},
    }


def earlier(plain: bytes) -> dict[str, Any]:
    """Decode a record as earlier versions stored it, whole. Raises `ValueError` if it is none."""
    found = as_object(plain, "id", "at", "scope", "outcome", "decision")
    if not isinstance(found["decision"], dict) or "kind" not in found["decision"]:
        raise ValueError("a record without a decision")
    return found


def _system(query: Query) -> str | None:
    """Return the beginning of the system prompt, by which people know a scope."""
    given = prompt_of(query.body)
    if isinstance(given, list) and given and isinstance(given[0], Mapping):
        given = given[0].get("text")
    return given[:_SYSTEM_CHARS] if isinstance(given, str) else None


def _facts(query: Query, explained: Sequence[Any]) -> bytes:
    """Pack what a search filters by: of the candidate that was served or came nearest, too."""
    main, listed, *_ = explained
    near = listed[main] if isinstance(main, int) else main
    similarity = probability = veto = None
    if near is not None:
        similarity, veto = near[_SIMILARITY], near[_VETO]
        probability = None if near[_EVIDENCE] is None else near[_PROBABILITY]
    return decision_index.facts(
        scope=query.label_scope,
        namespace=query.controls.namespace,
        veto=veto,
        similarity=similarity,
        probability=probability,
    )


# In a candidate's values (`explanation.values`).
_SIMILARITY, _PROBABILITY, _VETO, _EVIDENCE = 2, 4, 5, 9


def _declared(query: Query) -> Mapping[str, Any] | None:
    """Return the declaration of a request, without the question where no content is kept."""
    if (declared := query.controls.declared) is None:
        return None
    stored = asdict(declared)
    return {**stored, "question": None} if query.tenant.no_content else stored
