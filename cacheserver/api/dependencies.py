"""Authentication of callers, and the headers that are forwarded to Claude.

Rule: isolation comes from here. A request is let in as the tenant of a key that we gave out, or as
`default` on this machine where nobody set up keys; whatever is unclear is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from starlette.requests import HTTPConnection

from cacheserver.api import admin_act
from cacheserver.api.admin_act import Admin
from cacheserver.api.page_session import SIGNED_IN, SignedIn, admin_of
from cacheserver.api.slowdown import Slowdown, WrongKey
from cacheserver.budgets.rate_limits import RateLimits
from cacheserver.core import request_context
from cacheserver.core.errors import (
    BadRequest,
    CacheServerError,
    Forbidden,
    Loop,
    SettingsError,
    Unauthenticated,
    Unavailable,
)
from cacheserver.core.types import Tenant
from cacheserver.peers.peers import Peers
from cacheserver.tenants.admin_keys import ADMIN_KEY_MARK, SETTING_NAME, AdminKey, Role, allows
from cacheserver.tenants.api_key import ApiKey, KeyRole
from cacheserver.tenants.store import KEY_MARK, Tenants

OPEN_TENANT = "default"
OWN_KEY = "x-cacheserver-key"  # ours, where `authorization` holds the caller's Anthropic key
NAMED_KEY = "named_admin_key"  # in a request's state: the named admin key that was sent

_LOCAL_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
# A proxy on this machine makes the world look like this machine.
_PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip")
_KEY_BEGINS = f"one begins with `{KEY_MARK}`"
_TO_CLAUDE = ("anthropic-", "x-claude-code-")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `credential` is their own Anthropic key if it is to be used."""

    tenant: Tenant
    credential: str | None = field(repr=False)
    key_id: str | None
    role: KeyRole = "ask"


class Gate:
    """Admission of requests. Without any key it admits requests from this machine only."""

    def __init__(
        self,
        tenants: Tenants,
        *,
        credentials: Literal["server", "caller"],
        admin_key: str | None,
        limits: RateLimits | None = None,
        slowdown: Slowdown | None = None,
        origins: Collection[str] = (),
        peers: Peers | None = None,
    ) -> None:
        """`origins`: of web pages that may ask where there are no keys."""
        self._peers = peers
        self._tenants = tenants
        self.credentials = credentials
        self._admin_key = admin_key
        self._limits = limits
        self.slowdown = slowdown or Slowdown()
        self._origins = frozenset(origins)

    async def admit(self, request: HTTPConnection) -> Caller:
        """Return who is asking.

        Raises `Unauthenticated`, `Forbidden`, `Loop`, `RateLimited` and `Unavailable`.
        """
        admission = None if self._peers is None else await self._peers.admit()
        caller = await self._admitted(request)
        if admission is not None:
            admission.again = partial(self._stands, request, caller)
        if (seen := request_context.current()) is not None:
            seen.tenant = caller.tenant.name
        if self._limits is not None:
            await self._limits.request(caller.tenant, caller.key_id)
        return caller

    async def _stands(self, request: HTTPConnection, caller: Caller) -> bool:
        """Return whether a request would be admitted now as it was: same key, same settings.

        One by a cookie would not: whose it is was read as the request began.
        """
        try:
            return self._signed_in(request) is None and await self._admitted(request) == caller
        except CacheServerError:
            return False

    async def _admitted(self, request: HTTPConnection) -> Caller:
        headers = joined(request.headers)
        refuse_loops(headers)
        if (signed := self._signed_in(request)) is not None and signed.key is not None:
            return _of_key(await self._tenants.of_caller(signed.key.tenant), signed.key)
        if self.credentials == "caller":
            return await self._admit_with_own(request, headers)
        # Some clients send Anthropic's key beside ours: it is not asked for and goes nowhere.
        sent = presented(headers)
        ours = [key for key in sent if key.startswith(KEY_MARK)]
        if not ours and await self._open_to(request, headers):
            return Caller(await self._tenants.of_caller(OPEN_TENANT), None, None, "write")
        if len(ours) > 1:
            raise Unauthenticated("two different cacheserver keys were sent; send one")
        if sent and not ours:
            raise self.wrong(request, f"what was sent is no cacheserver key: {_KEY_BEGINS}")
        key = ours[0] if ours else ""
        return await self._admit_key(request, key, "`Authorization` or `x-api-key`")

    def admit_admin(self, request: HTTPConnection, role: Role | None = None) -> Admin:
        """Return the admin who asks, if their key has `role` or more.

        Without `role`, reading needs `read` and everything else `all`. Raises `Unauthenticated`,
        `Forbidden` for a lesser role or where no admin key is set, and `Unavailable`.
        """
        needed = role or admin_act.needed_for(request.scope.get("method", ""))
        admin = self._admin_of(request)
        if admin is None:
            message = "this needs an admin key, in `Authorization` or `x-api-key`"
            sent = presented(joined(request.headers))
            if self._admin_key is None and not any(key.startswith(ADMIN_KEY_MARK) for key in sent):
                raise Forbidden(
                    "no admin key is set; set `CACHESERVER_ADMIN_KEY` and restart, or create a key "
                    "with `cacheserver admin-key create`"
                )
            if not sent:
                raise Unauthenticated(message)
            message = f"the key sent is no admin key, has expired or was revoked; {message}"
            raise self.wrong(request, message, "admin key")
        if not allows(admin.role, needed):
            raise Forbidden(
                f"this needs an admin key with the role `{needed}`; `{admin.name}` has the role "
                f"`{admin.role}`"
            )
        admin_act.admitted(request, admin)
        return admin

    def is_admin(self, request: HTTPConnection) -> bool:
        """Return True if an admin key was sent. Any other may be a tenant's: it is not wrong."""
        return self._admin_of(request) is not None

    def _admin_of(self, request: HTTPConnection) -> Admin | None:
        """Return the admin whose key was sent: the setting's, or the one `AdminAccess` found."""
        if any(map(self._is_setting, presented(joined(request.headers)))):
            return Admin(SETTING_NAME, "all", None)
        named = request.scope.get("state", {}).get(NAMED_KEY)
        if isinstance(named, Unavailable):
            raise named
        if isinstance(named, AdminKey):
            return admin_of(named)
        signed = self._signed_in(request)
        return None if signed is None else signed.admin

    def _is_setting(self, key: str) -> bool:
        expected = self._admin_key
        return expected is not None and hmac.compare_digest(key.encode(), expected.encode())

    def _signed_in(self, request: HTTPConnection) -> SignedIn | None:
        """Return who the cookie of a request is. Raises what `AdminAccess` met while it asked."""
        found = request.scope.get("state", {}).get(SIGNED_IN)
        if isinstance(found, CacheServerError):
            raise found
        return found if isinstance(found, SignedIn) else None

    async def refuse_open_bind(self, host: str) -> None:
        """Raise `SettingsError` if a server that listens on `host` would be open to everybody."""
        # Asked in any case: what this server has seen of keys it must not forget.
        if not await self._tenants.keys_needed() and not is_loopback(host):
            raise SettingsError(
                f"`CACHESERVER_HOST`: {host} is open to others and there is no key yet; create one "
                "with `cacheserver key create --tenant NAME`, or listen on 127.0.0.1"
            )

    async def _admit_with_own(self, request: HTTPConnection, headers: Mapping[str, str]) -> Caller:
        """Admit a caller with their own Anthropic key, as a tenant inside our key's tenant."""
        theirs = presented(headers)
        if len(theirs) != 1:
            message = "two different keys were sent" if theirs else "no Anthropic key was sent"
            raise Unauthenticated(f"{message}; send yours in `Authorization` or in `x-api-key`")
        if theirs[0].startswith(KEY_MARK):
            raise Unauthenticated(f"a cacheserver key belongs in `{OWN_KEY}` here")
        if theirs[0].startswith(ADMIN_KEY_MARK) or self._is_setting(theirs[0]):
            raise Unauthenticated("an admin key asks nothing here, and is not sent to Anthropic")
        if not (theirs[0].isascii() and theirs[0].isprintable()):
            raise Unauthenticated("an Anthropic key is printable ASCII")
        our_key = headers.get(OWN_KEY)
        if our_key is None and await self._open_to(request, headers):
            within = Caller(await self._tenants.of_caller(OPEN_TENANT), None, None, "write")
        else:
            within = await self._admit_key(request, our_key or "", f"`{OWN_KEY}`")
        # No name an operator can give has an `@`, so nobody can be given this tenant by name.
        name = f"{within.tenant.name}@{await self._tenants.pseudonym(theirs[0])}"
        tenant = replace(within.tenant, name=name)
        return Caller(tenant, theirs[0], within.key_id, within.role)

    async def _open_to(self, request: HTTPConnection, headers: Mapping[str, str]) -> bool:
        """Admit a caller without a key. Raises `Forbidden` for a web page's request.

        One that presents a key of ours never is: that key belongs to a tenant, and its answers to
        nobody else, whatever became of our records.
        """
        if not from_this_machine(request, headers) or await self._tenants.keys_needed():
            return False
        refuse_strangers(headers, self._origins)
        return True

    async def _admit_key(self, request: HTTPConnection, plain: str, where: str) -> Caller:
        if not plain:
            raise Unauthenticated(f"no cacheserver key was sent; send one in {where}")
        if not plain.startswith(KEY_MARK):
            raise self.wrong(
                request, f"what was sent in {where} is no cacheserver key: {_KEY_BEGINS}"
            )
        key = await self._tenants.key(plain)
        if key is None:
            raise self.wrong(request, "the cacheserver key is unknown, has expired or was revoked")
        return _of_key(await self._tenants.of_caller(key.tenant), key)

    def wrong(self, request: HTTPConnection, message: str, kind: str = "key") -> WrongKey:
        """Return the error for a wrong key, whose answer is delayed."""
        return WrongKey(message, *self.slowdown.wrong(request, kind))


def _of_key(tenant: Tenant, key: ApiKey) -> Caller:
    return Caller(tenant, None, key.id, key.role)


def joined(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers with one value each: repeated ones joined, as HTTP defines."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def presented(headers: Mapping[str, str]) -> list[str]:
    """Return the distinct credentials sent, as a bearer token or in `x-api-key`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    key = headers.get("x-api-key", "").strip()
    return [sent for sent in dict.fromkeys((bearer, key)) if sent]


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's headers to forward to Claude unchanged: versions, betas, attribution.

    Only those known to be for Claude: what is not may be a secret between caller and us. Raises
    `BadRequest` for a value that HTTP does not carry.
    """
    found = {n: v for n, v in joined(headers).items() if n.startswith(_TO_CLAUDE)}
    for name, value in found.items():
        if not (value.isascii() and value.isprintable()):
            raise BadRequest(name, "must be printable ASCII")
    return found


def refuse_loops(headers: Mapping[str, str]) -> None:
    """Raise `Loop` for a request that a cacheserver sent: it would ask itself for ever."""
    if (via := headers.get("via")) is None:
        return
    for hop in via.split(","):
        if hop.split()[1:2] == ["cacheserver"]:
            raise Loop(
                "this request has been through a cacheserver already; `CACHESERVER_UPSTREAM` "
                "must be Claude, not a cacheserver"
            )


def from_this_machine(request: HTTPConnection, headers: Mapping[str, str]) -> bool:
    """Return whether both ends of the connection are loopback, or it is a Unix socket."""
    if any(name in headers for name in _PROXIED):
        return False
    ends = (request.scope.get("client"), request.scope.get("server"))
    return all(end is None or end[1] is None or is_loopback(end[0]) for end in ends)


def refuse_strangers(headers: Mapping[str, str], origins: Collection[str] = ()) -> None:
    """Raise `Forbidden` for what a web page may have sent through a browser on this machine.

    Pages of `origins` may ask. A name that is not this machine's is a DNS answer that was changed
    under the page; an `Origin` is sent with every request that a page of another site makes and
    that could do something.
    """
    host = headers.get("host", "")
    if not _LOCAL_HOST.fullmatch(host):
        raise Forbidden(
            "without keys only localhost, 127.0.0.1 and [::1] are served; create a key with "
            "`cacheserver key create --tenant NAME` to use another name"
        )
    origin = headers.get("origin")
    if origin is None or origin in origins or origin in (f"http://{host}", f"https://{host}"):
        return
    raise Forbidden(
        "without keys no other web page may ask; create a key for its server, or list its origin "
        "in `CACHESERVER_CORS_ORIGINS`"
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host in ("127.0.0.1", "localhost"):  # parsing an address takes longer than the rest here
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
