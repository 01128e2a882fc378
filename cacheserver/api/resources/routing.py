"""Trials of cheaper models, for the admin: results, thresholds, gold sets and runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from cacheserver.api import errors
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.core import tiers
from cacheserver.core.errors import BadRequest, NotFound
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.money import usd
from cacheserver.core.rules.routing import RoutingRules, Tier
from cacheserver.core.tasks import canonical
from cacheserver.core.types import Tenant
from cacheserver.routing.trials import gold_rules
from cacheserver.routing.trials import rules as trials
from cacheserver.routing.trials.gold import Run
from cacheserver.routing.trials.rules import Pair, PairRecord
from cacheserver.tenants.admin_keys import Role

router = APIRouter(prefix="/admin/v1/routing", tags=["admin"])
thresholds = APIRouter(
    prefix="/admin/v1/routing", tags=["admin"]
)  # a tenant's rules: also without trials

_PROVABLE: tuple[Tier, ...] = ("low", "middle")  # above the high one there is none to compare with

_THRESHOLD = json_body(
    {
        "task": {"type": "string"},
        "tier": {"enum": list(_PROVABLE)},
        "min_agreement": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    },
    {"nine of ten": {"task": "classification", "tier": "low", "min_agreement": 0.9}},
    required=("task", "tier"),
)
_RUN = json_body(
    {"tier": {"enum": list(_PROVABLE)}}, {"the middle tier": {"tier": "middle"}}, optional=True
)
_LINES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/jsonl": {
                "schema": {"type": "string"},
                "example": '{"prompt": "Refund or order: my money back", "expected": "refund"}'
                '\n{"body": {"messages": [{"role": "user", "content": "France as JSON"}]}, '
                '"check": {"json": true}}',
            }
        },
    }
}


@router.get("/{tenant}/trials", summary="What trials of cheaper models have shown")
async def shown(request: Request, tenant: str) -> dict[str, Any]:
    """Each pair of models by task: how often their answers agreed, with Wilson's 95% interval, and
    what a rule asks for; what is spent today; the last roll-backs; the gold sets.
    """
    state, found = await _admitted(request, tenant)
    held, rules = state.parts.trials.live, found.routing
    pairs = [
        _pair(pair, await held.store.shown(tenant, pair), rules)
        for pair in await held.store.pairs(tenant)
    ]
    return {
        "share": rules.trials.share,
        "usd_per_day": rules.trials.usd_per_day,
        "spent_usd": usd(await held.calls.spent(tenant)),
        "pairs": pairs,
        "alerts": await held.store.alerts(tenant),
        "gold": [
            {"task": task, "last_run": _run(state.parts.trials.gold.last(tenant, task))}
            for task in await held.store.gold_tasks(tenant)
        ],
    }


@thresholds.put(
    "/{tenant}/thresholds",
    summary="The agreement a tier has to show for a task",
    openapi_extra=_THRESHOLD,
)
async def threshold(request: Request, tenant: str) -> dict[str, Any]:
    """Fields: `task`, `tier` (that such work is for) and `min_agreement` (0 to 1; null: no trial is
    asked for). The tier is used once the interval's lower end is there; till then the next one up.
    In force on every server within seconds.
    """
    state, found = await _admitted(request, tenant, "tune")
    fields = await state.object(request)
    if unknown := fields.keys() - {"task", "tier", "min_agreement"}:
        raise BadRequest(min(unknown)[:64], "is not known here")
    task = _task(fields.get("task"), found.routing)
    tier = _tier(fields.get("tier"))
    least = _share(fields.get("min_agreement"))
    name = next((one for one in found.routing.tasks if canonical(one) == task), task)
    rule = {"tier": tier, "min_agreement": least}
    await state.parts.tenants.change(tenant, {"routing": {"tasks": {name: rule}}})
    return {"task": task, "tier": tier, "min_agreement": least}


@router.put("/{tenant}/gold/{task}", summary="Upload a gold set", openapi_extra=_LINES)
async def put_gold(request: Request, tenant: str, task: str) -> dict[str, Any]:
    """Upload a gold set as JSON lines: `prompt` or `body`, and `expected` or `check` or both.

    It replaces the task's last set; at most 500 questions.
    """
    state, found = await _admitted(request, tenant, "tune")
    name = _task(task, found.routing)
    items = await state.lines(request, gold_rules.read)
    await state.parts.trials.live.store.put_gold(tenant, name, items, state.parts.clock())
    return {"task": name, "items": len(items)}


@router.get("/{tenant}/gold/{task}", summary="A gold set and its last run")
async def get_gold(request: Request, tenant: str, task: str) -> dict[str, Any]:
    """Return a gold set; for a tenant without stored content, only the number of questions."""
    state, found = await _admitted(request, tenant)
    name = _task(task, found.routing)
    gold_set = await state.parts.trials.live.store.gold(tenant, name)
    if gold_set is None:
        raise NotFound(_NONE)
    last = _run(state.parts.trials.gold.last(tenant, name))
    shown: dict[str, Any] = {"task": name, "at": gold_set.at, "last_run": last}
    if found.no_content:
        return {**shown, "count": len(gold_set.items), "items": None, "withheld": NO_CONTENT}
    return {**shown, "items": [gold_rules.as_json(item) for item in gold_set.items]}


@router.delete("/{tenant}/gold/{task}", summary="Remove a gold set")
async def remove_gold(request: Request, tenant: str, task: str) -> dict[str, Any]:
    state, found = await _admitted(request, tenant, "tune")
    name = _task(task, found.routing)
    if not await state.parts.trials.live.store.remove_gold(tenant, name):
        raise NotFound(_NONE)
    return {"task": name, "removed": True}


@router.post(
    "/{tenant}/gold/{task}/run",
    status_code=202,
    summary="Ask a gold set's questions now",
    openapi_extra=_RUN,
)
async def run_gold(request: Request, tenant: str, task: str) -> JSONResponse:
    """Start a run in the background, within the daily spending cap; `GET` shows the result.

    Field: `tier`, whose model is asked; without it the one the task is for, or `low`.
    """
    state, found = await _admitted(request, tenant, "tune")
    name = _task(task, found.routing)
    raw = await errors.read_body(request, state.max_body_bytes)
    fields = errors.parse(raw) if raw.strip() else {}
    if unknown := fields.keys() - {"tier"}:
        raise BadRequest(min(unknown)[:64], "is not known here")
    usual = tiers.task_tier(name, found.routing)
    tier = _tier(fields["tier"]) if "tier" in fields else "middle" if usual == "middle" else "low"
    run = await state.parts.trials.gold.begin(found, name, tier)
    if run is None:
        raise NotFound(_NONE)
    return JSONResponse(_run(run), status_code=202)


_NONE = "this task has no gold set; upload one with PUT"


async def _admitted(request: Request, tenant: str, role: Role = "read") -> tuple[AppState, Tenant]:
    state = state_of(request)
    state.gate.admit_admin(request, role)
    return state, await tenant_of(state, tenant)


def _pair(pair: Pair, shown: PairRecord, rules: RoutingRules) -> dict[str, Any]:
    gate = trials.gates(pair.task, rules)
    asked = gate is not None and trials.pair_of(pair.task, gate[0], rules) == pair
    count, agreed, score = len(shown.window), shown.agreed, shown.gold
    low, high = trials.interval(agreed, count)
    return {
        "task": pair.task,
        "from_model": pair.dear,
        "to_model": pair.cheap,
        "agreed": agreed,
        "count": count,
        "undecided": shown.undecided,
        "agreement": round(agreed / count, 4) if count else None,
        "interval": [round(low, 4), round(high, 4)],
        "min_agreement": gate[1] if gate is not None and asked else None,
        "standing": shown.standing if asked else None,
        "changed_at": shown.changed_at,
        "gold": None
        if score is None
        else {
            **asdict(score),
            "interval": [round(end, 4) for end in trials.interval(score.right, score.count)],
        },
        "calls": shown.calls,
        "cost_usd": usd(shown.cost),
        "at": shown.at,
    }


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    shown = asdict(run)
    shown["cost_usd"] = usd(shown.pop("cost"))
    return shown


def _task(value: object, rules: RoutingRules) -> str:
    if not isinstance(value, str) or tiers.task_tier(value, rules) is None:
        names = ", ".join(f"`{name}`" for name in tiers.all_tasks(rules))
        raise BadRequest("task", f"must be one of {names}; or give the tenant a rule for it")
    return canonical(value)


def _tier(value: object) -> Tier:
    for tier in _PROVABLE:
        if value == tier:
            return tier
    raise BadRequest("tier", "must be `low` or `middle`: it is compared with the next one up")


def _share(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadRequest("min_agreement", "must be 0 to 1, or null")
    return float(value)
