"""Checks of names that an operator wrote against existing ones.

Rule: settings and keys may be made ahead of a tenant's first request, and settings declare its
namespaces; all else that names what does not exist is a mistake, and a 400 that lists what does. A
tenant that has asked stays known when its last key is gone: what it left can be seen and purged.
"""

from __future__ import annotations

from collections.abc import Callable

from cacheserver.api.components import Components
from cacheserver.api.dependencies import OPEN_TENANT
from cacheserver.api.state import AppState
from cacheserver.cache.controls import name as checked_name
from cacheserver.core.errors import Unknown
from cacheserver.core.types import Tenant


async def present_tenants(parts: Components) -> Callable[[str], bool]:
    """Return a test of whether a tenant can ask: it has settings or a key, or is the default.

    A deleted one cannot, though sums of money and past alerts name it. A caller with an Anthropic
    key of its own, `tenant@pseudonym`, goes with the tenant. Raises `StoreError`.
    """
    names = await _names(parts)
    return lambda name: name in names or name.rpartition("@")[0] in names


async def tenant_of(state: AppState, name: object) -> Tenant:
    """Return an existing tenant's name: it has settings, a key or requests, or is the default.

    Raises `BadRequest`, and `Unavailable` where its settings cannot be read.
    """
    checked = checked_name("tenant", name)
    await refuse_unknown_tenant(state, checked)
    return await state.parts.tenants.settings(checked)


async def refuse_unknown_tenant(state: AppState, name: str) -> None:
    """Raise `BadRequest` for a tenant without settings or a key that has never asked.

    One that never asked and was deleted is known by its erasures, which can still be listed.
    """
    names = await _names(state.parts)
    if name in names or await state.parts.decision_log.stats(name):
        return
    eraser = state.parts.capabilities.erasure
    if eraser is None or not await eraser.store.logged(name):
        raise Unknown("tenant", "tenant", name, names)


async def _names(parts: Components) -> set[str]:
    return {OPEN_TENANT, *await parts.tenants.names()}


async def refuse_unknown_namespace(state: AppState, tenant: Tenant, namespace: str) -> None:
    """Raise `BadRequest` for a namespace without requests and without settings."""
    rules = {rule.namespace for rule in tenant.ttl_rules if rule.namespace is not None}
    namespaces = {"default", *tenant.namespace_bars, *rules}
    if namespace in namespaces or await state.parts.entries.entries.has_namespace(
        tenant.name, namespace
    ):
        return
    recent = await state.parts.decision_log.near(tenant.name)
    namespaces |= {str(record["namespace"]) for record in recent}
    if namespace not in namespaces:
        raise Unknown("name", "namespace", namespace, namespaces)


async def refuse_unknown_scopes(state: AppState, field: str, before: Tenant, after: Tenant) -> None:
    """Raise `BadRequest` naming `field` where a bar is set in a scope that nothing was asked in.

    It would hold for nobody: most likely the id is of another tenant, or was cut.
    """
    if not state.parts.entries.ready:
        return  # what was asked before the start is not known yet
    for scope in after.scope_bars.keys() - before.scope_bars.keys():
        await refuse_unknown_scope(state, field, before, scope)


async def refuse_unknown_scope(state: AppState, field: str, tenant: Tenant, scope: str) -> None:
    """Raise `BadRequest` naming `field` for a scope that nothing was asked in."""
    if await state.parts.entries.has_questions(tenant.name, scope):
        return
    scopes = await _scopes_of(state, tenant)
    if scope not in scopes:
        raise Unknown(field, "scope", scope, scopes)


async def _scopes_of(state: AppState, tenant: Tenant) -> set[str]:
    """Return the scopes with decisions of the last day, bars or labels."""
    recent = await state.parts.decision_log.near(tenant.name)
    learned = await state.parts.labels.scopes(tenant.name)
    return {*(str(record["scope"]) for record in recent), *tenant.scope_bars, *learned}
