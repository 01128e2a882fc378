"""Conditions of lists, as the client's methods take them. Pure.

Rule: `start` and `end` are the API's `from` and `to`, the first of which Python keeps for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypedDict

from cacheserver.client.calls import check

_RENAMED: Final = {"start": "from", "end": "to"}


class Page(TypedDict, total=False):
    """A part of a list."""

    limit: int | None  # items of the page
    cursor: str | None  # `next` of the page before


class NearMissFilters(Page, total=False):
    """Conditions of misses that had a similar question."""

    namespace: str | None
    scope: str | None  # its id
    reason: str | None  # such as "below-bar"
    veto: str | None
    model: str | None  # that was asked for, or answered
    text: str | None  # a part of the question
    similarity_min: float | None  # cosine, -1..1
    similarity_max: float | None
    probability_min: float | None  # 0..1
    probability_max: float | None
    start: str | float | None  # ISO 8601 or Unix seconds
    end: str | float | None


class DecisionFilters(NearMissFilters, total=False):
    """Conditions of decisions."""

    outcome: str | None  # exact | semantic | coalesced | stale | miss | bypass | failed


class TenantNearMissFilters(NearMissFilters, total=False):
    """`NearMissFilters`, for an admin."""

    tenant: str | None


class TenantDecisionFilters(DecisionFilters, total=False):
    """`DecisionFilters`, for an admin."""

    tenant: str | None


class EntryConditions(TypedDict, total=False):
    """Conditions of stored answers."""

    namespace: str | None
    tag: str | None
    context: str | None  # a key of declared questions
    scope: str | None  # its id
    model: str | None  # that answered
    text: str | None  # a part of the question
    older_than_s: float | None  # seconds since it was stored
    newer_than_s: float | None
    hits_min: int | None
    hits_max: int | None
    pinned: bool | None


class EntryFilters(EntryConditions, Page, total=False):
    """Conditions of stored answers, and the page of them."""


class TenantEntryFilters(EntryFilters, total=False):
    """`EntryFilters`, for an admin."""

    tenant: str | None


class TenantPurge(EntryConditions, total=False):
    """Selector of an admin's purge; all that is given must fit."""

    tenant: str | None
    entry_id: str | None
    all: bool | None  # every answer of every tenant
    dry_run: bool | None  # only count them
    confirm: str | None  # the phrase that a dry run returns


class KeyChanges(TypedDict, total=False):
    """Changes of a key."""

    label: str
    expires: str | float | None  # "90d", seconds from now, or an ISO 8601 time; None: never


def conditions(method: str, given: Mapping[str, object], shape: type) -> dict[str, object]:
    """Return the conditions given, with the API's names. Raises `TypeError` for one unknown."""
    check(method, given, shape)
    return {_RENAMED.get(name, name): value for name, value in given.items() if value is not None}
