"""A plain question as a Messages body, and an answer that explains itself. Pure.

`/v1/query` and the in-process cache both speak this; `docs/api.md` describes its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cacheserver.cache import cacheability, explanation
from cacheserver.cache.answer import Answer
from cacheserver.cache.freshness import bar_of
from cacheserver.core import json_text
from cacheserver.core.money import usd
from cacheserver.core.types import AUTO, MAX_TOKENS, Candidate, Decision, Hit, Query


def body_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Build the Messages body of a question. `asked` holds `prompt` or `messages`."""
    max_tokens = asked.get("max_tokens")
    body: dict[str, Any] = {
        "model": asked.get("model") or AUTO,
        "max_tokens": MAX_TOKENS if max_tokens is None else max_tokens,
        "messages": asked.get("messages") or [{"role": "user", "content": asked.get("prompt")}],
    }
    if asked.get("system") is not None:
        body["system"] = asked["system"]
    if (schema := asked.get("schema")) is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if asked.get("stream"):
        body["stream"] = True
    return body


def show(query: Query, answer: Answer, now: float, *, others: bool = True) -> dict[str, Any]:
    """Build the response of `/v1/query`: the answer, its decision, cost and saving.

    `others` False: a served question that another key may have written is left out.
    """
    message = json_text.loads(answer.body)
    settlement = answer.settlement
    bar = (
        None
        if query.text is None
        else bar_of(query.tenant, query.controls.namespace, query.label_scope)
    )
    content = message.get("content") or []
    explained = explanation.explain(answer.decision, bar, now)
    return {
        "text": "".join(block["text"] for block in content if block["type"] == "text"),
        "content": content,
        "origin": _origin(answer.decision, message),
        "decision": explanation.for_caller(explained, asked=query.text, others=others),
        "model": message.get("model"),
        "stop_reason": message.get("stop_reason"),
        "usage": message.get("usage"),
        "cost_usd": None if settlement.total_cost is None else usd(settlement.total_cost),
        "saved_usd": None if settlement.net_saved is None else usd(settlement.net_saved),
        "batch_eligible": cacheability.batchable(query.body),
        "entry_id": answer.headers.get("x-cache-entry"),
        "decision_id": answer.decision_id,
        "ttl_s": int(ttl) if (ttl := answer.headers.get("x-cache-ttl")) else None,
    }


def _origin(decision: Decision, message: Mapping[str, Any]) -> str:
    """Return who made an answer: `claude`, `simulated`, `curated` or `own`."""
    match decision:
        case Hit(candidate=Candidate(entry=entry)):
            return entry.origin
    return "simulated" if cacheability.made_up(message) else "claude"
