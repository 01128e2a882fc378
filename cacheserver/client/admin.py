"""Calls of `/admin/v1`, by what they are about. They need an admin key.

Each method returns the JSON object that the server answers with, of an `AsyncClient` as an
awaitable. Lists come in pages: `items`, and `next`, the `cursor` of the next page
(`Client.items` walks them). Options that are not given have the server's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack

from cacheserver.client.admin_tenants import AdminKeys, Keys, Tenants
from cacheserver.client.admin_tuning import Bars, Decisions, Labels, Scopes, Verification
from cacheserver.client.admin_work import (
    Audits,
    Prompts,
    Routing,
    SampleTraffic,
    Transfer,
    Work,
)
from cacheserver.client.calls import Call, Calls, Object, Text, path
from cacheserver.client.filters import (
    TenantEntryFilters,
    TenantNearMissFilters,
    TenantPurge,
    conditions,
)

_V1 = "/admin/v1"


class Entries(Calls[Object, Text]):
    """Stored answers of all tenants."""

    def list(self, **filters: Unpack[TenantEntryFilters]) -> Object:
        """Return a page of stored answers. See `TenantEntryFilters`."""
        chosen = conditions("admin.entries.list", filters, TenantEntryFilters)
        return self._get(f"{_V1}/entries", **chosen)

    def show(self, tenant: str, id: str) -> Object:
        """Return all of a stored answer."""
        return self._get(path(f"{_V1}/entries", tenant, id))

    def evict(self, tenant: str, id: str) -> Object:
        """Remove a stored answer."""
        return self._delete(path(f"{_V1}/entries", tenant, id))

    def expire(
        self, tenant: str, id: str, ttl_s: int | Literal["longest"], *, beyond_maximum: bool = False
    ) -> Object:
        """Set when a stored answer expires, in seconds from now."""
        body = {"ttl_s": ttl_s, "beyond_maximum": beyond_maximum}
        return self._put(path(f"{_V1}/entries", tenant, id, "ttl"), body)

    def curate(
        self,
        tenant: str,
        id: str,
        text: str,
        *,
        ttl_s: int | None = None,
        beyond_maximum: bool = False,
    ) -> Object:
        """Replace a stored answer by a curated one, whose id is another."""
        body = {"text": text, "ttl_s": ttl_s, "beyond_maximum": beyond_maximum}
        return self._put(path(f"{_V1}/entries", tenant, id, "answer"), body)

    def pin(self, tenant: str, id: str) -> Object:
        """Vouch for a stored answer."""
        return self._put(path(f"{_V1}/entries", tenant, id, "pin"))

    def unpin(self, tenant: str, id: str) -> Object:
        """Take a pin back."""
        return self._delete(path(f"{_V1}/entries", tenant, id, "pin"))

    def purge(self, **selector: Unpack[TenantPurge]) -> Object:
        """Purge what all conditions select; `dry_run` counts, `confirm` repeats its phrase."""
        return self._post(f"{_V1}/purge", conditions("admin.entries.purge", selector, TenantPurge))


class Alerts(Calls[Object, Text]):
    """Alerts, and their rules."""

    def list(
        self, *, tenant: str | None = None, limit: int | None = None, active: bool | None = None
    ) -> Object:
        """Return the last alerts, the newest first."""
        return self._get(f"{_V1}/alerts", tenant=tenant, limit=limit, active=active)

    def acknowledge(self, id: str, reason: str) -> Object:
        """Say that an alert was seen, and why that is enough."""
        return self._post(f"{_V1}/alerts/acknowledge", {"id": id, "reason": reason})

    def silence(
        self, tenant: str, kind: str, until: str | float | None, reason: str = ""
    ) -> Object:
        """Keep a kind of alerts from being sent until then; None ends a silence."""
        body = {"kind": kind, "until": until, "reason": reason}
        body = {name: value for name, value in body.items() if name == "until" or value}
        return self._put(path(f"{_V1}/tenants", tenant, "alerts", "silence"), body)

    def rules(self, tenant: str) -> Object:
        """Return a tenant's alert rules, silences and channels."""
        return self._get(path(f"{_V1}/tenants", tenant, "alerts"))

    def test(self, tenant: str) -> Object:
        """Send a test alert everywhere now."""
        return self._post(path(f"{_V1}/tenants", tenant, "alerts", "test"))


class Admin(Calls[Object, Text]):
    """All of `/admin/v1`, by group; `get`, `post`, `put` and `delete` for the rest."""

    @property
    def tenants(self) -> Tenants[Object, Text]:
        """Tenants: settings, lifetimes, budgets, erasures."""
        return Tenants(self._ask, self._read)

    @property
    def keys(self) -> Keys[Object, Text]:
        """API keys of tenants."""
        return Keys(self._ask, self._read)

    @property
    def admin_keys(self) -> AdminKeys[Object, Text]:
        """Named admin keys, and what their holders changed."""
        return AdminKeys(self._ask, self._read)

    @property
    def bars(self) -> Bars[Object, Text]:
        """Bars of tenants, namespaces and scopes: set, tried dry, taken back."""
        return Bars(self._ask, self._read)

    @property
    def labels(self) -> Labels[Object, Text]:
        """Pairs of questions that wait for a person, and their labels."""
        return Labels(self._ask, self._read)

    @property
    def decisions(self) -> Decisions[Object, Text]:
        """Decisions of the last day, near misses among them."""
        return Decisions(self._ask, self._read)

    @property
    def scopes(self) -> Scopes[Object, Text]:
        """Scopes, with what each bar of them would serve."""
        return Scopes(self._ask, self._read)

    @property
    def verification(self) -> Verification[Object, Text]:
        """Quality of verification."""
        return Verification(self._ask, self._read)

    @property
    def entries(self) -> Entries[Object, Text]:
        """Stored answers of all tenants."""
        return Entries(self._ask, self._read)

    @property
    def alerts(self) -> Alerts[Object, Text]:
        """Alerts, and their rules."""
        return Alerts(self._ask, self._read)

    @property
    def audits(self) -> Audits[Object, Text]:
        """Audits of uploaded logs."""
        return Audits(self._ask, self._read)

    @property
    def prompts(self) -> Prompts[Object, Text]:
        """Costs of prompts."""
        return Prompts(self._ask, self._read)

    @property
    def routing(self) -> Routing[Object, Text]:
        """Routing rules, trials, gold sets."""
        return Routing(self._ask, self._read)

    @property
    def work(self) -> Work[Object, Text]:
        """Jobs, batches and conversations of all tenants."""
        return Work(self._ask, self._read)

    @property
    def transfer(self) -> Transfer[Object, Text]:
        """Stored answers and labels, exported and imported."""
        return Transfer(self._ask, self._read)

    @property
    def sample_traffic(self) -> SampleTraffic[Object, Text]:
        """Sample traffic, to try the admin page with."""
        return SampleTraffic(self._ask, self._read)

    def get(self, path: str, **parameters: object) -> Object:
        """Get any path; `parameters` go into its query."""
        return self._get(path, **parameters)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Object:
        """Post a JSON object to any path."""
        return self._post(path, body)

    def put(self, path: str, body: Mapping[str, Any] | None = None) -> Object:
        """Put a JSON object to any path."""
        return self._put(path, body)

    def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Object:
        """Delete what is at any path."""
        return self._delete(path, body)

    def purge(self, **selector: Unpack[TenantPurge]) -> Object:
        """Purge stored answers of one tenant or of all. See `entries.purge`."""
        return self.entries.purge(**selector)

    def near_misses(self, **filters: Unpack[TenantNearMissFilters]) -> Object:
        """Return a page of misses that had a similar question. See `decisions.near_misses`."""
        return self.decisions.near_misses(**filters)

    def stats(self, *, tenant: str | None = None) -> Object:
        """Return counts and money of all tenants, or of one."""
        return self._get(f"{_V1}/stats", tenant=tenant)

    def overview(self, *, tenant: str | None = None) -> Object:
        """Return money, hits, latency and alerts at a glance."""
        return self._get(f"{_V1}/overview", tenant=tenant)

    def health(self) -> Object:
        """Return the state of every part, and what to do."""
        return self._get(f"{_V1}/health")

    def canary(self) -> Object:
        """Send a question through the real path."""
        return self._post(f"{_V1}/health/canary")

    def settings(self) -> Object:
        """Return every setting: value, default, and where it comes from."""
        return self._get(f"{_V1}/settings")

    def change_settings(self, **changes: Any) -> Object:
        """Change live settings; None: back to what the server started with.

        Raises `BadRequestError` for a name that is none, with the nearest.
        """
        return self._put(f"{_V1}/settings", changes)

    def prices(self) -> Object:
        """Return the prices in force, and where each comes from."""
        return self._get(f"{_V1}/prices")

    def change_prices(self, prices: Mapping[str, Any]) -> Object:
        """Change prices of models; None: back to the price list."""
        return self._put(f"{_V1}/prices", {"prices": prices})

    def metrics(self) -> Text:
        """Return the Prometheus metrics."""
        return self._read(Call("GET", "/metrics"))
