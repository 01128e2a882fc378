"""A decision by a threshold on cosine, and the rules that hold whatever the bar is.

Rule: vetoes hold under a threshold too, unless the bar's `vetoes_off` names them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from cacheserver.core.types import Bar, Controls, Entry, Hit, Miss, Tenant
from cacheserver.matching.lexicon import Lexicon
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.profile import Profile
from cacheserver.matching.vetoes import VETOES, vetoes

_UNLOOKED = ("degraded", "warming")

EXPLAINED = 5  # nearest candidates that a decision lists

Reason: TypeAlias = Literal["similar", "vetoed", "below-threshold"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The neighbour whose answer serves, by id, and what was found on the way."""

    serve: str | None  # None: none does
    reason: Reason
    vetoes: Mapping[str, str]  # by id, of those that a veto refuses


def unasked(decision: Miss) -> tuple[Miss, str]:
    """A miss of a caller who would not have Claude asked, and what they are told.

    Where the look-up itself could not be made, the reason stays: something may be stored.
    """
    forbidden = "`only-if-cached` forbids asking Claude"
    if decision.reason in _UNLOOKED:
        return decision, f"the stored answers could not be looked up now, and {forbidden}"
    refused = replace(decision, reason="only-if-cached")
    return refused, f"no stored answer may be served, and {forbidden}"


def decide(
    question: Profile,
    neighbours: Sequence[Neighbour],
    threshold: float,
    *,
    lexicon: Lexicon,
    enabled: frozenset[str],
) -> Selection:
    """Return the neighbour whose answer serves under a threshold, or why none does.

    The most similar one at or above `threshold` that no veto of `enabled` refuses wins; of two
    equals the one that comes first. Vetoes are read of the nearest `EXPLAINED` at least, for the
    explanation: some 20 us each. Raises nothing.
    """
    ranked = sorted(neighbours, key=lambda one: one.similarity, reverse=True)
    refused: dict[str, str] = {}
    served: str | None = None
    for place, one in enumerate(ranked):
        reaches = one.similarity >= threshold
        if place >= EXPLAINED and (served is not None or not reaches):
            break
        if fired := vetoes(question, one.profile, enabled, lexicon):
            refused[one.id] = fired[0]
        elif reaches and served is None:
            served = one.id
    if served is not None:
        return Selection(served, "similar", refused)
    reached = bool(ranked) and ranked[0].similarity >= threshold
    return Selection(None, "vetoed" if reached else "below-threshold", refused)


def enabled_vetoes(bar: Bar) -> frozenset[str]:
    """The names of the vetoes that hold under a bar."""
    return frozenset(VETOES).difference(bar.vetoes_off)


def in_shadow(hit: Hit) -> Miss:
    """A hit as the miss it is in shadow mode."""
    seen = () if hit.candidate is None else (hit.candidate,)
    return Miss("shadow", hit.candidate, hit.neighbours or seen, level=hit.level, basis=hit.basis)


def fresh(entry: Entry, controls: Controls, now: float) -> bool:
    """Whether an entry is within its deadline and young enough for this caller."""
    if now + controls.min_fresh_s >= entry.expires_at:
        return False
    return controls.max_age_s is None or now - entry.created_at <= controls.max_age_s


def servable_stale(entry: Entry, tenant: Tenant, controls: Controls, now: float) -> bool:
    """Whether an entry may stand in while Claude fails: its tenant opted in, for `stale_s`."""
    stale_s = tenant.stale_s
    if controls.max_stale_s is not None:
        stale_s = min(stale_s, controls.max_stale_s)
    if controls.min_fresh_s or not controls.read or now >= entry.expires_at + stale_s:
        return False
    return controls.max_age_s is None or now - entry.created_at <= controls.max_age_s


def bar_of(tenant: Tenant, namespace: str, scope: str) -> Bar:
    """The bar that holds: the scope's own, else the namespace's, else the tenant's."""
    return tenant.scope_bars.get(scope) or tenant.namespace_bars.get(namespace) or tenant.bar
