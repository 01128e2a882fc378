"""`/admin/v1/purge`: stored answers removed by what they are, with a dry run.

Rule: more than `FREELY` entries, or all, go only if the request repeats the phrase that its dry run
returned, which says in words what is purged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import Field

from cacheserver.api.resources.entries import shown
from cacheserver.api.resources.entries.selection import (
    Conditions,
    named_tenant,
    read_body,
    withheld_of,
)
from cacheserver.api.state import AppState, state_of
from cacheserver.cache.store.entry_search import EntryFilter, FoundEntry
from cacheserver.core.errors import BadRequest
from cacheserver.storage import key_groups

router = APIRouter(prefix="/admin/v1", tags=["admin"])

FREELY: Final = 100  # entries that are purged without a confirmation
_EXAMPLES: Final = 10


class PurgeRequest(Conditions):
    """Conditions of a purge, and whether it is only tried."""

    tenant: str | None = Field(None, description="Name of a tenant; absent: all of them.")
    entry_id: str | None = Field(None, description="Id of one entry of `tenant`.")
    all: bool = Field(False, description="Everything of every tenant; without any condition.")
    dry_run: bool = Field(False, description="Count, and show examples; nothing is removed.")
    confirm: str | None = Field(
        None, description="The phrase of the dry run; needed for more than 100 entries and `all`."
    )


_CONTROLS = frozenset({"all", "dry_run", "confirm"})
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": PurgeRequest.model_json_schema(),
                "examples": {
                    "a tag, tried first": {
                        "value": {"tenant": "shop", "tag": "docs/pricing", "dry_run": True}
                    },
                    "unused answers of a model": {
                        "value": {
                            "model": "claude-haiku-5-5",
                            "older_than_s": 604_800,
                            "hits_max": 0,
                            "confirm": "purge model claude-haiku-5-5, older_than_s 604800, "
                            "hits_max 0",
                        }
                    },
                },
            }
        },
    }
}


@dataclass(frozen=True, slots=True)
class _Purge:
    """Selection of a request: a purge group, or entries by conditions."""

    wanted: EntryFilter
    group: str | None  # None: entries are searched, and purged by their ids
    entry_id: str | None


@router.post("/purge", summary="Purge stored answers", openapi_extra=_BODY)
async def purge(request: Request) -> dict[str, Any]:
    """Remove the entries for which all conditions hold, or try it with `dry_run`.

    A dry run returns `would_purge`, up to 10 `examples`, and in `confirm` the phrase to send back
    where more than 100 entries or `all` are to go; null where none is needed. A purge of `all`, of
    a tenant, or of a tenant's `entry_id`, `tag`, `context` or `namespace` alone also covers answers
    that Claude is working on. A tenant whose settings and keys were deleted can still be purged.
    A `text` is not looked for in tenants that keep no content: `skipped` names them.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    fields = await state.object(request)
    tenant = None
    if fields.get("tenant") is not None:
        tenant = (await named_tenant(state, fields["tenant"])).name
    asked = read_body(PurgeRequest, fields)
    chosen, phrase = _chosen(state, asked, tenant), _phrase(fields)
    count, examples, ids = await _found(state, chosen)
    large = asked.all or count > FREELY
    if asked.dry_run:
        return {
            "dry_run": True,
            "would_purge": count,
            "examples": await shown.items(state, examples),
            "confirm": phrase if large else None,
            **await _skipped(state, asked, tenant),
        }
    if large and asked.confirm != phrase:
        raise BadRequest(
            "confirm",
            f"this would purge {count} entries; send `confirm` with {phrase!r} to go on, or try it "
            "with `dry_run`",
        )
    entries = state.parts.entries.entries
    if chosen.entry_id is not None and tenant is not None:
        return {"purged": await entries.purge_id(tenant, chosen.entry_id)}
    if chosen.group is not None:
        return {"purged": await entries.purge_group(chosen.group)}
    purged = await entries.purge_ids(ids)
    return {"purged": purged, **await _skipped(state, asked, tenant)}


def _chosen(state: AppState, asked: PurgeRequest, tenant: str | None) -> _Purge:
    """Return what a request selects. Raises `BadRequest` where that is nothing, or unclear."""
    given = asked.model_fields_set - _CONTROLS
    given = {name for name in given if getattr(asked, name) is not None}
    if asked.all:
        if given:
            raise BadRequest("all", f"is everything: leave out `{min(given)}`")
        return _Purge(EntryFilter(), key_groups.EVERYTHING, None)
    if not given:
        raise BadRequest("tenant", "must be 1 to 64 letters, or say what else to purge, or `all`")
    if asked.entry_id is not None:
        if given != {"entry_id", "tenant"}:
            raise BadRequest("entry_id", "goes with `tenant` alone")
        return _Purge(EntryFilter(tenant), None, asked.entry_id)
    wanted = asked.filter(tenant, state.parts.clock())
    group = None
    if tenant is not None:
        match sorted(given - {"tenant"}):
            case []:
                group = key_groups.tenant_group(tenant)
            case ["tag" | "context"]:
                group = key_groups.tag_group(tenant, str(wanted.tag))
            case ["namespace"]:
                group = key_groups.namespace_group(tenant, str(wanted.namespace))
    return _Purge(wanted, group, None)


async def _found(state: AppState, chosen: _Purge) -> tuple[int, list[FoundEntry], list[str]]:
    """Return how many entries are selected, examples, and their ids if they go by their ids."""
    search, withheld = state.parts.entries.entries.search, withheld_of(state.parts)
    if chosen.entry_id is not None:
        one = await search.one(str(chosen.wanted.tenant), chosen.entry_id)
        return (0, [], []) if one is None else (1, [one], [])
    if chosen.group is not None:
        page = await search.page(chosen.wanted, limit=_EXAMPLES, withheld=withheld)
        return await search.count(chosen.group), page.items, []
    examples, ids = list[FoundEntry](), list[str]()
    async for some in search.all(chosen.wanted, withheld=withheld):
        examples += some[: _EXAMPLES - len(examples)]
        ids += [one.entry.id for one in some]
    return len(ids), examples, ids


async def _skipped(
    state: AppState, asked: PurgeRequest, tenant: str | None
) -> dict[str, list[str]]:
    """Return the tenants without content, in which no text is looked for."""
    if asked.text is None:
        return {}
    tenants = state.parts.tenants
    some = await tenants.list_tenants() if tenant is None else [await tenants.get(tenant)]
    skipped = [one.name for one in some if one.no_content]
    return {"skipped": skipped} if skipped else {}


def _phrase(fields: Mapping[str, Any]) -> str:
    """Return what is purged in words, as a confirmation repeats it."""
    if fields.get("all") is True:
        return "purge everything"
    named = [name for name in PurgeRequest.model_fields if fields.get(name) is not None]
    named.sort(key=lambda name: name != "tenant")
    said = (f"{name} {fields[name]}" for name in named if name not in _CONTROLS)
    return f"purge {', '.join(said)}"
