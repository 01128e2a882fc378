"""Observations of Langfuse: its API (`traceId`) and its exports to blob storage (`trace_id`).

Generations are calls; spans and events are not. `usageDetails` are disjoint: `input` is the rest
that Claude's cache did not read or write (its guide on token and cost tracking).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cacheserver.analysis.audit.formats import openai
from cacheserver.analysis.audit.formats.fields import (
    count,
    listed,
    mapped,
    model_of,
    nanodollars,
    time_of,
    word,
)
from cacheserver.analysis.replay.call import Call
from cacheserver.core.types import Usage

_OTHERS: Final = "skip:observations that are no generations"
_READ: Final = ("cache_read_input_tokens", "input_cache_read", "input_cached_tokens")
_WRITTEN: Final = ("cache_creation_input_tokens", "input_cache_creation", "input_cache_write")
_WRITTEN_1H: Final = ("ephemeral_1h_input_tokens", "input_cache_creation_1h")


def fits(record: Mapping[str, Any]) -> bool:
    """Return whether a record has this format."""
    return ("traceId" in record or "trace_id" in record) and "type" in record and "input" in record


def call_of(record: Mapping[str, Any], source: str) -> Call | str:
    """Return the call, or the reason for leaving the record out."""
    if str(record["type"]).upper() != "GENERATION":
        return _OTHERS
    name = word(record, "providedModelName", "provided_model_name", "model", "internalModel")
    model = model_of(name)
    if model is None:
        return f"model:{str(name or '')[:60]}"
    at = time_of(record.get("startTime", record.get("start_time")))
    if at is None:
        return "no time"
    request = mapped(record.get("modelParameters", record.get("model_parameters"))) or {}
    cost = record.get("calculatedTotalCost", record.get("total_cost", record.get("totalCost")))
    if cost is None:
        details = mapped(record.get("costDetails", record.get("cost_details"))) or {}
        cost = details.get("total")
    return Call(
        at=at,
        model=model,
        usage=_usage(record),
        body=_body(record.get("input"), request, model),
        message=_message(record.get("output")),
        tenant=word(record, "userId", "user_id") or "default",
        purpose=word(record, "name", "traceName", "trace_name"),
        cost=nanodollars(cost),
        status=500 if record.get("level") == "ERROR" else 200,
        source=source,
    )


def _usage(record: Mapping[str, Any]) -> Usage:
    details = mapped(record.get("usageDetails", record.get("usage_details"))) or {}
    older = mapped(record.get("usage")) or {}

    def first(*names: str) -> int:
        return next((count(details[name]) for name in names if name in details), 0)

    written_1h = first(*_WRITTEN_1H)
    return Usage(
        input_tokens=first("input", "input_tokens")
        or count(older.get("input", older.get("promptTokens", record.get("promptTokens")))),
        output_tokens=first("output", "output_tokens")
        or count(
            older.get("output", older.get("completionTokens", record.get("completionTokens")))
        ),
        cache_write_5m_tokens=max(0, first(*_WRITTEN) - written_1h),
        cache_write_1h_tokens=written_1h,
        cache_read_tokens=first(*_READ),
    )


def _body(given: object, request: Mapping[str, Any], model: str) -> Mapping[str, Any] | None:
    """The prompt: turns, or an object with them, or a question alone."""
    whole = mapped(given)
    if whole is not None:
        turns = listed(whole.get("messages"))
        return openai.body_of({**request, **whole}, turns, model) if turns else None
    turns = listed(given)
    if not turns and isinstance(given, str) and given:
        turns = [{"role": "user", "content": given}]
    return openai.body_of(request, turns, model)


def _message(given: object) -> Mapping[str, Any] | None:
    output = mapped(given)
    if output is None:
        output = {"content": given} if isinstance(given, str) and given else None
    elif "choices" in output:
        return openai.message_of(output)
    return None if output is None else openai.message_of({"choices": [{"message": output}]})
