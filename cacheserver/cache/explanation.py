"""Explanations of decisions, stored for a day: complete for admins; for callers without the
questions of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cacheserver.cache.answer import Settlement, entry_id, kind_of
from cacheserver.cache.conversation_mark import mark_of
from cacheserver.cache.freshness import EXPLAINED
from cacheserver.cache.request import Request
from cacheserver.core import evidence
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.money import usd
from cacheserver.core.types import (
    Bar,
    Bypass,
    Candidate,
    Decision,
    Hit,
    Miss,
    Plan,
    PlannedCall,
    Query,
    Usage,
)
from cacheserver.matching.verification_outcome import Verified

_DIGESTS = ("caller", "actor", "conversation")


def explain(decision: Decision, bar: Bar | None, now: float) -> dict[str, Any]:
    """Explain a decision for an admin: the entry served or nearest, and the candidates.

    It contains questions of others; `for_caller` removes them.
    """
    candidate = _candidate(decision)
    shown: dict[str, Any] = {
        "kind": kind_of(decision),
        "reason": decision.reason,
        "similarity": None,
        "question": None,
        "age_s": None,
        "probability": None,
        "bar": None if bar is None else bar.similarity,
        "target": None if bar is None else bar.target,
    }
    if candidate is not None:
        shown["similarity"] = round(candidate.similarity, 6)
        shown["question"] = candidate.entry.text
        shown["age_s"] = max(0, int(now - candidate.entry.created_at))
        shown["candidate"] = candidate.entry.id
        shown["veto"] = candidate.veto
        shown["supported"] = candidate.supported
        shown["corroborated"] = candidate.corroborated
        shown["pinned"] = candidate.pinned
        if candidate.probability is not None and candidate.evidence is not None:
            shown["probability"] = round(candidate.probability, 6)
            shown["evidence"] = evidence.as_json(candidate.evidence)
    if isinstance(decision, Hit | Miss) and decision.level is not None:
        shown["bar"] = round(decision.level, 6)  # a probability: what the target asks for here
        shown["basis"] = decision.basis
    shown["candidates"] = [_listed(one, now) for one in _candidates(decision)]
    return shown


def for_caller(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce an explanation to what its caller may see: of stored questions only the served one,
    and the evidence for that one or the nearest alone.
    """
    served = None if shown["kind"] in ("miss", "bypass") else shown.get("candidate")
    return {
        **shown,
        "question": None if served is None else shown["question"],
        "candidates": [
            {
                **{name: one[name] for name in one if name != "evidence"},
                "question": one["question"] if one["entry"] == served else None,
            }
            for one in shown.get("candidates", ())
        ],
    }


def without_questions(shown: Mapping[str, Any]) -> dict[str, Any]:
    """An explanation without the text of any question."""
    candidates = [{**one, "question": None} for one in shown["candidates"]]
    return {**shown, "question": None, "candidates": candidates}


def record_for_caller(record: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a record to what its tenant may see: without digests that could be guessed."""
    shown = {name: value for name, value in record.items() if name not in _DIGESTS}
    return {**shown, "decision": for_caller(record["decision"])}


def record(
    request: Request, settlement: Settlement, *, bar: Bar | None, now: float
) -> dict[str, Any]:
    """Build the record of a decision, stored for a day; `record_for_caller` reduces it.

    For a tenant that keeps no content it has no question, and `withheld` says so.
    """
    query = request.query
    shown, asked = explain(settlement.decision, bar, now), query.text
    if query.tenant.no_content:
        shown, asked = without_questions(shown), None
    return {
        **({"withheld": NO_CONTENT} if query.tenant.no_content else {}),
        "id": request.id,
        "at": request.started_at,
        "seconds": round(now - request.started_at, 6),
        "outcome": settlement.outcome,
        "decision": shown,
        "asked": asked,
        "volatile": query.volatile,
        "namespace": query.controls.namespace,
        "task": query.controls.task,
        "tags": query.controls.tags,
        "declared": _declared(query),
        "fingerprint": query.fingerprint,
        "scope": query.label_scope,
        "caller": query.caller,
        "actor": query.actor,
        "conversation": mark_of(query),
        "stream": query.stream,
        "model_asked": query.model,
        "model": settlement.model,
        "usage": None if settlement.usage is None else tokens(settlement.usage),
        "cost_usd": None if settlement.total_cost is None else usd(settlement.total_cost),
        "saved_usd": None if settlement.net_saved is None else usd(settlement.net_saved),
        "verified": None if request.verified is None else verified(request.verified),
        "prices": settlement.prices,
        "entry_id": settlement.stored or entry_id(settlement.decision),
        "unstored": settlement.unstored,
        "ttl_s": settlement.ttl_s,
        "status": settlement.status,
        "usage_estimated": settlement.estimated,
        "asked_how": None if settlement.planned is None else shaped(settlement.planned),
    }


def verified(found: Verified) -> dict[str, Any]:
    """Verification as it is recorded."""
    return {
        "verdict": found.verdict,
        "model": found.model,
        "asked": found.asked,
        "posterior": None if found.posterior is None else round(found.posterior, 6),
        "cost_usd": usd(found.cost),
        "seconds": round(found.seconds, 6),
        "remembered": found.remembered,
    }


def _declared(query: Query) -> dict[str, Any] | None:
    """Return the declaration of a request, without the question where no content is kept."""
    if (declared := query.controls.declared) is None:
        return None
    shown = asdict(declared)
    return {**shown, "question": None} if query.tenant.no_content else shown


def shaped(asked: PlannedCall) -> dict[str, Any]:
    """The changes each lever made to a call, without the call itself."""
    return {
        "route": asdict(asked.route),
        "plan": None if asked.plan is None else _planned(asked.plan),
        "cap": None if asked.cap is None else asdict(asked.cap),
        "history": None if asked.trim is None else asdict(asked.trim),
        "tried": None if asked.tried is None else asdict(asked.tried),
    }


def tokens(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
    }


def _planned(plan: Plan) -> dict[str, Any]:
    return {
        "reason": plan.reason,
        "marks": len(plan.marks),
        "prefix": plan.prefix,
        "expected_usd": usd(plan.expected),
        "salt_usd": usd(plan.salt),
    }


def _candidate(decision: Decision) -> Candidate | None:
    match decision:
        case Hit(candidate=candidate):
            return candidate
        case Miss():
            return decision.nearest
        case Bypass():
            return None


def _candidates(decision: Decision) -> list[Candidate]:
    """The nearest candidates, by similarity; the served one is always among them."""
    if isinstance(decision, Bypass):
        return []
    nearest = list(decision.neighbours[:EXPLAINED])
    if isinstance(decision, Hit) and nearest and decision.candidate is not None:
        served = decision.candidate
        if all(one.entry.id != served.entry.id for one in nearest):
            nearest[EXPLAINED - 1 :] = [served]
    return nearest


def _listed(candidate: Candidate, now: float) -> dict[str, Any]:
    probability = candidate.probability
    return {
        "entry": candidate.entry.id,
        "question": candidate.entry.text,
        "similarity": round(candidate.similarity, 6),
        "penalty": round(candidate.penalty, 6),
        "probability": None if probability is None else round(probability, 6),
        "veto": candidate.veto,
        "supported": candidate.supported,
        "corroborated": candidate.corroborated,
        "age_s": max(0, int(now - candidate.entry.created_at)),
        "evidence": None if candidate.evidence is None else evidence.as_json(candidate.evidence),
    }
