"""Purge of the stored answers that a selector covers."""

from __future__ import annotations

from cacheserver.cache.store.entries import Entries
from cacheserver.erasure.selectors import Selector


async def purge(entries: Entries, tenant: str, selector: Selector) -> int:
    """Purge a tenant's covered answers; returns how many there were. Raises `StoreError`."""
    value = selector.values[0]
    match selector.kind:
        case "entry_id":
            return await entries.purge_id(tenant, value)
        case "tag":
            return await entries.purge_tag(tenant, value)
        case "namespace":
            return await entries.purge_namespace(tenant, value)
        case "tenant":
            return await entries.purge_tenant(tenant)
        case "conversation":
            return await entries.purge_marked(tenant, conversation=selector.conversation)
        case "actor":
            gone = 0
            for actor in selector.values:
                gone += await entries.purge_marked(tenant, actor=actor)
            return gone
