"""Groups of what is purged together, as parts of keys.

A tenant's name comes with its length: no tenant can spell the group of another one.
"""

from __future__ import annotations

from collections.abc import Sequence

from cacheserver.core.types import Entry
from cacheserver.storage.json_values import owner


def of(entry: Entry) -> list[str]:
    """The groups of an entry."""
    return of_marks(
        entry.tenant,
        entry.namespace,
        tags=entry.tags,
        actor=entry.actor,
        conversation=entry.conversation,
    )


def of_marks(
    tenant: str,
    namespace: str,
    *,
    tags: Sequence[str] = (),
    actor: str | None = None,
    conversation: str | None = None,
) -> list[str]:
    """The groups of what has these marks; the actor and the conversation are digests."""
    found = [of_tenant(tenant), of_namespace(tenant, namespace)]
    found += [of_tag(tenant, tag) for tag in dict.fromkeys(tags)]
    if actor is not None:
        found.append(of_actor(tenant, actor))
    if conversation is not None:
        found.append(of_conversation(tenant, conversation))
    return found


def of_tenant(tenant: str) -> str:
    return f"t:{owner(tenant)}"


def of_namespace(tenant: str, namespace: str) -> str:
    return f"n:{owner(tenant)}:{namespace}"


def of_tag(tenant: str, tag: str) -> str:
    return f"g:{owner(tenant)}:{tag}"


def of_actor(tenant: str, actor: str) -> str:
    return f"u:{owner(tenant)}:{actor}"


def of_conversation(tenant: str, mark: str) -> str:
    return f"c:{owner(tenant)}:{mark}"


def of_own(tenant: str, entry_id: str) -> str:
    """The group of one entry alone."""
    return f"i:{owner(tenant)}:{entry_id}"
