"""Names that an operator wrote, held against those that stand for something.

Rule: settings of a tenant may be put ahead of its first request, and declare its namespaces; all
else that names what does not exist is a mistake, and a 400 that lists what does.
"""

from __future__ import annotations

from cacheserver.api.deps import OPEN_TENANT
from cacheserver.api.edge import Edge
from cacheserver.errors import Unknown
from cacheserver.policy.controls import name as checked_name
from cacheserver.types import Tenant


async def tenant_of(edge: Edge, name: str) -> Tenant:
    """A tenant that has settings or a key, or the one that is open where there are no keys.

    Raises `BadRequest`.
    """
    names = {OPEN_TENANT, *await edge.parts.tenants.names()}
    if checked_name("tenant", name) not in names:
        raise Unknown("tenant", "tenant", name, names)
    return await edge.parts.tenants.get(name)


async def refuse_unknown_namespace(edge: Edge, tenant: Tenant, namespace: str) -> None:
    """Raise `BadRequest` for a namespace that nothing was asked in, nor anything set for."""
    rules = {rule.namespace for rule in tenant.ttl_rules if rule.namespace is not None}
    known = {"default", *tenant.namespace_bars, *rules}
    if namespace in known or await edge.parts.entries.entries.has_namespace(tenant.name, namespace):
        return
    known |= (await edge.parts.rehearsal.places(tenant)).namespaces
    if namespace not in known:
        raise Unknown("name", "namespace", namespace, known)


async def refuse_unknown_scopes(edge: Edge, before: Tenant, after: Tenant) -> None:
    """Raise `BadRequest` where a bar is set in a scope that nothing was ever asked in.

    It would hold for nobody: most likely the id is of another tenant, or was cut.
    """
    if not edge.parts.entries.ready:
        return  # what was asked before the start is not known yet
    for scope in after.scope_bars.keys() - before.scope_bars.keys():
        if await edge.parts.entries.asked_in(before.name, scope):
            continue
        known = (await edge.parts.rehearsal.places(before)).scopes
        if scope not in known:
            raise Unknown("name", "scope", scope, known)
