"""Requests of the admin page: the session of their cookie instead of a key.

Rule: a cookie opens the admin's routes, and to a tenant's session what its key may read. It changes
nothing without the CSRF token, and counts for nothing where a key was sent or another site's page
sent the request.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection

from cacheserver.api.admin_act import READING, Admin
from cacheserver.core.errors import Forbidden, StoreError, Unavailable
from cacheserver.tenants.admin_keys import SETTING_NAME, AdminKey, AdminKeys
from cacheserver.tenants.api_keys import ApiKey, ApiKeys
from cacheserver.tenants.page_sessions import (
    KeyKind,
    PageSession,
    PageSessions,
    csrf_token_of,
    proof_of,
)

COOKIE: Final = "cacheserver_session"
CSRF_HEADER: Final = "x-csrf-token"
SIGNED_IN: Final = "signed_in"  # in a request's state: who it is by the cookie

# `none` is an address that somebody typed. Browsers too old for the header send no such cookie to
# other sites either (SameSite).
_OWN_SITE = ("same-origin", "none")
# Read before anybody is admitted, so in one pass: `http.cookies` takes seconds for 60 kB of quotes.
_COOKIE = re.compile(rf"(?:^|; ?){COOKIE}=([A-Za-z0-9_-]{{43}})(?:;|$)")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The admin, or the tenant's key, of a session."""

    admin: Admin | None
    key: ApiKey | None
    token: str
    session: PageSession

    @property
    def csrf_token(self) -> str:
        return csrf_token_of(self.token)


class PageAccess:
    """Sessions, and the keys they stand on. `admin_key` is the one of the settings."""

    def __init__(
        self,
        sessions: PageSessions,
        *,
        admin_keys: AdminKeys,
        keys: ApiKeys,
        admin_key: str | None,
    ) -> None:
        self.sessions = sessions
        self._admin_keys = admin_keys
        self._keys = keys
        self._admin_key = admin_key

    async def kind_of(self, key: str) -> KeyKind | None:
        """Return the kind of a key; None if it is not accepted. Raises `Unavailable`."""
        own = self._admin_key
        if own is not None and hmac.compare_digest(key.encode(), own.encode()):
            return "setting"
        if await self._admin_keys.find(key) is not None:
            return "named"
        return "tenant" if await self._keys.key(key) is not None else None

    async def signed_in(self, token: str) -> SignedIn | None:
        """Return who a token is; None if its session is over, or its key no longer accepted.

        Raises `Unavailable`.
        """
        try:
            session = await self.sessions.find(token)
        except StoreError as error:
            raise Unavailable("the session cannot be read: the store is away") from error
        if session is None:
            return None
        match session.kind:
            case "setting":
                own = self._admin_key
                if own is not None and hmac.compare_digest(
                    session.proof, proof_of("setting", own, token)
                ):
                    return SignedIn(Admin(SETTING_NAME, "all", None), None, token, session)
            case "named":
                named = await self._admin_keys.by_digest(session.proof)
                if named is not None:
                    return SignedIn(admin_of(named), None, token, session)
            case "tenant":
                key = await self._keys.by_digest(session.proof)
                if key is not None:
                    return SignedIn(None, key, token, session)
        return None

    async def of_request(self, request: HTTPConnection) -> SignedIn | None:
        """Return who sent a request by its cookie; None if nobody.

        Raises `Forbidden` for a change without the CSRF token, and `Unavailable`.
        """
        method, path = request.scope["method"], request.scope["path"]
        admins = path.startswith("/admin/")
        token = token_of(request.headers)
        if token is None or not (admins or method in READING):
            return None
        found = await self.signed_in(token)
        if found is None or (found.admin is None and method not in READING):
            return None
        if method not in READING:
            sent = request.headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(sent.encode(), found.csrf_token.encode()):
                raise Forbidden(
                    f"a change with a session's cookie needs its token in `{CSRF_HEADER}`; "
                    "`GET /admin/session` shows it"
                )
        return found


def admin_of(key: AdminKey) -> Admin:
    return Admin(key.name, key.role, key.id)


def token_of(headers: Mapping[str, str]) -> str | None:
    """Return the session token of a request; None if there is none that counts."""
    sent = headers.get("cookie")
    if sent is None or COOKIE not in sent or "authorization" in headers or "x-api-key" in headers:
        return None
    if not from_own_page(headers):
        return None
    found = _COOKIE.search(sent)
    return None if found is None else found[1]


def from_own_page(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that a page of this server sent a request, or nobody's did."""
    return headers.get("sec-fetch-site", "none") in _OWN_SITE
