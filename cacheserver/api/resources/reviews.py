"""The review queue, for the admin: show, export, import of labels."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.calibration import review_queue
from cacheserver.core.errors import BadRequest, NotFound, Withheld

router = APIRouter()

_LINES = "application/x-ndjson"
_IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            _LINES: {
                "schema": {"type": "string"},
                "examples": {"one": {"value": '{"id": "1790000000000000", "label": 1}\n'}},
            }
        },
    }
}


@router.get(
    "/admin/v1/tenants/{name}/reviews", tags=["admin"], summary="Answers people called good"
)
async def reviews(
    request: Request, name: str, after: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """List the review queue, oldest first. Each item has two questions, to be labelled and sent to
    `/admin/v1/calibrate`. `after` is the id of the last item seen.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    if not 1 <= limit <= 1_000:
        raise BadRequest("limit", "must be 1 to 1000")
    if after is not None and not (after.isdecimal() and len(after) == 16):
        raise BadRequest("after", "must be the id of an item")
    tenant = await _queued(state, name)
    found = await state.parts.calibration.reviews.items(tenant, after=after, limit=limit)
    return [{"id": item_id, **item} for item_id, item in found]


@router.get("/admin/v1/tenants/{name}/reviews/export", tags=["admin"], summary="All of the queue")
async def export(request: Request, name: str) -> Response:
    """Export the review queue as JSON lines, oldest first: set `label` to 1 where one answer
    serves both questions, else to 0, and post the lines back.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    tenant = await _queued(state, name)
    lines = [line async for line in state.parts.calibration.review_files.export(tenant)]
    return Response(b"".join(lines), media_type=_LINES)


@router.post(
    "/admin/v1/tenants/{name}/reviews",
    tags=["admin"],
    summary="Learn from what people said",
    openapi_extra=_IMPORT_BODY,
)
async def take(request: Request, name: str) -> dict[str, Any]:
    """Import a labelled export. Nothing is stored without `?confirm=true`: the answer says what
    would be. A line that will not do is a 400 that names it, and nothing is kept of the others.

    With it, each label counts as an admin's, items that are labelled leave the queue, and what was
    labelled 0 is never served to that question again.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    confirm = request.query_params.get("confirm", "false")
    if confirm not in ("true", "false"):
        raise BadRequest("confirm", "must be true or false")
    tenant = await _queued(state, name)
    rows = await state.lines(request, review_queue.read)
    return await state.parts.calibration.review_files.take(tenant, rows, confirm=confirm == "true")


@router.delete("/admin/v1/tenants/{name}/reviews/{id}", tags=["admin"], summary="One is reviewed")
async def reviewed(request: Request, name: str, id: str) -> dict[str, int]:
    state = state_of(request)
    state.gate.admit_admin(request)
    removed = await state.parts.calibration.reviews.remove(
        (await tenant_of(state, name)).name, [id]
    )
    if not removed:
        raise NotFound("no item of this tenant's queue has this id")
    return {"removed": removed}


async def _queued(state: AppState, name: str) -> str:
    """Return a tenant's name if it has a review queue. Raises `BadRequest` and `Withheld`."""
    tenant = await tenant_of(state, name)
    if tenant.no_content:
        raise Withheld(f"tenant {tenant.name} keeps no content: nothing is queued for review")
    return tenant.name
