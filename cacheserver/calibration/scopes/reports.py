"""Reports of a tenant's scopes, by the requests of the last day."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final, NamedTuple

from cacheserver.cache.freshness import bar_of
from cacheserver.cache.store.decision_filters import Rows
from cacheserver.cache.store.decision_index import digest
from cacheserver.cache.store.decision_search import DecisionSearch
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.scopes import traffic
from cacheserver.calibration.scopes.traffic import Traffic
from cacheserver.calibration.states import States
from cacheserver.calibration.what_if_rules import LabelledCandidate
from cacheserver.calibration.wrong_hit_rate import share_of
from cacheserver.core.errors import BadRequest, Unknown
from cacheserver.core.types import Bar, Tenant
from cacheserver.matching import calibration
from cacheserver.matching.calibration import Calibration
from cacheserver.matching.support import Support

SCALES: Final = ("probability", "similarity")  # of bars
_DEFAULT: Final = "default"  # namespace of a scope of which no decision is left


class ScopeDay(NamedTuple):
    """Report of a scope, and what it was made of."""

    report: dict[str, Any]
    rows: Rows  # its decisions of the last day, newest first
    since: float | None  # Unix seconds of the oldest decision of the tenant
    traffic: Traffic
    state: Calibration
    bar: Bar


class ScopeReports:
    """Reports of scopes. Every method raises `StoreError`."""

    def __init__(self, *, search: DecisionSearch, labels: Labels, states: States) -> None:
        self._search = search
        self._labels = labels
        self._states = states

    async def page(
        self, tenant: Tenant, *, limit: int, cursor: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return scopes with traffic of the last day, labels or a bar of their own, by requests.

        Raises `BadRequest` for a wrong cursor.
        """
        after = _after(cursor)
        rows = (await self._search.day(tenant.name)).rows
        found, names = await self._found(tenant, rows)
        ranked = sorted((-found.get(mark, Traffic()).requests, mark) for mark in {*found, *names})
        left = [one for one in ranked if after is None or one > after]
        page = left[:limit]
        newest = {mark: found[mark].newest for _, mark in page if mark in found}
        records = await self._search.records(tenant.name, list(newest.values()))
        by_mark = dict(zip(newest, records, strict=True))
        items = []
        for _, mark in page:
            record = by_mark.get(mark)
            scope = names.get(mark) or (None if record is None else str(record["scope"]))
            if scope is not None:
                report, _ = await self._report(tenant, scope, found.get(mark, Traffic()), record)
                items.append(report)
        return items, f"{-page[-1][0]}:{page[-1][1]}" if len(left) > len(page) else None

    async def scope(self, tenant: Tenant, scope: str) -> ScopeDay:
        """Return the report of a scope, and what it was made of. Raises `Unknown`."""
        day, mark = await self._search.day(tenant.name, scope), digest(scope)
        found, names = await self._found(tenant, day.rows)
        if mark not in found and mark not in names:
            raise Unknown("scope", "scope", scope, names.values())
        sums = found.get(mark, Traffic())
        (record,) = await self._search.records(tenant.name, [sums.newest])
        report, state = await self._report(tenant, scope, sums, record)
        namespace = _DEFAULT if record is None else str(record["namespace"])
        bar = bar_of(tenant, namespace, scope)
        return ScopeDay(report, day.rows, day.since, sums, state, bar)

    async def _found(self, tenant: Tenant, rows: Rows) -> tuple[dict[int, Traffic], dict[int, str]]:
        """Return traffic by scope, and the scopes that are known by name, by their digests."""
        found = await asyncio.to_thread(traffic.by_scope, rows)
        learned = await self._labels.scopes(tenant.name)
        return found, {digest(name): name for name in (*learned, *tenant.scope_bars)}

    async def _report(
        self, tenant: Tenant, scope: str, day: Traffic, record: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], Calibration]:
        namespace = _DEFAULT if record is None else str(record["namespace"])
        bar = bar_of(tenant, namespace, scope)
        shown: dict[str, Any] = {"level": _level(tenant, namespace, scope), **asdict(bar)}
        support = None
        if bar.similarity is None and bar.target is not None:
            state, needed = await self._states.with_bar(tenant.name, scope, bar.target)
            shown |= {"probability": round(needed.level, 6), "basis": needed.basis}
            support = {
                "learned": needed.support.crowd is not None,
                "labels": needed.labels,
                "audits": needed.audits,
                "shut_groups": len(needed.shut),
            }
        else:
            state = await self._states.get(tenant.name, scope)
            shown["basis"] = "exact-only" if bar.exact_only else "threshold"
        share = share_of(state.labels)
        report = {
            "tenant": tenant.name,
            "scope": scope,
            "namespace": None if record is None else namespace,
            "system": None if record is None else record.get("system"),
            "model": None if record is None else record["model_asked"],
            "last_at": None if record is None else record["at"],
            "day": day.as_json(),
            "bar": shown,
            "labels": len(state.labels),
            "wrong": None if share is None else _rounded(asdict(share)),
            "support": support,
        }
        return report, state


def labels_by(
    scale: str, state: Calibration, support: Support | None = None
) -> list[LabelledCandidate]:
    """Return all labels of a scope but feedback, with their scores on a scale of bars.

    With `support`, those alone that it contains: no bar by probability serves the others.
    """
    fitted = replace(state, fresh=0)  # of all labels
    sampled = fitted.sampled
    scores = (
        [label.evidence.cosine for label in sampled]
        if scale == "similarity"
        else calibration.recorded_probabilities(fitted)
    )
    return [
        LabelledCandidate(score, label.right, label.weight)
        for score, label in zip(scores, sampled, strict=True)
        if support is None or support.contains(label.evidence)
    ]


def _level(tenant: Tenant, namespace: str, scope: str) -> str:
    bars: Mapping[str, Bar] = tenant.namespace_bars
    if scope in tenant.scope_bars:
        return "scope"
    return "namespace" if namespace in bars else "tenant"


def _rounded(share: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in share.items()}


def _after(cursor: str | None) -> tuple[int, int] | None:
    """Read a cursor: requests and digest of the last scope of the page before."""
    if cursor is None:
        return None
    requests, _, mark = cursor.partition(":")
    if not (requests.isdecimal() and mark.isdecimal() and len(cursor) < 64):
        raise BadRequest("cursor", "must be the `next` of the page before")
    return -int(requests), int(mark)
