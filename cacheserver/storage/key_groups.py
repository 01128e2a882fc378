"""Purge groups: the parts of keys that name what is purged together.

A tenant's name is encoded with its length, so no tenant can name the group of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cacheserver.core.types import Entry
from cacheserver.storage.json_values import tenant_key

EVERYTHING: Final = "*"  # the group of all entries, of every tenant


def groups_of_entry(entry: Entry) -> list[str]:
    """Return the purge groups of an entry."""
    return groups_of_marks(
        entry.tenant,
        entry.namespace,
        tags=entry.tags,
        actor=entry.actor,
        conversation=entry.conversation,
    )


def groups_of_marks(
    tenant: str,
    namespace: str,
    *,
    tags: Sequence[str] = (),
    actor: str | None = None,
    conversation: str | None = None,
) -> list[str]:
    """Return the purge groups for these marks; `actor` and `conversation` are digests."""
    found = [tenant_group(tenant), namespace_group(tenant, namespace)]
    found += [tag_group(tenant, tag) for tag in dict.fromkeys(tags)]
    if actor is not None:
        found.append(actor_group(tenant, actor))
    if conversation is not None:
        found.append(conversation_group(tenant, conversation))
    return found


def tenant_group(tenant: str) -> str:
    return f"t:{tenant_key(tenant)}"


def namespace_group(tenant: str, namespace: str) -> str:
    return f"n:{tenant_key(tenant)}:{namespace}"


def tag_group(tenant: str, tag: str) -> str:
    return f"g:{tenant_key(tenant)}:{tag}"


def actor_group(tenant: str, actor: str) -> str:
    return f"u:{tenant_key(tenant)}:{actor}"


def conversation_group(tenant: str, mark: str) -> str:
    return f"c:{tenant_key(tenant)}:{mark}"


def entry_group(tenant: str, entry_id: str) -> str:
    """Return the group of one entry alone."""
    return f"i:{tenant_key(tenant)}:{entry_id}"


def owner(group: str) -> str:
    """Return the tenant of a purge group; "" for `EVERYTHING`."""
    _, _, named = group.partition(":")
    size, _, rest = named.partition(":")
    return rest[: int(size)] if size.isdecimal() else ""
