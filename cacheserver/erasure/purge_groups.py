"""Groups of the stored answers that a selector covers."""

from __future__ import annotations

from cacheserver.erasure.selectors import Selector
from cacheserver.storage import key_groups


def groups(tenant: str, selector: Selector) -> list[str]:
    """Return the purge groups of all that a selector covers in a tenant."""
    values = selector.values
    match selector.kind:
        case "entry_id":
            return []
        case "tag":
            return [key_groups.tag_group(tenant, values[0])]
        case "namespace":
            return [key_groups.namespace_group(tenant, values[0])]
        case "tenant":
            return [key_groups.tenant_group(tenant)]
        case "conversation":
            return [key_groups.conversation_group(tenant, selector.conversation)]
        case "actor":
            return [key_groups.actor_group(tenant, actor) for actor in values]
