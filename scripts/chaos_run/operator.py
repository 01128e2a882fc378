"""Requests beside questions: batches, removals, verdicts, keys, bars."""

from __future__ import annotations

import math
import time

from scripts.chaos_run.caller import OTHER_LIMIT_S, Caller, Tenant
from scripts.chaos_run.history import (
    Batch,
    BatchLookup,
    Closed,
    Exchange,
    Listing,
    Removed,
    Revoked,
)
from scripts.chaos_run.processes import Server
from scripts.chaos_run.reading import moment, results, text_of

ERASE_LIMIT_S = 30.0  # it looks at every key, and waits 20 s for the store's file


class Operator(Caller):
    """A caller who does more than ask."""

    async def send_batch(
        self, tenant: Tenant, namespace: str, questions: dict[str, str], tag: str
    ) -> None:
        """Hand in a batch of questions by custom id."""
        started = time.time()
        items = [
            {"custom_id": id, "params": self._body(tenant, namespace, question)}
            for id, question in questions.items()
        ]
        got = await self.call(
            "POST",
            "/v1/messages/batches",
            key=tenant.key,
            body={"requests": items},
            headers={"x-cache-namespace": namespace, "x-cache-tags": tag},
        )
        if got is not None and got.status_code == 200:
            id = got.json()["id"]
            batch = Batch(started, time.time(), tenant.name, namespace, tag, id, questions)
            self.history.batches.append(batch)

    async def look_at(self, tenant: Tenant, batch: Batch) -> str:
        """Look at a batch and its results; how far it is, or the status where it was not shown."""
        path, started = f"/v1/messages/batches/{batch.id}", time.time()
        got = await self.call("GET", path, key=tenant.key, what="GET /v1/messages/batches/ID")
        status = None if got is None else got.status_code
        if got is None or status != 200:
            self.history.lookups.append(BatchLookup(started, time.time(), batch.id, status))
            return "no answer" if status is None else str(status)
        shown, items = got.json(), {}
        if shown["processing_status"] == "ended":
            what = "GET /v1/messages/batches/ID/results"
            got = await self.call("GET", f"{path}/results", key=tenant.key, what=what)
            if got is not None and got.status_code == 200:
                items = results(got.text)
        ended = moment(shown["ended_at"])
        self.history.lookups.append(BatchLookup(started, time.time(), batch.id, 200, ended, items))
        return str(shown["processing_status"])

    async def hear(self, tenant: Tenant, talk: str, namespace: str) -> bool:
        """Note the turns of a conversation; False where the server could not tell."""
        path = f"/v1/conversations/{talk}?namespace={namespace}"
        got = await self.call("GET", path, key=tenant.key, what="GET /v1/conversations/NAME")
        if got is None or got.status_code not in (200, 404):
            return False
        questions = None
        if got.status_code == 200:
            turns = got.json()["messages"]
            questions = tuple(text_of(t["content"]) for t in turns if t["role"] == "user")
        self.history.listings.append(Listing(time.time(), tenant.name, talk, questions))
        return True

    async def remove(
        self, tenant: Tenant, kind: str, by: str, name: str, *, at: Server | None = None
    ) -> None:
        """Purge or erase by entry, tag or namespace."""
        started = time.time()
        field = "entry_id" if by == "entry" else by
        got = await self.call(
            "POST",
            f"/v1/{kind}",
            key=tenant.key,
            body={field: name},
            limit_s=ERASE_LIMIT_S if kind == "erase" else OTHER_LIMIT_S,
            at=at,
        )
        if got is not None and got.status_code in (400, 401, 403, 404, 405, 429):
            return  # nothing was done
        done = got is not None and got.status_code == 200
        end = time.time() if done else math.inf
        self.history.removed.append(Removed(started, end, tenant.name, kind, by, name))

    async def condemn(self, tenant: Tenant, event: Exchange) -> None:
        """Call an answer bad by its entry: it is forgotten."""
        started = time.time()
        body = {"verdict": "bad", "entry_id": event.entry}
        got = await self.call("POST", "/v1/feedback", key=tenant.key, body=body)
        if got is not None and 400 <= got.status_code < 500:
            return
        done = got is not None and got.status_code == 200 and got.json()["done"] == "evicted"
        end = time.time() if done else math.inf
        assert event.entry is not None
        self.history.removed.append(
            Removed(started, end, tenant.name, "feedback", "entry", event.entry)
        )

    async def create_key(self, tenant: str, *, at: Server | None = None) -> Tenant | None:
        got = await self.call("POST", "/admin/v1/keys", body={"tenant": tenant}, at=at)
        if got is None or got.status_code != 200:
            return None
        made = got.json()
        return Tenant(tenant, made["id"], made["key"])

    async def revoke(self, key_id: str, *, at: Server | None = None) -> None:
        started = time.time()
        path, what = f"/admin/v1/keys/{key_id}", "DELETE /admin/v1/keys/ID"
        got = await self.call("DELETE", path, what=what, at=at)
        end = time.time() if got is not None and got.status_code == 200 else math.inf
        self.history.revoked.append(Revoked(started, end, key_id))

    async def close(
        self, tenant: Tenant, namespace: str, *, closed: bool, at: Server | None = None
    ) -> float | None:
        """Allow only exact hits in a namespace, or any; when that held, None if it is not sure."""
        bar = {"exact_only": True} if closed else {"similarity": 0.95}
        got = await self.call(
            "PUT",
            f"/admin/v1/tenants/{tenant.name}",
            body={"namespace_bars": {namespace: bar}},
            at=at,
        )
        return time.time() if got is not None and got.status_code == 200 else None

    def note_closed(self, start: float, end: float, tenant: Tenant, namespace: str) -> None:
        self.history.closed.append(Closed(start, end, tenant.name, namespace))
