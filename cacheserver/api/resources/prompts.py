"""Prompt costs of a tenant, for the admin: use, fragments, versions, carry-over."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api import admin_act
from cacheserver.api.json_body import json_body
from cacheserver.api.known_names import tenant_of
from cacheserver.api.resources.tuning import lists
from cacheserver.api.state import AppState, state_of
from cacheserver.cache.controls import name as checked_name
from cacheserver.core.errors import BadRequest
from cacheserver.core.money import usd
from cacheserver.ledger import time_range
from cacheserver.pricing.estimate import chars_per_token
from cacheserver.promptcache import advice
from cacheserver.promptcache.multipliers import Rates, rates
from cacheserver.promptcache.planner import LIFETIME_S, chances
from cacheserver.promptcache.prefixes import ListedPrefix

router = APIRouter()

_KINDS = ("input", "cache_write_5m", "cache_write_1h", "cache_read")
_PREFIXES = {
    "model": "The model whose prices are meant; the server's default model if it is not given.",
    **lists.PAGE,
}

_DIGEST = re.compile(r"[0-9a-f]{32}")
_ENTRY = re.compile(r"[0-9a-f]{32}")
_MOST_NAMED = 10_000
_HASH = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_CARRY_BODY = json_body(
    {
        "namespace": {"type": "string", "default": "default"},
        "from": _HASH,
        "to": _HASH,
        "dry_run": {"type": "boolean", "default": True},
        "entries": {
            "type": ["array", "null"],
            "items": _HASH,
            "maxItems": _MOST_NAMED,
            "description": "Ids of the entries to copy; absent: all.",
        },
    },
    {
        "try it": {
            "from": "0123456789abcdef0123456789abcdef",
            "to": "fedcba9876543210fedcba9876543210",
        }
    },
    required=("from", "to"),
)


@router.get("/admin/v1/prompts/{tenant}", tags=["admin"], summary="What Claude's cache saved")
async def use(request: Request, tenant: str, hours: int = 24) -> dict[str, Any]:
    """Show tokens read and written, the planned and the actual gain, and the cost of pre-warming.

    `read_ratio` is of the tokens of planned calls; `alert`: it is under the threshold.
    `where` has the prompt tokens of all calls by kind, cache writes by lifetime, with an estimate
    of what each kind cost; `plain_usd` is what all of them would have as plain input.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    if not 1 <= hours <= 8 * 24:
        raise BadRequest("hours", "must be 1 to 192")
    rules = (await tenant_of(state, tenant)).caching
    now = state.parts.clock()
    await state.parts.prompt_caching.writes.drain()
    used = await state.parts.prompt_caching.prefixes.used(tenant, hours * 3_600, now)
    ratio = used.read_ratio
    shown: dict[str, Any] = asdict(used)
    for money in ("expected", "gain", "warm_cost"):
        shown[f"{money}_usd"] = usd(shown.pop(money))
    return {
        "hours": hours,
        **shown,
        "read_ratio": None if ratio is None else round(ratio, 4),
        "threshold": rules.read_ratio_alert,
        "alert": ratio is not None and ratio < rules.read_ratio_alert,
        **await _where(state, tenant, hours * 3_600, now),
    }


async def _where(state: AppState, tenant: str, window_s: int, now: float) -> dict[str, Any]:
    """Return where a tenant's prompt tokens went, from the ledger's sums."""
    tiles = list(time_range.split_range(*time_range.align_range(now - window_s, now, now)))
    by_model = await state.parts.ledger_reports.read([tenant], tiles, lambda cell: cell.model)
    counts: Counter[str] = Counter()
    costs: Counter[str] = Counter()
    plain = unpriced = 0
    for model, sums in by_model.items():
        tokens = {kind: sums.get(kind, 0) for kind in _KINDS}
        counts.update(tokens)
        priced = rates(state.parts.pricer.cost, model, now)
        if priced is None:
            unpriced += sum(tokens.values())
            continue
        found, as_plain = advice.use_cost(tokens, priced)
        costs.update(found)
        plain += as_plain
    whole = sum(counts.values())
    return {
        "where": [
            {
                "kind": kind,
                "tokens": counts[kind],
                "share": round(counts[kind] / whole, 4) if whole else None,
                "cost_usd": usd(costs[kind]),
            }
            for kind in _KINDS
        ],
        "prompt_usd": usd(sum(costs.values())),
        "plain_usd": usd(plain),
        "unpriced_tokens": unpriced,
    }


@router.get(
    "/admin/v1/prompts/{tenant}/prefixes",
    tags=["admin"],
    summary="Prefixes of prompts, and whether a mark pays",
    openapi_extra=lists.described(_PREFIXES),
)
async def prefixes(request: Request, tenant: str) -> dict[str, Any]:
    """List the beginnings of prompts that may end at a mark, by tokens times sightings.

    Each has how often it came of late and after what gaps, when it was last used, what a mark would
    save of its price, and `advice`. `break_even` says from how many reads within a lifetime, and
    from which chance of reuse, a mark pays, at the prices of `model`.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    given = lists.given(request, _PREFIXES)
    name, now = (await tenant_of(state, tenant)).name, state.parts.clock()
    limit, cursor = lists.page(given)
    start = _offset(cursor)
    model = given.get("model", state.parts.default_model)
    priced = rates(state.parts.pricer.cost, model, now) if 1 <= len(model) <= 128 else None
    if priced is None:
        raise BadRequest("model", "has no price; see `CACHESERVER_PRICES`")
    await state.parts.prompt_caching.writes.drain()
    known = state.parts.prompt_caching.prefixes
    names = await known.ranked(name)
    after = start + limit
    found = await known.listed(name, names[start:after], now)
    return {
        "model": model,
        "count": len(names),
        "break_even": {ttl: asdict(advice.break_even(priced, ttl)) for ttl in LIFETIME_S},
        "items": [_prefix(one, priced, now) for one in found],
        "next": str(after) if after < len(names) else None,
    }


def _prefix(one: ListedPrefix, priced: Rates, now: float) -> dict[str, Any]:
    stats, told = one.stats, advice.advise(one.stats, priced)
    within_5m, within_1h = chances(stats)
    return {
        "prefix": one.prefix,
        "tokens": one.tokens,
        "sightings": round(stats.sightings, 1),
        "gaps": {name: round(value, 1) for name, value in asdict(stats.gaps).items()},
        "reuse": {"5m": round(within_5m, 4), "1h": round(within_1h, 4)},
        "saves": {ttl: round(share, 4) for ttl, share in advice.worth(stats, priced).items()},
        "last_at": one.last_at,
        "used_at": stats.used_at,
        "ttl": stats.ttl if stats.used_at is not None else None,
        "live": stats.live(now),
        "account_usd": usd(round(stats.account * priced.input)),
        "advice": asdict(told),
    }


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 6):
        raise BadRequest("cursor", "must be the `next` of the page before")
    return int(cursor)


@router.get(
    "/admin/v1/prompts/{tenant}/fragments", tags=["admin"], summary="What keeps prompts apart"
)
async def fragments(request: Request, tenant: str) -> list[dict[str, Any]]:
    """List system prompts that differ only in times, ids, names or numbers, most expensive first.

    Each has the places that changed (never their words) and an estimate of the daily cost:
    prompt-cache reads lost at Claude, and answers not found in this cache. `chars` is the length of
    the prompt, estimated; `advice` says in words what to change.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    name, now = (await tenant_of(state, tenant)).name, state.parts.clock()
    await state.parts.prompt_caching.writes.drain()
    found = await state.parts.prompt_caching.watch.fragments(name, now)
    for one in found:
        lost = one["lost_per_day"]
        lost["prompt_cache_usd"] = usd(lost.pop("prompt_cache"))
        lost["response_cost_usd"] = usd(lost.pop("response_cost"))
        one["chars"] = round(one["tokens"] * chars_per_token(one["model"]))
        one["advice"] = advice.of_fragments(one["spans"], one["chars"])
    return found


@router.get("/admin/v1/prompts/{tenant}/versions", tags=["admin"], summary="Versions of prompts")
async def versions(request: Request, tenant: str) -> list[dict[str, Any]]:
    """Each namespace's system prompts by hash, with when they were first and last seen, and the
    changes from one to the next with the number of entries left behind.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    name = (await tenant_of(state, tenant)).name
    await state.parts.prompt_caching.writes.drain()
    return await state.parts.prompt_caching.versions.show(name)


@router.post(
    "/admin/v1/prompts/{tenant}/carry-over",
    tags=["admin"],
    summary="Keep answers over a new version",
    openapi_extra=_CARRY_BODY,
)
async def carry_over(request: Request, tenant: str) -> dict[str, Any]:
    """Copy the answers of one version of a system prompt to another.

    Fields: `namespace` (`default`), `from` and `to` (hashes, as `versions` shows them), `dry_run`
    (true: only count, and show questions), `entries` (ids; absent: all of them). An answer made
    under the old prompt may be wrong under the new one: read a dry run first.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "tune")
    fields = await state.object(request)
    if unknown := fields.keys() - {"namespace", "from", "to", "dry_run", "entries"}:
        raise BadRequest(min(unknown)[:64], "is not known here")
    dry_run = fields.get("dry_run", True)
    if not isinstance(dry_run, bool):
        raise BadRequest("dry_run", "must be true or false")
    if dry_run:
        admin_act.note_nothing(request)
    return await state.parts.prompt_caching.versions.carry_over(
        await tenant_of(state, tenant),
        checked_name("namespace", fields.get("namespace", "default")),
        _digest("from", fields.get("from")),
        _digest("to", fields.get("to")),
        dry_run=dry_run,
        only=_entries(fields.get("entries")),
    )


def _digest(field: str, value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise BadRequest(field, "must be the hash of a version: 32 lower-case hex digits")
    return value


def _entries(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > _MOST_NAMED:
        raise BadRequest("entries", f"must be a list of at most {_MOST_NAMED} ids")
    for one in value:
        if not isinstance(one, str) or not _ENTRY.fullmatch(one):
            raise BadRequest("entries", "must be ids of entries: 32 lower-case hex digits each")
    return frozenset(value)
