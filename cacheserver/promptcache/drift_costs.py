"""Costs of changing prompts: fragments that prevent sharing, and new versions. Pure.

Every amount here is an estimate: it prices calls that were not made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cacheserver.core.types import Nanodollars
from cacheserver.promptcache.multipliers import Rates
from cacheserver.promptcache.planner import LIFETIME_S, MARGIN_S, Gaps, PrefixStats, worths
from cacheserver.promptcache.skeleton import Skeleton

_DAY_S = 86_400
# A version replaces another if the old one was in use on the day before and disappeared soon after:
# a deployment takes minutes.
_OVERLAP_S = 3_600
_LEAST = 5  # requests of the old version; with fewer there are hardly answers to lose


@dataclass(frozen=True, slots=True)
class Family:
    """Prompts with one skeleton, and their sightings."""

    skeleton: str
    model: str = ""
    tokens: int = 0  # of the system prompt, estimated
    sightings: int = 0
    changes: int = 0  # sightings whose fragments differ from the previous ones
    gaps: Gaps = field(default_factory=Gaps)
    first_at: float = 0.0
    last_at: float = 0.0
    spans: tuple[tuple[int, int, str, str], ...] = ()  # start, end, kind, shape, as last seen
    digests: tuple[str, ...] = ()  # of the fragments, as last seen
    varied: Mapping[int, int] = field(default_factory=dict)  # fragment to how often it changed
    lost_hits: int = 0  # stored answers that an unchanged prompt would have hit
    lost_cost: Nanodollars = 0  # cost of those calls


def seen(
    family: Family,
    skeleton: Skeleton,
    *,
    model: str,
    tokens: int,
    now: float,
    lost: Nanodollars | None,
) -> Family:
    """Add a sighting to a family; `lost` is the cost of a call that a hit would have saved.

    Only fragments that differ between two sightings are counted.
    """
    digests = tuple(one.digest for one in skeleton.fragments)
    varied = dict(family.varied)
    gaps = family.gaps
    changed = False
    if family.sightings:
        for at, (old, new) in enumerate(zip(family.digests, digests, strict=False)):
            if old != new:
                varied[at] = varied.get(at, 0) + 1
                changed = True
        gap = max(0.0, now - family.last_at)
        if gap <= LIFETIME_S["5m"] - MARGIN_S:
            gaps = replace(gaps, within_5m=gaps.within_5m + 1)
        elif gap <= LIFETIME_S["1h"] - MARGIN_S:
            gaps = replace(gaps, within_1h=gaps.within_1h + 1)
        else:
            gaps = replace(gaps, later=gaps.later + 1)
    return replace(
        family,
        model=model,
        tokens=tokens,
        sightings=family.sightings + 1,
        changes=family.changes + changed,
        gaps=gaps,
        first_at=family.first_at or now,
        last_at=max(now, family.last_at),
        spans=tuple((one.start, one.end, one.kind, one.shape) for one in skeleton.fragments),
        digests=digests,
        varied=varied,
        lost_hits=family.lost_hits + (lost is not None),
        lost_cost=family.lost_cost + (lost or 0),
    )


def report(family: Family, rates: Rates | None) -> dict[str, Any] | None:
    """Return a family's cost per day and its changing fragments; None if nothing changes."""
    if not family.changes:
        return None
    days = max((family.last_at - family.first_at) / _DAY_S, 1 / 24)
    per_day = family.sightings / days
    upstream = 0
    if rates is not None:
        saved = max(0.0, *worths([PrefixStats(gaps=family.gaps)], rates)[0].values())
        # Only sightings whose fragments changed could not be read from the cache.
        share = family.changes / max(1, family.sightings - 1)
        upstream = round(per_day * share * family.tokens * saved * rates.input)
    return {
        "skeleton": family.skeleton,
        "model": family.model,
        "sightings": family.sightings,
        "changes": family.changes,
        "first_at": family.first_at,
        "last_at": family.last_at,
        "tokens": family.tokens,
        "requests_per_day": round(per_day, 1),
        "lost_per_day": {
            "prompt_cache": upstream,
            "response_hits": round(family.lost_hits / days, 1),
            "response_cost": round(family.lost_cost / days),
        },
        "spans": [
            {"start": start, "end": end, "kind": kind, "pattern": shape, "changed": changed}
            for at, (start, end, kind, shape) in enumerate(family.spans)
            if (changed := family.varied.get(at, 0))
        ],
    }


@dataclass(frozen=True, slots=True)
class Version:
    """Version of a namespace's system prompt, by the hash of its constant parts."""

    digest: str
    first_at: float
    last_at: float
    requests: int
    chars: int
    scopes: Mapping[str, str]  # hash of the rest of the request -> its scope with this version


@dataclass(frozen=True, slots=True)
class Drift:
    """Change from one version to the next, after which the old one's entries are not found."""

    old: str
    new: str
    at: float
    scopes: tuple[tuple[str, str], ...]  # old to new


def drifts(versions: Sequence[Version]) -> list[Drift]:
    """Return the changes from one version to the next, newest first."""
    found = []
    for new in versions:
        old = [
            one
            for one in versions
            if one.digest != new.digest
            and one.requests >= _LEAST
            and one.first_at < new.first_at
            and new.first_at - _DAY_S <= one.last_at <= new.first_at + _OVERLAP_S
            and one.scopes.keys() & new.scopes.keys()
        ]
        if old:
            before = max(old, key=lambda one: one.last_at)
            found.append(Drift(before.digest, new.digest, new.first_at, pairs(before, new)))
    return sorted(found, key=lambda one: one.at, reverse=True)


def pairs(old: Version, new: Version) -> tuple[tuple[str, str], ...]:
    """Return the scopes of two versions that differ in nothing but the version."""
    shared = sorted(old.scopes.keys() & new.scopes.keys())
    return tuple((old.scopes[rest], new.scopes[rest]) for rest in shared)
