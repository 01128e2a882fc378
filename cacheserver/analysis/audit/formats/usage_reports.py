"""Anthropic's usage and cost reports: pages of the Admin API, and CSV files of its Console.

They hold sums, not requests. Fields are those of `GET /v1/organizations/usage_report/messages` and
`GET /v1/organizations/cost_report` (amounts there are decimal texts, in cents), and the columns of
the Console's exports (`usage_input_tokens_no_cache`, `cost_usd`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from cacheserver.analysis.audit.formats.fields import (
    count,
    listed,
    model_of,
    nanodollars,
    part,
    time_of,
    word,
)
from cacheserver.analysis.audit.invoice import Bucket
from cacheserver.core.types import Usage

ODD: Final = "a field that holds something else than it should"


def fits(record: Mapping[str, Any]) -> bool:
    """Return whether a record is a time bucket of a report, or a row of one."""
    return ("starting_at" in record and "results" in record) or (
        "usage_date_utc" in record
        and ("usage_input_tokens_no_cache" in record or "cost_usd" in record)
    )


def buckets_of(record: Mapping[str, Any]) -> Iterator[Bucket | str]:
    """Yield the buckets of a record; a text is the reason for leaving a part out."""
    start = time_of(record.get("usage_date_utc", record.get("starting_at")))
    if start is None:
        yield "no time"
    elif "usage_date_utc" in record:
        yield _row(record, start)
    else:
        for one in listed(record["results"]):
            try:
                found = _cost(one, start) if "amount" in one else _usage(one, start)
            except (TypeError, ValueError, AttributeError, OverflowError):
                found = ODD
            yield found  # the others of its page are none the worse


def _usage(one: Mapping[str, Any], start: float) -> Bucket | str:
    name = one.get("model")
    model = model_of(name)
    if model is None and name is not None:
        return f"model:{str(name)[:60]}"
    written = part(one, "cache_creation") or {}
    used = part(one, "server_tool_use") or {}
    usage = Usage(
        input_tokens=count(one.get("uncached_input_tokens")),
        output_tokens=count(one.get("output_tokens")),
        cache_write_5m_tokens=count(written.get("ephemeral_5m_input_tokens")),
        cache_write_1h_tokens=count(written.get("ephemeral_1h_input_tokens")),
        cache_read_tokens=count(one.get("cache_read_input_tokens")),
        web_searches=count(used.get("web_search_requests")),
        # Priority was paid for beforehand, and is priced as the rest.
        service_tier="batch" if one.get("service_tier") == "batch" else "standard",
        speed="fast" if one.get("speed") == "fast" else "standard",
        inference_geo="us" if one.get("inference_geo") == "us" else "",
    )
    key, workspace = word(one, "api_key_id"), word(one, "workspace_id")
    return Bucket(start, model, usage, key=key, workspace=workspace)


def _cost(one: Mapping[str, Any], start: float) -> Bucket | str:
    cents = nanodollars(one["amount"])
    if cents is None:
        return "an amount that is none"
    model = model_of(one.get("model")) or model_of(one.get("description"))
    return Bucket(start, model, cost=int(Decimal(cents) / 100), workspace=word(one, "workspace_id"))


def _row(row: Mapping[str, Any], start: float) -> Bucket | str:
    name = word(row, "model_version", "model")
    model, key, workspace = model_of(name), word(row, "api_key"), word(row, "workspace")
    if "cost_usd" in row:
        cost = nanodollars(row["cost_usd"])
        if cost is None:
            return "an amount that is none"
        return Bucket(start, model, cost=cost, key=key, workspace=workspace)
    if model is None:
        return f"model:{str(name)[:60]}"
    as_result = {
        "model": name,
        "api_key_id": key,
        "workspace_id": workspace,
        "uncached_input_tokens": row.get("usage_input_tokens_no_cache"),
        "cache_creation": {
            "ephemeral_5m_input_tokens": row.get("usage_input_tokens_cache_write_5m"),
            "ephemeral_1h_input_tokens": row.get("usage_input_tokens_cache_write_1h"),
        },
        "cache_read_input_tokens": row.get("usage_input_tokens_cache_read"),
        "output_tokens": row.get("usage_output_tokens"),
        "server_tool_use": {"web_search_requests": row.get("web_search_count")},
        "service_tier": row.get("usage_type"),
        "speed": row.get("speed"),
        "inference_geo": row.get("inference_geo"),
    }
    return _usage(as_result, start)
