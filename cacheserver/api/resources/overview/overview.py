"""`/admin/v1/overview` and `/v1/overview`: money, hits, and what needs a look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.api.components import Components
from cacheserver.api.known_names import present_tenants, tenant_of
from cacheserver.api.resources import usage_report
from cacheserver.api.resources.overview import report
from cacheserver.api.resources.tuning import lists
from cacheserver.api.resources.usage import named_models
from cacheserver.api.state import state_of
from cacheserver.core.times import iso
from cacheserver.storage import key_groups

router = APIRouter(prefix="/admin/v1", tags=["admin"])
own = APIRouter(tags=["usage"])

_PARAMETERS: Final = {"tenant": "Whose figures; those of all tenants if not given."}
_ALERTS: Final = 5  # shown
_LOOKED_AT: Final = 1_000  # all that are kept


@router.get(
    "/overview",
    summary="Money, hits, latency and alerts at a glance",
    openapi_extra={"parameters": lists.described(_PARAMETERS)["parameters"]},
)
async def overview(request: Request) -> dict[str, Any]:
    """Show what was paid and saved today, in seven days and this month (UTC), by cause and beside
    other models; requests by outcome, by hour for 48 hours and by day for 30 days; the estimate of
    wrong hits; latency; alerts of the last day. `call` is the call that gives a part in full.

    Latency is this server's since its start; all else is of all servers on the store.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    tenant = lists.given(request, _PARAMETERS).get("tenant")
    if tenant is not None:
        await tenant_of(state, tenant)
    parts, end = state.parts, report.of_tenant(tenant)
    calls = {"entries": f"/admin/v1/entries{end}", "near": f"/admin/v1/decisions{end}"}
    found = await _overview(parts, tenant, calls)
    count = {"count": len(await parts.tenants.names()), "call": "/admin/v1/tenants"}
    return {
        **found,
        "latency": {
            "call": "/metrics",
            "of": "this server",
            "since": iso(state.live.since),
            "by_decision": (await state.counts.snapshot()).latencies(),
        },
        "counts": {**found["counts"], "tenants": count},
        "alerts": await _alerts(parts, tenant),
        "deleted_tenants": [] if tenant else await _deleted(parts),
    }


@own.get("/v1/overview", summary="Your money and hits at a glance")
async def own_overview(request: Request) -> dict[str, Any]:
    """Show the same of the caller's own tenant, without latency and alerts."""
    state = state_of(request)
    caller = await state.gate.admit(request)
    lists.given(request, {})
    calls = {"entries": "/v1/entries", "near": "/v1/decisions"}
    return await _overview(state.parts, caller.tenant.name, calls)


async def _overview(
    parts: Components, tenant: str | None, calls: Mapping[str, str]
) -> dict[str, Any]:
    """Return the figures of the ledger and the store; `calls` list what is counted."""
    await parts.ledger.flush()
    now = parts.clock()
    found = report.periods(now)
    tenants = [tenant] if tenant else await _active(parts, found)
    hours, days = await parts.past_sums.read(tenants, hours=found.hours, days=found.days)
    named = await named_models(parts, tenant)
    shown = range(found.day - report.DAYS + 1, found.day + 1)
    wrong = await _wrong_hits(parts, tenants, tenant, report.add(days, shown))
    return {
        "at": iso(now),
        "tenant": tenant,
        "money": report.money(days, found, tenant, named),
        "hits": report.hits(days, found, tenant),
        "hours": report.series(hours, found.hours, report.HOUR_S, tenant),
        "days": report.series(days, shown, report.DAY_S, tenant),
        "wrong_hits": {"call": report.usage_call(shown, tenant), **wrong},
        "counts": await _counts(parts, tenants, tenant, calls),
    }


async def _active(parts: Components, found: report.Periods) -> list[str]:
    """Return the tenants with requests in the days that are read."""
    start, end = found.days.start * report.DAY_S, found.days.stop * report.DAY_S
    return await parts.ledger_reports.tenants(start, end)


async def _wrong_hits(
    parts: Components, tenants: list[str], tenant: str | None, sums: dict[str, int]
) -> dict[str, Any]:
    share, learning = None, parts.capabilities.calibration
    if learning is not None:
        share = await learning.wrong_hits.share(tenants)
    targets = await _targets(parts, tenants, tenant)
    known = sorted(one for one in targets if one is not None)
    return {
        "target": targets.pop() if len(targets) == 1 else None,
        "targets": [known[0], known[-1]] if known else None,
        **usage_report.wrong_hits(sums, share, parts.wrong_hit_cost),
    }


async def _targets(parts: Components, tenants: list[str], tenant: str | None) -> set[float | None]:
    """Return the targets that the figures are held against: of the tenants that still exist."""
    if tenant is not None:
        return {(await parts.tenants.get(tenant)).bar.target}
    own = {one.name: one for one in await parts.tenants.list_tenants()}
    fresh = parts.tenants.fresh("default")
    found = (own.get(name) or own.get(name.rpartition("@")[0]) for name in tenants)
    default = own.get("default", fresh).bar.target
    targets = {default} if "default" in tenants else set[float | None]()
    return targets | {one.bar.target for one in found if one is not None} or {default}


async def _counts(
    parts: Components, tenants: list[str], tenant: str | None, calls: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return the number of stored answers, and of decisions of the last day that turned on a
    similarity, each with the call that lists them.
    """
    group = key_groups.tenant_group(tenant) if tenant else key_groups.EVERYTHING
    near = await parts.decision_log.near_counts(tenants) if tenants else []
    entries = await parts.entries.entries.search.count(group)
    return {
        "entries": {"count": entries, "call": calls["entries"]},
        "near_decisions": {"count": sum(near), "call": calls["near"]},
    }


async def _deleted(parts: Components) -> list[str]:
    """Return the deleted tenants whose amounts are in the figures."""
    present = await present_tenants(parts)
    found = await _active(parts, report.periods(parts.clock()))
    return [name for name in found if not present(name)]


async def _alerts(parts: Components, tenant: str | None) -> dict[str, Any] | None:
    """Return the alerts of the last day, without those of deleted tenants; None if alerts are
    switched off.
    """
    monitor = parts.capabilities.alerts
    if monitor is None:
        return None
    since, present = parts.clock() - report.DAY_S, await present_tenants(parts)
    found = [
        alert
        for alert in await monitor.delivery.store.recent(_LOOKED_AT)
        if tenant in (None, alert["tenant"])
        and alert["at"] >= since
        and alert["kind"] != "digest"
        and present(alert["tenant"])
    ]
    return {
        "call": "/admin/v1/alerts" + report.of_tenant(tenant),
        "count": len(found),
        "last": found[:_ALERTS],
    }
