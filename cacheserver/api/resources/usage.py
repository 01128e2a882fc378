"""`/v1/usage`: requests, costs and savings by any grouping; and export of the rows.

A tenant sees its own; with the admin key, all of them or the one that `tenant` names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from cacheserver.api.components import Components
from cacheserver.api.json_body import query_parameters
from cacheserver.api.known_names import refuse_unknown_tenant
from cacheserver.api.resources import usage_parameters, usage_report
from cacheserver.api.resources.usage_parameters import TIMES, UsageParameters
from cacheserver.api.state import AppState, state_of
from cacheserver.core.errors import BadRequest, Forbidden
from cacheserver.ledger import parquet
from cacheserver.ledger.export import FORMATS, encode_pages
from cacheserver.ledger.reports import Cell
from cacheserver.ledger.time_range import SECONDS

router = APIRouter(tags=["usage"])

_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
_RANGE = ("from", "to", "tenant")
_TEXT = {"type": "string"}


@router.get(
    "/v1/usage",
    summary="Usage, cost and savings",
    openapi_extra=query_parameters(dict.fromkeys(usage_parameters.PARAMETERS, _TEXT)),
)
async def usage(request: Request) -> dict[str, Any]:
    """Sum requests, costs and savings over a range of time.

    `from` and `to` are ISO 8601 or Unix seconds, by default the last 30 days; `group_by` takes up
    to three of tenant, key, model, cause, decision and minute, hour or day, or task or tag alone;
    `cause` and `decision` then name those to be shown.
    """
    state = state_of(request)
    own = await _own(state, request)
    parameters = usage_parameters.read(_once(request), state.parts.clock())
    return await report(state.parts, parameters, await _allowed(state, own, parameters.tenant))


@router.get(
    "/v1/usage/export",
    summary="The ledger's rows as CSV, JSONL or Parquet",
    openapi_extra=query_parameters(
        {**dict.fromkeys(_RANGE, _TEXT), "format": {"enum": list(FORMATS), "default": "csv"}}
    ),
)
async def export(request: Request) -> Response:
    """Stream every row of a range of time, by default the last 30 days."""
    state = state_of(request)
    own = await _own(state, request)
    params = dict(_once(request))
    format = params.pop("format", "csv")
    if format not in FORMATS:
        raise BadRequest("format", f"must be one of {', '.join(FORMATS)}")
    if format == "parquet" and not parquet.available():
        raise BadRequest(
            "format",
            f"`parquet` needs pyarrow on the server: {parquet.NEEDED}; "
            "`jsonl` and `csv` need nothing",
        )
    if unknown := params.keys() - set(_RANGE):
        raise BadRequest(min(unknown)[:64], "is not known here")
    start, end = usage_parameters.span(params, state.parts.clock())
    tenant = await _allowed(state, own, params.get("tenant"))
    if await state.parts.ledger_export.needs_parquet(start, end):
        raise BadRequest(
            "from",
            "some rows of the range are in Parquet files that an earlier version wrote; "
            f"on the server: {parquet.NEEDED}",
        )
    await state.parts.ledger.flush()
    pages = state.parts.ledger_export.rows(start, end, tenant)
    name = f'attachment; filename="usage.{format}"'
    return StreamingResponse(
        encode_pages(pages, format),
        media_type=_TYPES[format],
        headers={"content-disposition": name},
    )


async def report(
    parts: Components, parameters: UsageParameters, tenant: str | None
) -> dict[str, Any]:
    """Return a report for JSON; `tenant` None means all tenants. Raises `StoreError`."""
    await parts.ledger.flush()
    sums = parts.ledger_reports
    tenants = (
        [tenant] if tenant is not None else await sums.tenants(parameters.start, parameters.end)
    )
    alone = (
        parameters.by[0] if parameters.by and parameters.by[0] in usage_parameters.ALONE else None
    )
    dimensions = (
        () if alone else tuple(by for by in parameters.by if by not in usage_parameters.EXPANDED)
    )

    def group(cell: Cell) -> tuple[str, ...] | None:
        if parameters.key not in (None, cell.key_id) or parameters.model not in (None, cell.model):
            return None
        return (cell.model, *(_part(cell, by) for by in dimensions if by not in TIMES))

    unit = next((by for by in dimensions if by in TIMES), None)
    found: dict[tuple[str, ...], dict[str, int]]
    if unit is None:
        cells = await sums.read(tenants, parameters.tiles, group)
        found = {key: each for key, each in cells.items() if key is not None}
    else:
        place = 1 + dimensions.index(unit)
        apart = await sums.over_time(tenants, parameters.tiles, group, SECONDS[TIMES[unit]])
        found = {
            (*key[:place], _iso(at), *key[place:]): each
            for (key, at), each in apart.items()
            if key is not None
        }
    whole = _folded(found, ())
    models = {key[0]: counted for key, counted in _folded(found, (0,)).items()}
    everything = whole.get((), {})
    share, learning = None, parts.capabilities.calibration
    if learning is not None and everything.get("semantic"):
        share = await learning.wrong_hits.share(tenants)
    named = await named_models(parts, tenant)
    wrong_price = parts.wrong_hit_cost if parameters.wrong_price is None else parameters.wrong_price
    shown = {
        "from": _iso(parameters.start),
        "to": _iso(parameters.end),
        "tenant": tenant,
        "totals": usage_report.totals(everything, parameters.target, named),
        "models": usage_report.models(models),
        "wrong_hits": usage_report.wrong_hits(everything, share, wrong_price),
    }
    days = parameters.start // 86_400, -(-parameters.end // 86_400)
    talks = await sums.conversations(tenants, *days)
    shown["conversations"] = await asyncio.to_thread(
        usage_report.conversations, talks, parameters.target
    )
    if alone is not None:
        kind = {"task": "lk", "tag": "lg"}[alone]
        shown["groups"] = usage_report.short(await sums.short(kind, tenants, *days), alone)
    elif parameters.by:
        places = tuple(range(1, len(dimensions) + 1))
        # On a thread: by the minute there are tens of thousands of groups, and hits must not wait.
        grouped = _folded(found, places)
        shown["groups"] = await asyncio.to_thread(_groups, grouped, parameters, named)
    return shown


async def named_models(parts: Components, tenant: str | None) -> list[str]:
    """Return the models that requests may have been compared with: the tenant's own first."""
    configured = (
        parts.tenants.fresh("default") if tenant is None else await parts.tenants.get(tenant)
    )
    own = configured.compare_with
    return [*([own] if own else []), *parts.pricer.models(parts.clock())]


def _groups(
    found: Mapping[tuple[Any, ...], dict[str, int]],
    parameters: UsageParameters,
    named: Collection[str],
) -> list[dict[str, Any]]:
    dimensions = [group for group in parameters.by if group not in usage_parameters.EXPANDED]
    by = next((group for group in parameters.by if group in usage_parameters.EXPANDED), None)
    shown: list[dict[str, Any]] = []
    for key in sorted(found, key=lambda key: tuple(str(part) for part in key)):
        names = dict(zip(dimensions, key, strict=True))
        if by is None:
            shown.append({**names, **usage_report.totals(found[key], parameters.target, named)})
        else:
            parts = usage_report.expanded(found[key], by)
            shown += (
                {**names, **one}
                for one in parts
                if not parameters.only or one[by] in parameters.only
            )
    return shown


def _part(cell: Cell, dimension: str) -> str:
    match dimension:
        case "tenant":
            return cell.tenant
        case "key":
            return cell.key_id
    return cell.model or "other"


def _folded(
    found: Mapping[tuple[Any, ...], dict[str, int]], places: Iterable[int]
) -> dict[tuple[Any, ...], dict[str, int]]:
    """Return the sums of groups whose names are equal at these positions."""
    folded: dict[tuple[Any, ...], dict[str, int]] = {}
    indexes = tuple(places)
    for key, sums in found.items():
        into = folded.setdefault(tuple(key[place] for place in indexes), {})
        for name, number in sums.items():
            into[name] = into.get(name, 0) + number
    return folded


async def _own(state: AppState, request: Request) -> str | None:
    """Return the tenant whose usage may be seen; None (all tenants) with the admin key."""
    if state.gate.is_admin(request):
        return None
    return (await state.gate.admit(request)).tenant.name


async def _allowed(state: AppState, own: str | None, named: str | None) -> str | None:
    if own is not None:
        if named not in (None, own):
            raise Forbidden("only the admin key shows another tenant's usage")
        return own
    if named is not None:  # a caller's own Anthropic key is a tenant too, whose name has an `@`
        await refuse_unknown_tenant(state, named)
    return named


def _once(request: Request) -> Mapping[str, str]:
    """Return the query's parameters. Raises `BadRequest` for a repeated one."""
    params = request.query_params
    for name in params:
        if len(params.getlist(name)) > 1:
            raise BadRequest(name[:64], "is there twice")
    return params


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
