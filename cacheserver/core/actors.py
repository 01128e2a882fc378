"""End users behind one key: digests of the names that callers give them.

Rule: a name is read once and becomes a digest; nothing else of it is kept, logged or sent on. A
header or a field that holds unseen characters is refused; a body is not, but names nobody then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cacheserver.core import names
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.types import Controls, Tenant

_MOST_CHARS = 256  # what Claude takes of `metadata.user_id`, by its API reference
_DIGITS = 16  # 64 bits: two of a tenant's million users meet with a chance of 1 in 37 million


def digest(field: str, value: object, *, ascii_only: bool = False) -> str:
    """A digest of an end user's name, or `BadRequest` naming `field` for one that will not do."""
    return _digest(names.read(field, value, most=_MOST_CHARS, ascii_only=ascii_only))


def actor_of(
    body: Mapping[str, Any], controls: Controls, tenant: Tenant, key_id: str | None
) -> str | None:
    """The end user, as a digest that no other tenant's users share; None: not known.

    The header goes before the body: who sends it means this server. Programs such as Claude Code
    write a session of theirs into every body, behind a gateway that knows the person.
    """
    if tenant.actors == "key":
        return None if key_id is None else keyed(tenant, of_key(tenant.name, key_id))
    user = controls.actor or user_digest(body)
    return None if user is None else keyed(tenant, named(tenant.name, user))


def user_digest(body: Mapping[str, Any]) -> str | None:
    """A digest of the end user that a body names; None where it names none."""
    metadata = body.get("metadata")
    name = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    if isinstance(name, str) and names.visible(name) and (name := names.normal(name)):
        return _digest(name)
    return None


def of_key(tenant: str, key_id: str) -> str:
    """The digest of a key that is one actor."""
    return _digest(tenant, "key", key_id)


def marks_of(field: str, value: object, tenant: Tenant) -> tuple[str, str]:
    """The digests by which records of a tenant know an end user, or a key that is one actor.

    Raises `BadRequest` naming `field` for a name that will not do.
    """
    name = names.read(field, value, most=_MOST_CHARS)
    found = named(tenant.name, _digest(name)), of_key(tenant.name, name)
    return keyed(tenant, found[0]), keyed(tenant, found[1])


def named(tenant: str, user: str) -> str:
    """The digest of an end user within a tenant; `user` is the `user_digest` of the name."""
    return _digest(tenant, "name", user)


def caller_of(key_id: str | None, actor: str | None) -> str:
    """The key and the end user behind a request, as digests with a dot between; "": neither known.

    `key_of` gives the first of them: of one key any number of end users may be named.
    """
    if key_id is None and actor is None:
        return ""
    return f"{_digest(key_id or '')}.{_digest(key_id or '', actor) if actor else ''}"


def key_of(caller: str) -> str:
    """The digest of a caller's key."""
    return caller.partition(".")[0]


def is_of_key(caller: str, key_id: str | None) -> bool:
    """Return whether a `caller` of `caller_of` came with this key; None: without one."""
    if key_id is None:
        return key_of(caller) in ("", _digest(""))
    return key_of(caller) == _digest(key_id)


def _digest(*parts: str) -> str:
    """Hex digits; each part comes with its length, so that no two lists spell the same."""
    whole = hashlib.sha256()
    for part in parts:
        # A string of JSON may hold half of a surrogate pair, which UTF-8 has no bytes for.
        raw = part.encode("utf-8", "surrogatepass")
        whole.update(len(raw).to_bytes(4, "big") + raw)
    return whole.hexdigest()[:_DIGITS]
