"""Calls of `/admin/v1` for background work, moves and levers: audits, imports, prompts, jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from cacheserver.client.calls import (
    BYTES,
    LINES,
    Call,
    Calls,
    Object,
    Text,
    path,
    refuse_strings,
    with_query,
)

_V1 = "/admin/v1"


class Audits(Calls[Object, Text]):
    """Audits of uploaded logs: what the cache would have saved."""

    def create(
        self,
        log: bytes,
        *,
        name: str | None = None,
        tenant: str | None = None,
        target: float | None = None,
        ttl_s: int | None = None,
        since: str | float | None = None,
        until: str | float | None = None,
        one_tenant: bool | None = None,
        wrong_hit_usd: float | None = None,
        verify_model: str | None = None,
    ) -> Object:
        """Upload a log and queue its audit, with the options of `cacheserver audit`."""
        options = {
            "name": name,
            "tenant": tenant,
            "target": target,
            "ttl_s": ttl_s,
            "since": since,
            "until": until,
            "one_tenant": one_tenant,
            "wrong_hit_usd": wrong_hit_usd,
            "verify_model": verify_model,
        }
        return self._ask(
            Call("POST", with_query(f"{_V1}/audits", options), log, BYTES, again=False)
        )

    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Object:
        """Return a page of audits, the newest first."""
        return self._get(f"{_V1}/audits", limit=limit, cursor=cursor)

    def show(self, id: str) -> Object:
        """Return an audit, with its `report` once there is one."""
        return self._get(path(f"{_V1}/audits", id))

    def page(self, id: str) -> Text:
        """Return the report as an HTML page."""
        return self._read(Call("GET", path(f"{_V1}/audits", id, "page")))

    def remove(self, id: str) -> Object:
        """Stop an audit, and delete it with its report."""
        return self._delete(path(f"{_V1}/audits", id))


class Prompts(Calls[Object, Text]):
    """Costs of prompts: Claude's prompt cache, prefixes, versions."""

    def show(self, tenant: str, *, hours: int | None = None) -> Object:
        """Return what Claude's prompt cache saved."""
        return self._get(path(f"{_V1}/prompts", tenant), hours=hours)

    def prefixes(
        self,
        tenant: str,
        *,
        model: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Object:
        """Return a page of prefixes, and whether a mark pays."""
        where = path(f"{_V1}/prompts", tenant, "prefixes")
        return self._get(where, model=model, limit=limit, cursor=cursor)

    def fragments(self, tenant: str) -> Object:
        """Return what keeps prompts apart."""
        return self._get(path(f"{_V1}/prompts", tenant, "fragments"))

    def versions(self, tenant: str) -> Object:
        """Return the versions of system prompts."""
        return self._get(path(f"{_V1}/prompts", tenant, "versions"))

    def carry_over(
        self,
        tenant: str,
        old: str,
        new: str,
        *,
        namespace: str | None = None,
        entries: Sequence[str] | None = None,
        dry_run: bool | None = None,
    ) -> Object:
        """Keep answers of a version of a system prompt for another; both by their ids.

        `entries`: only these.
        """
        options = {"namespace": namespace, "entries": entries, "dry_run": dry_run}
        given = {name: value for name, value in options.items() if value is not None}
        body = {"from": old, "to": new, **given}
        return self._post(path(f"{_V1}/prompts", tenant, "carry-over"), body)


class Routing(Calls[Object, Text]):
    """Routing rules, trials of cheaper models, gold sets."""

    def rules(self, tenant: str) -> Object:
        """Return the rules in force, and where each comes from."""
        return self._get(path(f"{_V1}/routing", tenant))

    def what_if(self, tenant: str, routing: Mapping[str, Any], *, limit: int = 1_000) -> Object:
        """Replay the calls of the day under other rules."""
        body = {"routing": routing, "limit": limit}
        return self._compute(path(f"{_V1}/routing", tenant, "what-if"), body)

    def trials(self, tenant: str) -> Object:
        """Return what trials of cheaper models have shown."""
        return self._get(path(f"{_V1}/routing", tenant, "trials"))

    def threshold(
        self, tenant: str, *, task: str, tier: str, min_agreement: float | None
    ) -> Object:
        """Set the agreement that a tier has to show for a task; None: the default."""
        body = {"task": task, "tier": tier, "min_agreement": min_agreement}
        return self._put(path(f"{_V1}/routing", tenant, "thresholds"), body)

    def gold(self, tenant: str, task: str) -> Object:
        """Return a gold set and its last run."""
        return self._get(path(f"{_V1}/routing", tenant, "gold", task))

    def put_gold(self, tenant: str, task: str, lines: bytes) -> Object:
        """Upload a gold set as JSON lines."""
        return self._ask(Call("PUT", path(f"{_V1}/routing", tenant, "gold", task), lines, LINES))

    def run_gold(self, tenant: str, task: str, *, tier: str) -> Object:
        """Ask a gold set's questions now."""
        return self._post(path(f"{_V1}/routing", tenant, "gold", task, "run"), {"tier": tier})

    def remove_gold(self, tenant: str, task: str) -> Object:
        """Remove a gold set."""
        return self._delete(path(f"{_V1}/routing", tenant, "gold", task))


class Work(Calls[Object, Text]):
    """Jobs, batches and conversations of all tenants."""

    def jobs(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        status: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Object:
        """Return a page of jobs and batches."""
        chosen = {"tenant": tenant, "kind": kind, "status": status}
        return self._get(f"{_V1}/jobs", **chosen, limit=limit, cursor=cursor)

    def job(self, tenant: str, id: str) -> Object:
        """Return a job, with what its ended items cost and saved."""
        return self._get(path(f"{_V1}/jobs", tenant, id))

    def cancel(self, tenant: str, id: str) -> Object:
        """Cancel a job or a batch."""
        return self._delete(path(f"{_V1}/jobs", tenant, id))

    def conversations(
        self, *, tenant: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Object:
        """Return a page of conversations, without their turns."""
        return self._get(f"{_V1}/conversations", tenant=tenant, limit=limit, cursor=cursor)

    def batch_eligible(self, *, tenant: str | None = None) -> Object:
        """Return traffic that could have waited, for half the price."""
        return self._get(f"{_V1}/batch-eligible", tenant=tenant)


class Transfer(Calls[Object, Text]):
    """Stored answers and labels, exported and imported in pages."""

    def export(self, tenant: str, *, cursor: str | None = None) -> Object:
        """Return a page of a tenant's labels and entries, for an import elsewhere."""
        return self._get(path(f"{_V1}/exports", tenant), cursor=cursor)

    def begin(
        self,
        tenant: str,
        *,
        kind: Literal["answers", "calls", "export"] | None = None,
        request: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        tags: Sequence[str] | None = None,
        ttl_s: int | None = None,
        curated: bool | None = None,
        exported_from: str | None = None,
        replace: bool | None = None,
    ) -> Object:
        """Begin an import of answers to `request`, of past calls, or of an export.

        `source` is the name that people know it by; `exported_from` the tenant of an export;
        `replace`: also what an operator curated by hand.
        """
        options = {
            "kind": kind,
            "request": request,
            "headers": headers,
            "source": source,
            "tags": tags,
            "ttl_s": ttl_s,
            "curated": curated,
            "exported_from": exported_from,
            "replace": replace,
        }
        refuse_strings(options)
        given = {name: value for name, value in options.items() if value is not None}
        return self._post(f"{_V1}/imports", {"tenant": tenant, **given})

    def records(
        self,
        tenant: str,
        id: str,
        records: Sequence[Mapping[str, Any]],
        *,
        first: int = 0,
        last: bool = False,
        request: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Object:
        """Import records in order; `first` is how many came before, `last`: no others follow.

        `request` and `headers` are those that the import began with: it keeps no prompt.
        """
        asked = {"request": request, "headers": headers}
        given = {name: value for name, value in asked.items() if value is not None}
        body = {**given, "records": list(records), "first": first, "last": last}
        return self._post(path(f"{_V1}/imports", tenant, id, "records"), body)

    def list(self, tenant: str) -> Object:
        """Return the imports of a tenant, the newest first."""
        return self._get(path(f"{_V1}/imports", tenant))

    def show(self, tenant: str, id: str) -> Object:
        """Return an import, and how far it is."""
        return self._get(path(f"{_V1}/imports", tenant, id))

    def undo(self, tenant: str, id: str) -> Object:
        """Remove what an import stored."""
        return self._delete(path(f"{_V1}/imports", tenant, id))


class SampleTraffic(Calls[Object, Text]):
    """Sample traffic, to try the admin page with."""

    def show(self) -> Object:
        """Return how far it is."""
        return self._get(f"{_V1}/sample-traffic")

    def start(self) -> Object:
        """Replay it; only into a server that answers with the simulated Claude."""
        return self._post(f"{_V1}/sample-traffic")

    def remove(self) -> Object:
        """Stop it, and remove what it left."""
        return self._delete(f"{_V1}/sample-traffic")
