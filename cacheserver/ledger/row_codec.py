"""A row of the ledger as it is kept, and as it is exported.

Kept: a JSON array by position, about 150 bytes; zeros are cheap and names cost nothing. Exported:
flat, one column per token kind and cause, so that a spreadsheet and DuckDB need no unpacking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from cacheserver.core.ledger_row import CAUSES, NOTHING, SPENDS, Bounds, Row
from cacheserver.core.types import Usage

_LAYOUT = 1

TOKENS = (
    *("input_tokens", "output_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *("cache_read_tokens", "web_searches"),
)


def encode(row: Row) -> bytes:
    """A row as it is kept."""
    unknown = row.unknown
    return orjson.dumps(
        (
            _LAYOUT,
            round(row.at, 3),
            row.tenant,
            row.key_id,
            row.outcome,
            row.reason,
            row.asked,
            row.model,
            row.baseline,
            row.task,
            row.tags,
            row.conversation,
            0 if row.usage == NOTHING else astuple(row.usage),
            row.cost,
            row.saved or 0,
            row.spent or 0,
            row.prices,
            row.call,
            row.status,
            0 if unknown is None else (unknown.least, unknown.most),
            row.stream | row.batch_eligible << 1 | row.batched << 2,
        )
    )


def decode(id: str, kept: bytes) -> Row | None:
    """A row that was kept; None for one of a layout that this version does not know."""
    try:
        layout, *fields = orjson.loads(kept)
        if layout != _LAYOUT:
            return None
        (at, tenant, key_id, outcome, reason, asked, model, baseline, task, tags, talk) = fields[
            :11
        ]
        (usage, cost, saved, spent, prices, call, status, unknown, flags) = fields[11:20]
    except (ValueError, TypeError):
        return None
    return Row(
        id=id,
        at=at,
        tenant=tenant,
        outcome=outcome,
        reason=reason,
        asked=asked,
        model=model,
        baseline=baseline,
        key_id=key_id,
        task=task,
        tags=tuple(tags),
        conversation=talk,
        usage=_usage(usage),
        cost=cost,
        saved=saved or {},
        spent=spent or {},
        prices=prices,
        call=call,
        status=status,
        unknown=Bounds(*unknown) if unknown else None,
        stream=bool(flags & 1),
        batch_eligible=bool(flags & 2),
        batched=bool(flags & 4),
    )


def flat(row: Row) -> dict[str, Any]:
    """A row as it is exported: the columns of the CSV, JSONL and Parquet files, in order."""
    saved, spent = sum(row.saved.values()), sum(row.spent.values())
    cost, usage = row.cost, row.usage.billed
    return {
        "id": row.id,
        "at": datetime.fromtimestamp(row.at, UTC),
        "tenant": row.tenant,
        "key_id": row.key_id,
        "decision": row.outcome,
        "reason": row.reason,
        "model_asked": row.asked,
        "model": row.model,
        "model_baseline": row.baseline,
        "task": row.task,
        "tags": ",".join(row.tags),
        "conversation": row.conversation,
        "stream": row.stream,
        "status": row.status,
        **{name: getattr(usage, name) for name in TOKENS},
        "service_tier": usage.service_tier,
        "speed": usage.speed,
        "inference_geo": usage.inference_geo,
        "prices": row.prices,
        "cost_nanodollars": cost,
        "saved_nanodollars": saved,
        "spent_nanodollars": spent,
        "counterfactual_nanodollars": None if cost is None else cost + saved,
        **{f"saved_{_column(cause)}": row.saved.get(cause, 0) for cause in CAUSES},
        **{f"spent_{_column(spend)}": row.spent.get(spend, 0) for spend in SPENDS},
        "usage_known": row.unknown is None,
        "unknown_least_nanodollars": None if row.unknown is None else row.unknown.least,
        "unknown_most_nanodollars": None if row.unknown is None else row.unknown.most,
        "batch_eligible": row.batch_eligible,
        "batched": row.batched,
        "claude_message_id": row.call,
    }


def _usage(kept: Any) -> Usage:
    if not kept:
        return NOTHING
    *counts, legs = kept
    return replace(Usage(*counts), iterations=tuple((model, _usage(leg)) for model, leg in legs))


def _column(name: str) -> str:
    return name.replace("-", "_")


COLUMNS: Mapping[str, Any] = flat(Row("", 0.0, "", "miss", "", ""))
