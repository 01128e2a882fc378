"""Tenants inside a tenant: those of callers with Anthropic keys of their own, `NAME@PSEUDONYM`.

No list of them is kept, since a request must not cost one more write. They are found by the keys
that have something of theirs, and by the ledger, which knows every tenant that ever asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from cacheserver.erasure.key_kinds import REGISTRY
from cacheserver.storage import key_groups
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.key_scan import scan_keys

_PSEUDONYM: Final = re.compile(r"@[0-9a-f]{32}")


async def names_inside(redis: Connection, prefix: str, tenant: str) -> list[str]:
    """Return the names of the tenants inside `tenant`, sorted. Raises `StoreError`."""
    found = set[str]()
    async for page in scan_keys(redis, prefix):
        for key in page:
            name = key[len(prefix.encode()) :].decode(errors="replace")
            registered = REGISTRY.find(name)
            if registered is None:
                continue
            kind, parts = registered
            if kind.name == "ledger_tenants":
                members: Iterable[bytes] = await command(redis, "SMEMBERS", key)
                owners = [member.decode(errors="replace") for member in members]
            elif kind.name == "groups":
                owners = [key_groups.owner(parts["group"])]
            elif kind.how == "stays":
                continue
            else:
                owners = [parts.get("T", parts.get("tenant", ""))]
            found.update(owner for owner in owners if _inside(owner, tenant))
    return sorted(found)


def _inside(name: str, tenant: str) -> bool:
    return name.startswith(tenant) and _PSEUDONYM.fullmatch(name, len(tenant)) is not None
