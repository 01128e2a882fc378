"""Routing rules of a tenant for the admin: those in force with their origin, and a what-if."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_nothing
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.core import tiers
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.money import usd
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.tasks import canonical
from cacheserver.core.types import Tenant
from cacheserver.routing import what_if_rules
from cacheserver.routing.trials import rules as trials
from cacheserver.routing.what_if import MOST
from cacheserver.routing.what_if_rules import Barred, Move, Sum, WhatIf
from cacheserver.tenants import setting_tree, tenant_json

router = APIRouter(prefix="/admin/v1/routing", tags=["admin"])

_EXAMPLES: Final = 20
_USUAL: Final = 500
_BODY = json_body(
    {
        "routing": setting_tree.schema()["properties"]["routing"],
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": _USUAL},
    },
    {
        "all simple questions to the middle tier": {"routing": {"levels": {"simple": "middle"}}},
        "named Opus answered by Sonnet": {
            "routing": {"overrides": [{"model": "claude-opus-5-5", "to_tier": "middle"}]}
        },
    },
    required=("routing",),
)


@router.get("/{tenant}", summary="The routing rules in force, and where each comes from")
async def rules(request: Request, tenant: str) -> dict[str, Any]:
    """`rules` are in force, `own` are those that the tenant sets itself, `defaults` the server's.

    `tasks` has every task with the tier and model that answer it and the `origin` of that:
    `default`, `tenant`, or `trials`, which hold a tier back until it is proven.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    found = await tenant_of(state, tenant)
    stored = await state.parts.tenants.stored(found.name)
    barred = await state.parts.routing.what_if.barred(found.name, found.routing)
    return {
        "tenant": found.name,
        "rules": _as_json(found),
        "own": stored.own.get("routing", {}),
        "defaults": _as_json(state.parts.tenants.fresh(found.name)),
        "default_model": state.parts.default_model,
        "tasks": [_task(task, found.routing, barred) for task in tiers.all_tasks(found.routing)],
    }


@router.post("/{tenant}/what-if", summary="Replay calls under other rules", openapi_extra=_BODY)
async def what_if(request: Request, tenant: str) -> dict[str, Any]:
    """Replay the tenant's last calls to Claude of the day under changed rules; nothing changes.

    Fields: `routing`, as in the tenant's settings: what is left out stays as it is; `limit`, how
    many calls (500); fewer are replayed if they are not found within two seconds. Costs elsewhere
    are estimates: the same tokens at the other model's prices, rescaled where the tokenizers
    differ.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    note_nothing(request)
    found = await tenant_of(state, tenant)
    fields = await state.object(request)
    if unknown := fields.keys() - {"routing", "limit"}:
        raise Unknown(min(unknown)[:64], "field", min(unknown), ("routing", "limit"))
    if not isinstance(fields.get("routing"), Mapping):
        raise BadRequest("routing", "must be an object of routing settings")
    limit = fields.get("limit", _USUAL)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise BadRequest("limit", f"must be 1 to {MOST}")
    tried = await _tried(state, found.name, fields["routing"])
    replayed = await state.parts.routing.what_if.replay(found, tried, limit=limit)
    return _shown(replayed, withheld=found.no_content)


async def _tried(state: AppState, tenant: str, given: Mapping[str, Any]) -> RoutingRules:
    """Return the tenant's rules as they would be. Raises `BadRequest` as a change of them does."""

    async def check(before: Tenant, after: Tenant) -> None:
        await state.parts.routing.router.check(after.routing, state.parts.clock())

    planned = await state.parts.tenants.change(
        tenant, {"routing": dict(given)}, check=check, dry_run=True
    )
    return planned.tenant.routing


def _as_json(tenant: Tenant) -> Any:
    return tenant_json.as_json(tenant, ("routing",))["routing"]


def _task(task: str, rules: RoutingRules, barred: Barred) -> dict[str, Any]:
    wanted = tiers.task_tier(task, rules) or rules.default_tier
    rule = trials.rule_of(task, rules)
    reason = barred.get(canonical(task), {}).get(wanted)
    asked = wanted if reason is None else tiers.above(wanted)
    return {
        "task": task,
        "tier": asked,
        "model": tiers.model_of(asked, rules),
        "origin": "trials" if reason else "default" if rule is None else "tenant",
        "wanted_tier": wanted,
        "min_agreement": None if rule is None else rule.min_agreement,
        "held_back": reason,
    }


def _shown(found: WhatIf, *, withheld: bool) -> dict[str, Any]:
    pairs = sorted(found.pairs.items(), key=lambda one: (-one[1].moved, one[0]))
    work = sorted(found.tasks.items(), key=lambda one: (-one[1].requests, one[0] or ""))
    shown = {
        **_sum(found.whole),
        "not_replayed": found.not_replayed,
        "unpriced": found.unpriced,
        "by_model": [{"from": here, "to": there, **_sum(one)} for (here, there), one in pairs],
        "by_task": [{"task": task, **_sum(one)} for task, one in work],
        "examples": [_example(one) for one in what_if_rules.examples(found.moves, _EXAMPLES)],
    }
    return {**shown, "withheld": NO_CONTENT} if withheld else shown


def _sum(one: Sum) -> dict[str, Any]:
    found = asdict(one)
    before, after = found.pop("before"), found.pop("after")
    return {
        **found,
        "before_usd": usd(before),
        "after_usd": usd(after),
        "more_usd": usd(after - before),
    }


def _example(move: Move) -> dict[str, Any]:
    call = move.call
    return {
        "decision_id": call.id,
        "at": call.at,
        "question": call.question,
        "task": call.work,
        "from": call.model,
        "from_reason": call.reason,
        "to": move.after.model,
        "to_reason": move.after.reason,
        "before_usd": usd(call.cost),
        "after_usd": None if move.cost is None else usd(move.cost),
    }
