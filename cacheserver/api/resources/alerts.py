"""Alerts: raised ones, rules, silences, and a test of their delivery, for the admin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.alerts.alert_state import AlertStates
from cacheserver.alerts.rule_list import KINDS, rules_as_json
from cacheserver.api.admin_act import note_change
from cacheserver.api.components import Components
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import present_tenants, tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.core import names
from cacheserver.core.errors import BadRequest, NotFound, Unknown
from cacheserver.core.types import Tenant
from cacheserver.tenants import key_times, tenant_json

router = APIRouter()

_MOST_SHOWN = 1_000
_LONGEST_SILENCE_S: Final = 30 * 86_400  # who needs more changes the threshold
_LONGEST_REASON = 500
_CHANNELS: Final = ("webhook", "slack", "email")

_REASON = {"type": "string", "minLength": 1, "maxLength": _LONGEST_REASON}
_ACKNOWLEDGED = json_body(
    {"id": {"type": "string"}, "reason": {**_REASON, "type": ["string", "null"]}},
    {"seen": {"id": "errors/shop//2026-11-29", "reason": "a deployment; it is over"}},
    required=("id", "reason"),
)
_SILENCE = json_body(
    {
        "kind": {"enum": sorted(KINDS)},
        "until": {
            "type": ["string", "number", "null"],
            "description": "`2h`, seconds, or an ISO 8601 time, at most 30 days; null ends it.",
        },
        "reason": _REASON,
    },
    {"during a load test": {"kind": "spend", "until": "4h", "reason": "load test"}},
    required=("kind", "until"),
)


@router.get("/admin/v1/alerts", tags=["admin"], summary="The last alerts, the newest first")
async def recent(
    request: Request, tenant: str | None = None, limit: int = 100, active: bool = False
) -> dict[str, Any]:
    """List alerts. `active`: the last check, a minute ago at most, found that it still holds, and
    its tenant was not deleted since;
    `acknowledged` and `silenced` say who said so, when and why. `?active=true`: those alone.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    if not 1 <= limit <= _MOST_SHOWN:
        raise BadRequest("limit", f"must be 1 to {_MOST_SHOWN}")
    if tenant is not None:
        await tenant_of(state, tenant)
    delivery = state.parts.alerts.delivery
    found = await delivery.store.recent(_MOST_SHOWN if tenant or active else limit)
    states = await delivery.states.read(state.parts.clock())
    present = await present_tenants(state.parts)
    shown = [_shown(one, states, present) for one in found if tenant in (None, one["tenant"])]
    return {"alerts": [one for one in shown if one["active"] or not active][:limit]}


@router.post(
    "/admin/v1/alerts/acknowledge",
    tags=["admin"],
    summary="Say that an alert was seen, and why that is enough",
    openapi_extra=_ACKNOWLEDGED,
)
async def acknowledge(request: Request) -> dict[str, Any]:
    """Acknowledge an alert by its `id`; a `reason` of null takes that back."""
    state = state_of(request)
    who = state.gate.admit_admin(request, "tune").name
    fields = _only(await state.object(request), ("id", "reason"))
    delivery, now = state.parts.alerts.delivery, state.parts.clock()
    id = fields.get("id")
    found = next((one for one in await delivery.store.recent(_MOST_SHOWN) if one["id"] == id), None)
    if found is None:
        raise NotFound("no alert of the last 1,000 has this id; `GET /admin/v1/alerts` lists them")
    before = (await delivery.states.read(now)).acknowledged(found["id"])
    after = None
    if "reason" not in fields or fields["reason"] is not None:
        reason = _reason(fields)
        after = await delivery.states.acknowledge(found["id"], who, reason, now)
    else:
        await delivery.states.take_back(found["id"])
    note_change(
        request,
        tenant=found["tenant"],
        before={"acknowledged": before is not None, "kind": found["kind"]},
        after={"acknowledged": after is not None, "kind": found["kind"]},
    )
    return _shown(found, await delivery.states.read(now), await present_tenants(state.parts))


@router.put(
    "/admin/v1/tenants/{name}/alerts/silence",
    tags=["admin"],
    summary="Keep a kind of alerts from being sent for a while",
    openapi_extra=_SILENCE,
)
async def silence(request: Request, name: str) -> dict[str, Any]:
    """Silence a kind of alerts of a tenant until a moment, at most 30 days; `until` null ends it.

    Silenced alerts are logged and listed, and sent to nobody. The reply is that of
    `GET /admin/v1/tenants/{name}/alerts`.
    """
    state = state_of(request)
    who = state.gate.admit_admin(request, "tune").name
    tenant = await tenant_of(state, name)
    fields = _only(await state.object(request), ("kind", "until", "reason"))
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Unknown("kind", "kind of alerts", str(kind), KINDS)
    if "until" not in fields:
        raise BadRequest("until", "must be given; null ends a silence")
    states, now = state.parts.alerts.delivery.states, state.parts.clock()
    before = (await states.read(now)).silenced(tenant.name, kind)
    after = None
    if fields["until"] is None:
        await states.end_silence(tenant.name, kind)
    else:
        until = key_times.moment("until", fields["until"], now)
        if not now < until <= now + _LONGEST_SILENCE_S:
            raise BadRequest("until", "must be in the future, at most 30 days ahead")
        after = await states.silence(
            tenant.name, kind, until=until, who=who, reason=_reason(fields), now=now
        )
    note_change(
        request,
        tenant=tenant.name,
        before={kind: {"silenced_until": before and before["until"]}},
        after={kind: {"silenced_until": after and after["until"]}},
    )
    return await _of_tenant(state, tenant)


@router.get(
    "/admin/v1/tenants/{name}/alerts",
    tags=["admin"],
    summary="A tenant's alert rules, silences and channels",
)
async def of_tenant(request: Request, name: str) -> dict[str, Any]:
    """Show when each kind is raised, by which settings with which value and origin; silences that
    are not over; and for each channel whether it is set, and how its last delivery ended.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    return await _of_tenant(state, await tenant_of(state, name))


@router.post(
    "/admin/v1/tenants/{name}/alerts/test",
    tags=["admin"],
    summary="Send a test alert everywhere now",
)
async def test(request: Request, name: str) -> dict[str, Any]:
    """Test each alert channel. The reply has `ok` or the error by channel; there is no retry."""
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    tenant = await tenant_of(state, name)
    outcome = await state.parts.alerts.delivery.test(tenant)
    return {"delivered": {channel: why or "ok" for channel, why in outcome.items()}}


async def refuse_closed_addresses(parts: Components, tenant: Tenant) -> None:
    """Raise `BadRequest` for an address of the tenant's that alerts may not be posted to."""
    rules = tenant.budgets.alerts
    for field, url in (("webhook", rules.webhook), ("slack", rules.slack)):
        if url is not None:
            where = f"budgets.alerts.{field}"
            await parts.webhooks.poster.check(where, url, tenant.batching)


async def _of_tenant(state: AppState, tenant: Tenant) -> dict[str, Any]:
    parts = state.parts
    stored = await parts.tenants.stored(tenant.name)
    states = await parts.alerts.delivery.states.read(parts.clock())
    rules = stored.tenant.budgets.alerts
    return {
        "enabled": rules.enabled,
        "rules": rules_as_json(tenant_json.as_json(stored.tenant), stored.own),
        "silences": states.silences(tenant.name),
        "channels": [
            {
                "channel": channel,
                "set": bool(getattr(rules, channel)),
                "last": states.delivery(tenant.name, channel),
            }
            for channel in _CHANNELS
        ],
    }


def _shown(
    alert: dict[str, Any], states: AlertStates, present: Callable[[str], bool]
) -> dict[str, Any]:
    return {
        **alert,
        "active": present(alert["tenant"]) and states.active(alert["id"]),
        "acknowledged": states.acknowledged(alert["id"]),
        "silenced": states.silenced(alert["tenant"], alert["kind"]),
    }


def _reason(fields: dict[str, Any]) -> str:
    return names.read("reason", fields.get("reason"), most=_LONGEST_REASON)


def _only(fields: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    if unknown := fields.keys() - set(known):
        raise Unknown(min(unknown)[:64], "field", min(unknown), known)
    return fields
