"""Middleware for admins: looks up a named key or a session, and records each change in the trail.

Rule: a change is in the trail, and on replicas of the store that follow, before its response
leaves. If it cannot be recorded the response is a 503: the change may have been made, or lost.
Refused requests are not recorded, for they changed nothing and would push out what did; one that
says it has changed something is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cacheserver.api import admin_act
from cacheserver.api.admin_act import READING, AdminAct
from cacheserver.api.dependencies import NAMED_KEY, joined, presented
from cacheserver.api.page_session import COOKIE, SIGNED_IN, PageAccess
from cacheserver.core.errors import Forbidden, StoreError, Unavailable
from cacheserver.tenants.admin_keys import ADMIN_KEY_MARK, AdminKeys
from cacheserver.tenants.audit_trail import AuditRecord, AuditTrail

_MARK = ADMIN_KEY_MARK.encode()
_CREDENTIALS = (b"authorization", b"x-api-key")
_COOKIE = COOKIE.encode()
_TENANT = ("name", "tenant")  # what a path calls a tenant
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class Admins:
    """Admin keys and the audit trail. `clock` returns Unix time."""

    keys: AdminKeys
    trail: AuditTrail
    page: PageAccess
    clock: Callable[[], float]
    swallowed: Callable[[str], object]
    trust: Callable[[], Awaitable[object]]  # renews a lapsed lease, under which keys are remembered


class AdminAccess:
    """Middleware; `respond` answers errors."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admins: Admins,
        respond: Callable[[Request, Exception], Awaitable[Response]],
    ) -> None:
        self._app = app
        self._admins = admins
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if any(name in _CREDENTIALS and _MARK in value for name, value in scope["headers"]):
            state[NAMED_KEY] = await self._named(scope)
        elif any(name == b"cookie" and _COOKIE in value for name, value in scope["headers"]):
            state[SIGNED_IN] = await self._signed_in(scope)
        if scope["method"] in READING:
            await self._app(scope, receive, send)
        else:
            await self._recorded(scope, receive, send)

    async def _named(self, scope: Scope) -> object:
        """Return the named key that was sent; None if none was, the error if it is unknown."""
        await self._admins.trust()
        try:
            for sent in presented(joined(HTTPConnection(scope).headers)):
                if sent.startswith(ADMIN_KEY_MARK):
                    found = await self._admins.keys.find(sent)
                    if found is not None:
                        return found
        except Unavailable as error:
            return error
        return None

    async def _signed_in(self, scope: Scope) -> object:
        """Return who the cookie is; None if nobody, the error if that is unknown or refused."""
        await self._admins.trust()
        try:
            return await self._admins.page.of_request(HTTPConnection(scope))
        except (Forbidden, Unavailable) as error:
            return error

    async def _recorded(self, scope: Scope, receive: Receive, send: Send) -> None:
        act, since = admin_act.begin(scope), self._admins.trail.takeovers
        unrecorded: StoreError | None = None
        begun = False

        async def recording(message: Message) -> None:
            nonlocal unrecorded, begun
            if message["type"] == "http.response.start":
                begun = True
                try:
                    await self._record(scope, act, message["status"], since)
                except StoreError as error:
                    unrecorded = error
            if unrecorded is None:
                await send(message)

        try:
            await self._app(scope, receive, recording)
        except BaseException:
            if not begun:  # it ended in the middle of a change, perhaps
                try:
                    await self._record(scope, act, 500, since)
                except StoreError:
                    self._admins.swallowed("audit-trail")
            raise
        if unrecorded is not None:
            self._admins.swallowed("audit-trail")
            response = await self._respond(Request(scope), unrecorded)
            await response(scope, receive, send)

    async def _record(self, scope: Scope, act: AdminAct, status: int, since: int) -> None:
        admin = act.admin
        refused = 400 <= status < 500 and not act.partly
        if admin is None or act.nothing or refused:
            return
        ids: Mapping[str, Any] = scope.get("path_params", {})
        named = next((str(ids[name]) for name in _TENANT if name in ids), act.tenant)
        await self._admins.trail.add(
            AuditRecord(
                at=round(self._admins.clock(), 3),
                who=admin.name,
                key_id=admin.key_id,
                role=admin.role,
                method=scope["method"],
                route=getattr(scope.get("route"), "path", ""),
                tenant=named,
                target={n: str(id)[:_LONGEST_ID] for n, id in ids.items() if n not in _TENANT},
                fields=act.fields,
                changes=act.changes,
                status=status,
                request_id=scope["state"].get("request_id"),
            ),
            since=since,
        )
