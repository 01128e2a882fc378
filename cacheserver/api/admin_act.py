"""The change that an admin request makes, collected while it runs, for the audit trail.

Rule: the gate marks every request that it admits as an admin's, so no route can forget the trail. A
route only adds what is known to it alone: a setting's values before and after, the tenant of an id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import HTTPConnection

from cacheserver.tenants.admin_keys import Role
from cacheserver.tenants.audit_trail import differences

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # methods that change nothing

_ACT = "admin_act"  # its name in the request's state
_MOST_FIELDS = 50
_LONGEST_FIELD = 64


@dataclass(frozen=True, slots=True)
class Admin:
    """An authenticated admin: name and role of the key, and its id (None: the setting's key)."""

    name: str
    role: Role
    key_id: str | None


@dataclass(slots=True)
class AdminAct:
    """An admin request under way."""

    admin: Admin | None = None  # None: not admitted as one
    tenant: str | None = None
    fields: tuple[str, ...] = ()  # names of the body's fields
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    nothing: bool = False  # a dry run: nothing changes
    partly: bool = False  # something has changed, whatever the status will be


def needed_for(method: str) -> Role:
    """Return the role that a method needs where its route names none."""
    return "read" if method in READING else "all"


def begin(scope: Mapping[str, Any]) -> AdminAct:
    """Attach an act to a request. Returns it."""
    act: AdminAct = scope["state"].setdefault(_ACT, AdminAct())
    return act


def admitted(request: HTTPConnection, admin: Admin) -> None:
    """Record who makes a request."""
    if (act := _act(request)) is not None:
        act.admin = admin


def note_body(request: HTTPConnection, fields: Mapping[str, Any]) -> None:
    """Record the names of a body's fields, its tenant, and whether it asks for a dry run."""
    if (act := _act(request)) is None:
        return
    act.fields = tuple(name[:_LONGEST_FIELD] for name in list(fields)[:_MOST_FIELDS])
    if isinstance(tenant := fields.get("tenant"), str):
        act.tenant = tenant[:_LONGEST_FIELD]
    if fields.get("dry_run") is True:
        act.nothing = True


def note_change(
    request: HTTPConnection,
    *,
    tenant: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Record settings before and after a change, of which the trail keeps what differs."""
    if (act := _act(request)) is None:
        return
    act.tenant = act.tenant if tenant is None else tenant
    if before is not None or after is not None:
        act.changes = differences(before or {}, after or {})


def note_partly(request: HTTPConnection) -> None:
    """Record that something has changed, also if the request is refused from here on."""
    if (act := _act(request)) is not None:
        act.partly = True


def note_nothing(request: HTTPConnection) -> None:
    """Record that a request of a changing method changes nothing: it only tries or computes."""
    if (act := _act(request)) is not None:
        act.nothing = True


def _act(request: HTTPConnection) -> AdminAct | None:
    act = request.scope.get("state", {}).get(_ACT)
    return act if isinstance(act, AdminAct) else None
