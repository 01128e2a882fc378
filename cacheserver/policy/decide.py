"""The decision on a semantic hit: the seam behind which evidence and calibration live."""

from __future__ import annotations

from collections.abc import Sequence

from cacheserver.types import Bar, Candidate, Controls, Entry, Hit, Miss, Tenant


def decide(candidates: Sequence[Candidate], bar: Bar, controls: Controls, now: float) -> Hit | Miss:
    """Return the stored answer to serve, or the reason there is none.

    `now` is Unix seconds. Candidates come in any order; all are of the query's scope. The most
    similar one that clears `bar` wins, the newer of two equals. Doubt is a `Miss`: a wrong
    answer costs a user more than a call costs us. Raises nothing.
    """
    live = [c for c in candidates if fresh(c.entry, controls, now)]
    if not live:
        return Miss("empty")
    best = max(live, key=lambda c: (c.similarity, c.entry.created_at))
    if bar.similarity is not None and best.similarity >= bar.similarity:
        return Hit(best, "semantic", "similar")
    return Miss("below-threshold", nearest=best)


def fresh(entry: Entry, controls: Controls, now: float) -> bool:
    """Whether an entry is within its deadline and young enough for this caller."""
    if now >= entry.expires_at:
        return False
    return controls.max_age_s is None or now - entry.created_at <= controls.max_age_s


def servable_stale(entry: Entry, tenant: Tenant, controls: Controls, now: float) -> bool:
    """Whether an entry may stand in while Claude fails: its tenant opted in, for `stale_s`."""
    if not controls.read or now >= entry.expires_at + tenant.stale_s:
        return False
    return controls.max_age_s is None or now - entry.created_at <= controls.max_age_s


def bar_of(tenant: Tenant, namespace: str, scope: str) -> Bar:
    """The bar that holds: the scope's own, else the namespace's, else the tenant's."""
    return tenant.scope_bars.get(scope) or tenant.namespace_bars.get(namespace) or tenant.bar
