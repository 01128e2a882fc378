"""Calls of `/admin/v1` for tuning: bars, labels, decisions, scopes, verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

from cacheserver.client.calls import LINES, Call, Calls, Object, Text, path, with_query
from cacheserver.client.filters import TenantDecisionFilters, TenantNearMissFilters, conditions

_V1 = "/admin/v1"
Level = Literal["tenant", "namespace", "scope"]


class Bars(Calls[Object, Text]):
    """Bars of tenants, namespaces and scopes: set, tried dry, taken back."""

    def show(self, tenant: str) -> Object:
        """Return a tenant's bars."""
        return self._get(path(f"{_V1}/tenants", tenant, "bars"))

    def set(
        self,
        tenant: str,
        bar: Mapping[str, Any] | None,
        *,
        level: Level = "tenant",
        name: str | None = None,
        dry_run: bool = False,
        who: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Object:
        """Set a bar, such as `{"target": 0.02}`; None removes it.

        `name`: of the namespace, or the id of the scope. `dry_run` says what it would have served;
        `limit` and `cursor` page through the questions that would change sides. `who`: who the
        history names (default: the key's name).
        """
        options = {"name": name, "who": who, "limit": limit, "cursor": cursor}
        given = {option: value for option, value in options.items() if value is not None}
        body = {"level": level, "bar": bar, "dry_run": dry_run, **given}
        return self._put(path(f"{_V1}/tenants", tenant, "bars"), body)

    def undo(
        self,
        tenant: str,
        *,
        level: Level = "tenant",
        name: str | None = None,
        who: str | None = None,
    ) -> Object:
        """Take back the last change of a bar."""
        options = {"level": level, "name": name, "who": who}
        body = {option: value for option, value in options.items() if value is not None}
        return self._post(path(f"{_V1}/tenants", tenant, "bars", "undo"), body)

    def history(
        self, tenant: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Object:
        """Return a page of who changed which bar."""
        where = path(f"{_V1}/tenants", tenant, "bars", "history")
        return self._get(where, limit=limit, cursor=cursor)

    def calibrate(
        self,
        pairs: Sequence[Mapping[str, Any]],
        *,
        target: float = 0.01,
        teach: Mapping[str, Any] | None = None,
    ) -> Object:
        """Return the bar that labelled pairs ask for: `query_a`, `query_b`, `label` 0 or 1.

        `teach`: the `tenant` and `scope` that learn the pairs, with `confirm`: True; without it
        they are only counted.
        """
        taught = {} if teach is None else {"teach": teach}
        return self._post(f"{_V1}/calibrate", {"pairs": list(pairs), "target": target, **taught})


class Labels(Calls[Object, Text]):
    """Pairs of questions that wait for a person, and their labels."""

    def queue(
        self,
        tenant: str,
        *,
        scope: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Object:
        """Return a page of the pairs that the system is least sure of."""
        where = f"{_V1}/labels/queue"
        return self._get(where, tenant=tenant, scope=scope, limit=limit, cursor=cursor)

    def give(
        self,
        tenant: str,
        pair: str,
        verdict: Literal["yes", "no", "skip"],
        *,
        who: str | None = None,
    ) -> Object:
        """Say whether one answer serves both questions of a pair.

        `who` labels (default: the key's name).
        """
        named = {} if who is None else {"who": who}
        body = {"tenant": tenant, "pair": pair, "verdict": verdict, **named}
        return self._post(f"{_V1}/labels", body)

    def undo(self, tenant: str, pair: str | None = None) -> Object:
        """Take back the last label, or that of a pair."""
        body = {"tenant": tenant} if pair is None else {"tenant": tenant, "pair": pair}
        return self._post(f"{_V1}/labels/undo", body)

    def export(self, tenant: str) -> Text:
        """Return all pairs and their labels as JSON lines."""
        return self._read(Call("GET", with_query(f"{_V1}/labels/export", {"tenant": tenant})))

    def load(
        self, tenant: str, lines: bytes, *, confirm: bool = False, who: str | None = None
    ) -> Object:
        """Label the pairs of an export; without `confirm`, only say how many."""
        about = {"tenant": tenant, "confirm": confirm, "who": who}
        where = with_query(f"{_V1}/labels/import", about)
        return self._ask(Call("POST", where, lines, LINES))


class Decisions(Calls[Object, Text]):
    """Decisions of the last day, near misses among them."""

    def list(self, **filters: Unpack[TenantDecisionFilters]) -> Object:
        """Return a page of decisions. See `TenantDecisionFilters`."""
        chosen = conditions("admin.decisions.list", filters, TenantDecisionFilters)
        return self._get(f"{_V1}/decisions", **chosen)

    def show(self, tenant: str, id: str) -> Object:
        """Return all of a decision, with the questions of its candidates."""
        return self._get(path(f"{_V1}/tenants", tenant, "decisions", id))

    def near_misses(self, **filters: Unpack[TenantNearMissFilters]) -> Object:
        """Return a page of misses that had a similar question, by what a hit would have saved."""
        chosen = conditions("admin.near_misses", filters, TenantNearMissFilters)
        return self._get(f"{_V1}/near-misses", **chosen)


class Scopes(Calls[Object, Text]):
    """Scopes, with what each bar of them would serve."""

    def list(self, tenant: str, *, limit: int | None = None, cursor: str | None = None) -> Object:
        """Return a page of a tenant's scopes, those with the most requests first."""
        return self._get(f"{_V1}/scopes", tenant=tenant, limit=limit, cursor=cursor)

    def show(self, tenant: str, scope: str) -> Object:
        """Return a scope with its curves."""
        return self._get(path(f"{_V1}/scopes", tenant, scope))

    def tuning(
        self,
        tenant: str,
        scope: str,
        *,
        scale: Literal["similarity", "probability"] | None = None,
        limit: int | None = None,
    ) -> Object:
        """Return what each bar would serve, and the questions near it."""
        where = path(f"{_V1}/scopes", tenant, scope, "tuning")
        return self._get(where, scale=scale, limit=limit)


class Verification(Calls[Object, Text]):
    """Quality of verification."""

    def show(self, tenant: str) -> Object:
        """Return its audited verdicts, and what it costs."""
        return self._get(path(f"{_V1}/verification", tenant))

    def reset(self, tenant: str) -> Object:
        """Forget the audited verdicts, and switch on again."""
        return self._delete(path(f"{_V1}/verification", tenant))
