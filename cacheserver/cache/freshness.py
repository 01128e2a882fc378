"""A decision by a threshold on cosine, and the rules that hold whatever the bar is.

Rule: vetoes hold under a threshold too, unless the bar's `vetoes_off` names them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from cacheserver.core.types import UNLOOKED, Bar, Controls, Entry, Hit, Miss, Tenant
from cacheserver.matching.language import ALL_VETOES, Language, vetoes_between
from cacheserver.matching.neighbours import Neighbour
from cacheserver.matching.profile import Profile

EXPLAINED = 5  # nearest candidates that a decision lists

Reason: TypeAlias = Literal["similar", "vetoed", "below-threshold"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The id of the neighbour whose answer is served, and the vetoes found."""

    serve: str | None  # None: none does
    reason: Reason
    vetoes: Mapping[str, str]  # by id, of those that a veto refuses


def unasked(decision: Miss) -> tuple[Miss, str]:
    """The miss and the message for a caller who forbids asking Claude.

    If the look-up itself failed, its reason stays: there may be a stored answer.
    """
    forbidden = "`only-if-cached` forbids asking Claude"
    if decision.reason in UNLOOKED:
        return decision, f"the stored answers could not be looked up now, and {forbidden}"
    refused = replace(decision, reason="only-if-cached")
    return refused, f"no stored answer may be served, and {forbidden}"


def decide(
    question: Profile,
    neighbours: Sequence[Neighbour],
    threshold: float,
    *,
    language: Language,
    enabled: frozenset[str],
) -> Selection:
    """Return the neighbour whose answer is served under a threshold, or why none is.

    The most similar one at or above `threshold` that no veto of `enabled` refuses wins; of two
    equals the one that comes first. One that is `preferred` goes before more similar ones. Vetoes
    are read of the nearest `EXPLAINED` at least, for the explanation: some 20 us each. Raises
    nothing.
    """
    ranked = sorted(neighbours, key=lambda one: one.similarity, reverse=True)
    refused: dict[str, str] = {}
    passing = list[Neighbour]()
    for place, one in enumerate(ranked):
        reaches = one.similarity >= threshold
        if place >= EXPLAINED and (passing or not reaches):
            break
        if fired := vetoes_between(question, one.profile, enabled, language):
            refused[one.id] = fired[0]
        elif reaches:
            passing.append(one)
    if passing:
        served = next((one for one in passing if one.preferred), passing[0])
        return Selection(served.id, "similar", refused)
    reached = bool(ranked) and ranked[0].similarity >= threshold
    return Selection(None, "vetoed" if reached else "below-threshold", refused)


def enabled_vetoes(bar: Bar) -> frozenset[str]:
    """The names of the vetoes that apply under a bar."""
    return ALL_VETOES.difference(bar.vetoes_off)


def in_shadow(hit: Hit) -> Miss:
    """The miss that a hit becomes in shadow mode."""
    seen = () if hit.candidate is None else (hit.candidate,)
    return Miss("shadow", hit.candidate, hit.neighbours or seen, level=hit.level, basis=hit.basis)


def fresh(entry: Entry, controls: Controls, now: float) -> bool:
    """Return whether an entry is unexpired, and young enough for this caller."""
    if now + controls.min_fresh_s >= entry.expires_at:
        return False
    return controls.max_age_s is None or now - entry.created_at <= controls.max_age_s


def servable_stale(entry: Entry, tenant: Tenant, controls: Controls, now: float) -> bool:
    """Return whether an entry may be served while Claude fails: `stale_s` past its expiry."""
    stale_s = tenant.stale_s
    if controls.max_stale_s is not None:
        stale_s = min(stale_s, controls.max_stale_s)
    if controls.min_fresh_s or not controls.read or now >= entry.expires_at + stale_s:
        return False
    return controls.max_age_s is None or now - entry.created_at <= controls.max_age_s


def bar_of(tenant: Tenant, namespace: str, scope: str) -> Bar:
    """The bar that holds: the scope's own, else the namespace's, else the tenant's."""
    return tenant.scope_bars.get(scope) or tenant.namespace_bars.get(namespace) or tenant.bar
