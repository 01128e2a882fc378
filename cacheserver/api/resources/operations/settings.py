"""`/admin/v1/settings`: settings of the server, and changes of the live ones."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from cacheserver.api.admin_act import note_change
from cacheserver.api.json_body import json_body
from cacheserver.api.state import AppState, state_of

router = APIRouter(prefix="/admin/v1", tags=["admin"])

_BODY = json_body(
    {},
    {
        "more room, and every request in the log": {"max_bytes": "2GB", "access_log": "on"},
        "back to the environment's": {"max_bytes": None, "access_log": None},
    },
)
# The live settings are many and described by `GET`; unknown names are a 400 that lists them.
_BODY["requestBody"]["content"]["application/json"]["schema"]["additionalProperties"] = {
    "type": ["number", "string", "null"]
}


@router.get("/settings", summary="Every setting: value, default, and where it comes from")
async def settings(request: Request) -> dict[str, Any]:
    """List all settings of the server that answers. `origin` is `admin`, `environment`, `file`,
    `start` (given by the program that started it) or `default`; `base_value` is what null returns
    to. Only those with `live` can be changed here, some to `live_least` or more. Of a secret only
    `(set)` is shown. `not_in_force` are stored changes that do not hold on this server.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "read")
    return _shown(state)


@router.put("/settings", summary="Change live settings", openapi_extra=_BODY)
async def put_settings(request: Request) -> dict[str, Any]:
    """Change the settings that are named, with the values that the environment takes; null returns
    one to the environment's. In force here at once, and within three seconds on every server that
    shares the store; also after a restart. The reply is that of `GET`.
    """
    state = state_of(request)
    state.gate.admit_admin(request, "all")
    fields = await state.object(request)
    before, after = await state.parts.live.settings.change(fields)
    note_change(request, before=before, after=after)
    return _shown(state)


def _shown(state: AppState) -> dict[str, Any]:
    live = state.parts.live.settings
    return {"settings": live.described(), "not_in_force": live.not_in_force}
