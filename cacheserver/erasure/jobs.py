"""Erasure of jobs: whole jobs, and single items of a batch with questions of many people.

Rule: an erased item has a line in the results that says so, and a call to Claude in flight is still
recorded in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from typing import Any, Final

from cacheserver.batches.jobs import RESULTS, Job, Jobs, packed, place_name, sealed_controls
from cacheserver.cache.conversation_mark import conversation_mark
from cacheserver.core import actors, json_text
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.types import Tenant
from cacheserver.erasure import scripts
from cacheserver.erasure.log import Erasure
from cacheserver.erasure.selectors import Selector
from cacheserver.storage.connection import Connection, run_script
from cacheserver.storage.json_values import tenant_key
from cacheserver.storage.sealer import Sealer

_PAGE: Final = 50
_GONE: Final = {
    "type": "errored",
    "error": {"type": "error", "error": {"type": "not_found_error", "message": "erased"}},
}


class ErasedJobs:
    """Eraser of a tenant's jobs. Every method raises `StoreError`."""

    def __init__(self, redis: Connection, *, prefix: str, sealer: Sealer) -> None:
        self.under_way = 0  # jobs that are covered as a whole and are still to be deleted
        self._prefix = prefix
        self._sealer = sealer
        self._jobs = Jobs(redis, prefix=prefix, sealer=sealer)
        self._item = redis.register_script(scripts.ITEM)
        self._whole = redis.register_script(scripts.JOB)
        self._unname = redis.register_script(scripts.UNNAME)

    async def erase(
        self,
        id: str,
        tenant: Tenant,
        erasure: Erasure,
        *,
        now: float,
        decisions: Set[str],
        entries: Set[str],
    ) -> int:
        """Erase the covered items of a job; returns how many."""
        selector = erasure.selector
        job = await self._jobs.find(id)
        if job is None or job.tenant != tenant.name or job.created_at > erasure.at:
            return 0
        whole = job.erased_by == erasure.id or _covered(job, selector, tenant)
        erased = 0
        await self._sealer.ready(tenant.name)
        for start in range(0, job.total, _PAGE):
            places = range(start, min(start + _PAGE, job.total))
            asked = await self._jobs.items(id, places)
            lines = await self._jobs.some(id, places)
            for place, item, line in zip(places, asked, lines, strict=True):
                custom_id, model = None, ""
                if item is not None:
                    custom_id, body = item[0], _object(item[1])
                    model = str(body.get("model") or "")
                    own = _own_actor(body, tenant)
                    found = whole or (own is not None and selector.covers(actor=own))
                elif line is not None:
                    outcome = _object(line)
                    custom_id, cache = outcome.get("custom_id"), outcome.get("cache") or {}
                    if line == _line(custom_id):
                        continue  # it was erased before; sealed anew, it would look another line
                    by_decision = cache.get("decision_id") in decisions
                    own = cache.get("actor")
                    by_actor = isinstance(own, str) and selector.covers(actor=own)
                    found = whole or by_decision or by_actor or cache.get("entry_id") in entries
                else:
                    continue
                if found:
                    name = place_name(id, place)
                    words = (
                        self._sealer.seal(RESULTS, tenant.name, name, _line(custom_id)),
                        packed(self._sealer, tenant.name, name, str(custom_id), _blank(model)),
                    )
                    erased += await run_script(
                        self._item, self._prefix, "", repr(now), id, place, *words
                    )
        if whole and job.status != "ended":
            # It is deleted by a later pass: a worker may be at it now.
            self.under_way += 1
            if erasure.again:  # what it costs is still to be booked, perhaps after that pass
                await self._remove_names(job, erasure)
        elif whole:
            erased = max(
                erased, await run_script(self._whole, self._prefix, "", id, tenant_key(tenant.name))
            )
        return erased

    async def _remove_names(self, job: Job, erasure: Erasure) -> None:
        task = None if erasure.selector.kind == "tenant" else job.controls.task
        sealed = sealed_controls(self._sealer, job, replace(job.controls, tags=(), task=task))
        await run_script(self._unname, self._prefix, job.id, sealed, erasure.id)


def _covered(job: Job, selector: Selector, tenant: Tenant) -> bool:
    """Return whether a job is covered as a whole."""
    controls, talk = job.controls, None
    if job.conversation is not None:
        talk = conversation_mark(controls.namespace, job.conversation)
    return any(
        selector.covers(
            namespace=controls.namespace, tags=controls.tags, actor=actor, conversation=talk
        )
        for actor in (None, *_actors(job, tenant))
    )


def _actors(job: Job, tenant: Tenant) -> Iterator[str]:
    if job.controls.actor is not None:
        yield keyed(tenant, actors.named(tenant.name, job.controls.actor))
    if job.key_id is not None:
        yield keyed(tenant, actors.of_key(tenant.name, job.key_id))


def _own_actor(body: dict[str, Any], tenant: Tenant) -> str | None:
    actor = actors.user_digest(body)
    return None if actor is None else keyed(tenant, actors.named(tenant.name, actor))


def _line(custom_id: object) -> bytes:
    return json_text.dumps({"custom_id": custom_id, "result": _GONE})


def _blank(model: str) -> bytes:
    """Return a request without text, for an answer that is still to be recorded."""
    body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "-"}]}
    return json_text.dumps(body)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json_text.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
