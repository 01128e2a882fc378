"""Anthropic's usage and cost reports: pages of the Admin API, and CSV files of its Console.

They hold sums, not requests. Fields are those of `GET /v1/organizations/usage_report/messages` and
`GET /v1/organizations/cost_report` (amounts there are decimal texts, in cents), and the columns of
the Console's exports (`usage_input_tokens_no_cache`, `cost_usd`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from cacheserver.audit.fields import count, listed, model_of, nanodollars, part, time_of, word
from cacheserver.replay.call import Bucket
from cacheserver.types import Usage

_DAY_S: Final = 86_400.0
_TIERS: Final = ("batch",)  # that are priced otherwise; priority was paid for beforehand


def fits(record: Mapping[str, Any]) -> bool:
    """Whether a record is a stretch of time of a report, or a row of one."""
    return ("starting_at" in record and "results" in record) or (
        "usage_date_utc" in record
        and ("usage_input_tokens_no_cache" in record or "cost_usd" in record)
    )


def buckets_of(record: Mapping[str, Any], source: str) -> Iterator[Bucket | str]:
    """What it says, part by part; a text is why a part says nothing."""
    if "usage_date_utc" in record:
        yield _row(record, source)
        return
    start = time_of(record["starting_at"])
    end = time_of(record.get("ending_at"))
    if start is None:
        yield "no time"
        return
    for one in listed(record["results"]):
        try:
            read = _cost if "amount" in one else _usage
            found = read(one, start, end or start + _DAY_S, source)
        except (TypeError, ValueError, AttributeError, OverflowError):
            found = "a result with a field that holds something else than it should"
        yield found  # the others of its page are none the worse


def _usage(one: Mapping[str, Any], start: float, end: float, source: str) -> Bucket | str:
    written = part(one, "cache_creation") or {}
    searches = (part(one, "server_tool_use") or {}).get("web_search_requests")
    usage = Usage(
        input_tokens=count(one.get("uncached_input_tokens")),
        output_tokens=count(one.get("output_tokens")),
        cache_write_5m_tokens=count(written.get("ephemeral_5m_input_tokens")),
        cache_write_1h_tokens=count(written.get("ephemeral_1h_input_tokens")),
        cache_read_tokens=count(one.get("cache_read_input_tokens")),
        web_searches=count(searches),
        service_tier=_tier(one.get("service_tier")),
        speed=_speed(one.get("speed")),
        inference_geo=_geo(one.get("inference_geo")),
    )
    key, workspace = word(one, "api_key_id"), word(one, "workspace_id")
    name = one.get("model")
    model = model_of(name)
    if model is None and name is not None:
        return f"model:{str(name)[:60]}"
    return Bucket(start, end, model, usage, key=key, workspace=workspace, source=source)


def _cost(one: Mapping[str, Any], start: float, end: float, source: str) -> Bucket | str:
    cents = nanodollars(one["amount"])
    if cents is None:
        return "an amount that is none"
    model = model_of(one.get("model")) or model_of(one.get("description"))
    cost = int(Decimal(cents) / 100)
    workspace = word(one, "workspace_id")
    return Bucket(start, end, model, cost=cost, workspace=workspace, source=source)


def _row(row: Mapping[str, Any], source: str) -> Bucket | str:
    start = time_of(row["usage_date_utc"])
    if start is None:
        return "no time"
    name = word(row, "model_version", "model")
    model = model_of(name)
    key, workspace = word(row, "api_key"), word(row, "workspace")
    end = start + _DAY_S
    if "cost_usd" in row:
        cost = nanodollars(row["cost_usd"])
        if cost is None:
            return "an amount that is none"
        return Bucket(start, end, model, cost=cost, key=key, workspace=workspace, source=source)
    if model is None:
        return f"model:{str(name)[:60]}"
    usage = Usage(
        input_tokens=count(row.get("usage_input_tokens_no_cache")),
        output_tokens=count(row.get("usage_output_tokens")),
        cache_write_5m_tokens=count(row.get("usage_input_tokens_cache_write_5m")),
        cache_write_1h_tokens=count(row.get("usage_input_tokens_cache_write_1h")),
        cache_read_tokens=count(row.get("usage_input_tokens_cache_read")),
        web_searches=count(row.get("web_search_count")),
        service_tier=_tier(row.get("usage_type")),
        speed=_speed(row.get("speed")),
        inference_geo=_geo(row.get("inference_geo")),
    )
    return Bucket(start, end, model, usage, key=key, workspace=workspace, source=source)


def _tier(given: object) -> str:
    return given if isinstance(given, str) and given in _TIERS else "standard"


def _speed(given: object) -> str:
    return "fast" if given == "fast" else "standard"


def _geo(given: object) -> str:
    return "us" if given == "us" else ""
