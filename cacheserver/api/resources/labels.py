"""Labels, for the admin: the queue of unsure pairs, verdicts, undo, export and import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from cacheserver.api import admin_act
from cacheserver.api.admin_act import Admin
from cacheserver.api.known_names import tenant_of
from cacheserver.api.state import AppState, state_of
from cacheserver.calibration.review import label_files
from cacheserver.core import names
from cacheserver.core.errors import BadRequest, Unknown, Withheld
from cacheserver.core.rules.bounds import SCOPE

router = APIRouter(prefix="/admin/v1/labels", tags=["admin"])

_LINES: Final = "application/x-ndjson"
_VERDICTS: Final = ("yes", "no", "skip")
_LABELLED: Final = frozenset({"tenant", "pair", "verdict", "who"})
_UNDONE: Final = frozenset({"tenant", "pair"})
_PAIR: Final = "dec_0123456789abcdef01234567:00112233445566778899aabbccddeeff"
_IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            _LINES: {
                "schema": {"type": "string"},
                "examples": {"one": {"value": f'{{"pair": "{_PAIR}", "label": 1}}\n'}},
            }
        },
    }
}


def _body(required: list[str], examples: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": fields}
    shown = {name: {"value": value} for name, value in examples.items()}
    content = {"application/json": {"schema": schema, "examples": shown}}
    return {"requestBody": {"required": True, "content": content}}


@router.get("/queue", summary="The pairs that the system is least sure of")
async def queue(
    request: Request,
    tenant: str = "",
    scope: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Pairs without a label: of the last day's semantic hits and near misses, nearest to the bar
    first, then answers that callers called good. No pair comes twice.

    Each has the stored question (`query_a`), the one that was asked (`query_b`) and the stored
    `answer`; `served` says whether it was served, `counts` whether a label corrects probabilities
    (not if a threshold decided). `cursor` is the `next` of the page before.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    if not 1 <= limit <= 200:
        raise BadRequest("limit", "must be 1 to 200")
    if scope is not None:
        scope = SCOPE.check("scope", scope)
    name = await _labelled(state, tenant)
    found = state.parts.calibration.label_queue
    return await found.page(name, scope=scope, limit=limit, cursor=cursor)


@router.post(
    "",
    summary="Say whether one answer serves both questions of a pair",
    openapi_extra=_body(
        ["tenant", "pair", "verdict"],
        {"it serves": {"tenant": "shop", "pair": _PAIR, "verdict": "yes", "who": "ann"}},
        tenant={"type": "string"},
        pair={"type": "string", "description": "From the queue."},
        verdict={"enum": list(_VERDICTS)},
        who={"type": "string"},
    ),
)
async def give(request: Request) -> dict[str, Any]:
    """Label a pair of the queue. `yes` and `no` count at once as an admin's label in the scope of
    the question; `no` also means that the answer is never served to that question again; `skip`
    takes the pair out of the queue. Another verdict on the same pair replaces the one before.

    `counted` false: the label corrects no probability, with the `reason` (`threshold`: it decided,
    not a probability; `caller-share`: the caller who asked has its part of the scope's labels).
    """
    state, fields, admin = await _fields(request, _LABELLED)
    verdict, pair = fields.get("verdict"), fields.get("pair")
    if verdict not in _VERDICTS:
        raise BadRequest("verdict", "must be `yes`, `no` or `skip`")
    if not isinstance(pair, str):
        raise BadRequest("pair", "must be the id of a pair of the queue")
    name = await _labelled(state, fields.get("tenant"))
    who = _who(fields.get("who", admin.name))
    return await state.parts.calibration.label_queue.give(name, pair, verdict, who=who)


@router.post(
    "/undo",
    summary="Take back the last label",
    openapi_extra=_body(
        ["tenant"],
        {"the last one": {"tenant": "shop"}},
        tenant={"type": "string"},
        pair={"type": "string", "description": "Of this pair; else the last of all."},
    ),
)
async def undo(request: Request) -> dict[str, Any]:
    """Take back the last verdict of a tenant, or that of a `pair`: the label leaves its scope, what
    `no` refused may be served again, and the pair is in the queue. 404 if there is none.
    """
    state, fields, _ = await _fields(request, _UNDONE)
    pair = fields.get("pair")
    if pair is not None and not isinstance(pair, str):
        raise BadRequest("pair", "must be the id of a pair of the queue")
    name = await _labelled(state, fields.get("tenant"))
    return await state.parts.calibration.label_queue.undo(name, pair)


@router.get("/export", summary="All pairs and their labels, a line each")
async def export(request: Request, tenant: str = "") -> Response:
    """Export the queue and the pairs of the last day with their labels, as JSON lines. Set `label`
    to 1 where one answer serves both questions, else to 0, and import the lines; or send
    `query_a`, `query_b` and `label` to `/admin/v1/calibrate` of any server.
    """
    state = state_of(request)
    state.gate.admit_admin(request)
    name = await _labelled(state, tenant)
    lines = [line async for line in state.parts.calibration.label_files.export(name)]
    return Response(b"".join(lines), media_type=_LINES)


@router.post("/import", summary="Label the pairs of an export", openapi_extra=_IMPORT_BODY)
async def take(
    request: Request, tenant: str = "", confirm: str = "false", who: str | None = None
) -> dict[str, Any]:
    """Import a labelled export. Nothing is stored without `?confirm=true`: the answer says what
    would be. A line that will not do is a 400 that names it, and nothing is kept of the others.
    Each label is as one of `POST /admin/v1/labels`; lines without one are left as they are.
    """
    state = state_of(request)
    admin = state.gate.admit_admin(request, "tune")
    if confirm not in ("true", "false"):
        raise BadRequest("confirm", "must be true or false")
    if confirm == "false":
        admin_act.note_nothing(request)
    name = await _labelled(state, tenant)
    admin_act.note_change(request, tenant=name)
    rows = await state.lines(request, label_files.read)
    files = state.parts.calibration.label_files
    return await files.take(name, rows, confirm=confirm == "true", who=_who(who or admin.name))


async def _fields(
    request: Request, known: frozenset[str]
) -> tuple[AppState, dict[str, Any], Admin]:
    state = state_of(request)
    admin = state.gate.admit_admin(request, "tune")
    fields = await state.object(request)
    if unknown := fields.keys() - known:
        raise Unknown(min(unknown)[:64], "field", min(unknown), known)
    return state, fields, admin


def _who(who: object) -> str:
    return names.read("who", who, most=200, least=0)


async def _labelled(state: AppState, tenant: object) -> str:
    """Return a tenant's name if its pairs can be read. Raises `BadRequest` and `Withheld`."""
    found = await tenant_of(state, tenant)
    if found.no_content:
        raise Withheld(f"tenant {found.name} keeps no content: there is nothing to read and label")
    return found.name
