"""The admin page, its files, and signing in to it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from cacheserver.api.json_body import json_body
from cacheserver.api.page_assets import Asset
from cacheserver.api.page_session import COOKIE, PageAccess, SignedIn, from_own_page, token_of
from cacheserver.api.plain_route import PlainRoute
from cacheserver.api.state import AppState, state_of
from cacheserver.core.errors import BadRequest, Forbidden, NotFound
from cacheserver.tenants.page_sessions import SESSION_S

# The screens, as in their addresses; `app.js` has the same.
SCREENS: Final = (
    *("overview", "tuning", "review", "requests", "entries", "tenants", "prompts", "jobs"),
    *("settings", "trail"),
)
_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "vary": "accept-encoding",
}
_YEAR_S = 365 * 86_400
_LONGEST_KEY = 1_000

router = APIRouter(prefix="/admin", tags=["admin"])

_BODY = json_body(
    {"key": {"type": "string", "description": "An admin key, or a key of a tenant."}},
    {"an admin": {"key": "csa_..."}},
    required=("key",),
)


async def page(request: Request) -> Response:
    """The page; each screen has an address of its own, and all are this file. To a browser it also
    says that there is no such screen.
    """
    known = request.path_params.get("screen", SCREENS[0]) in SCREENS
    if not known and "text/html" not in request.headers.get("accept", ""):
        raise NotFound("there is no such page; `/admin` lists those there are")
    assets = state_of(request).assets
    await assets.load()
    headers = {"content-security-policy": assets.policy, "cache-control": "no-cache"}
    return _file(request, assets.page, headers, status=200 if known else 404)


async def asset(request: Request) -> Response:
    version, name = request.path_params["version"], request.path_params["name"]
    assets = state_of(request).assets
    await assets.load()
    found = assets.files.get(name)
    if found is None or version != assets.version:
        raise NotFound("there is no such file; the page was changed: load it again")
    return _file(request, found, {"cache-control": f"public, max-age={_YEAR_S}, immutable"})


PAGES: Final = (
    PlainRoute("/admin", page, "GET"),
    PlainRoute("/admin/{screen}", page, "GET"),
    PlainRoute("/admin/static/{version}/{name:path}", asset, "GET"),
)


@router.get("/session", summary="Who is signed in to the admin page")
async def session(request: Request) -> Response:
    """Show who the browser's cookie is, and the token that changes need; `signed_in` is false if it
    is nobody. Never refused.
    """
    state = state_of(request)
    token = token_of(request.headers)
    found = None if token is None else await state.admins.page.signed_in(token)
    return JSONResponse(_shown(state, found), headers={"cache-control": "no-store"})


@router.post("/session", summary="Sign in to the admin page", openapi_extra=_BODY)
async def sign_in(request: Request) -> Response:
    """Take a key and set the session's cookie, for 12 hours or as long as the key is accepted. A
    tenant's key sees the tenant's own data and changes nothing. Wrong keys are answered more and
    more slowly.
    """
    state = state_of(request)
    # A page of another site cannot send this kind of body without asking the server first, also
    # through a browser that does not say whose page it was.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadRequest("content-type", "must be application/json")
    if not from_own_page(request.headers):
        raise Forbidden("no other web page may sign in here")
    fields = await state.object(request)
    if unknown := fields.keys() - {"key"}:
        raise BadRequest(min(unknown)[:64], "is not a field here; `key` is")
    key = fields.get("key")
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise BadRequest("key", "must be an admin key, or a key of a tenant")
    key = key.strip()
    access: PageAccess = state.admins.page
    kind = await access.kind_of(key) if key.isascii() and key.isprintable() else None
    if kind is None:
        raise state.gate.wrong(request, "the key is unknown, has expired or was revoked")
    token, _ = await access.sessions.create(kind, key)
    found = await access.signed_in(token)
    response = JSONResponse(_shown(state, found), headers={"cache-control": "no-store"})
    response.set_cookie(COOKIE, token, max_age=SESSION_S, **_cookie(request))
    return response


@router.delete("/session", summary="Sign out of the admin page")
async def sign_out(request: Request) -> Response:
    """End the browser's session on every server. Never refused."""
    state = state_of(request)
    if (token := token_of(request.headers)) is not None:
        await state.admins.page.sessions.end(token)
    response = JSONResponse({"signed_in": False})
    response.delete_cookie(COOKIE, **_cookie(request))
    return response


def _cookie(request: Request) -> dict[str, Any]:
    """Return the attributes of the cookie.

    The page's own origin tells whether it came over TLS: a proxy in between is not visible here.
    """
    secure = request.headers.get("origin", "").startswith("https:") or request.url.scheme == "https"
    return {"path": "/", "httponly": True, "samesite": "strict", "secure": secure}


def _shown(state: AppState, found: SignedIn | None) -> dict[str, Any]:
    if found is None:
        return {"signed_in": False}
    admin, key = found.admin, found.key
    return {
        "signed_in": True,
        "name": admin.name if admin is not None else (key.label or key.id if key else ""),
        "role": None if admin is None else admin.role,
        "tenant": None if key is None else key.tenant,
        "expires_at": found.session.expires_at,
        "csrf_token": found.csrf_token,
        "simulated": state.simulated,
        "off": sorted(state.parts.off),
    }


def _file(
    request: Request, asset: Asset, headers: dict[str, str], *, status: int = 200
) -> Response:
    all_headers = {**_ALWAYS, **headers}
    content = asset.plain
    if "gzip" in request.headers.get("accept-encoding", ""):
        all_headers["content-encoding"] = "gzip"
        content = asset.packed
    return Response(content, status, headers=all_headers, media_type=asset.kind)
