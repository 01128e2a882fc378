"""Feedback: a verdict "bad" counts at once, "good" on a semantic hit waits for a review.

Rule: callers only tighten. Only audits, labels from misses and admins can raise a probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cacheserver.cache.ports import DecisionLog
from cacheserver.cache.store.entries import Entries
from cacheserver.calibration.review.review_store import ReviewQueue
from cacheserver.calibration.states import States
from cacheserver.calibration.worker import Worker
from cacheserver.core.errors import BadRequest, NotFound
from cacheserver.core.evidence import read_evidence
from cacheserver.core.keyed_digests import NO_CONTENT
from cacheserver.core.types import FIRST_EMBEDDER, Candidate, Entry, Tenant
from cacheserver.matching.calibration import Label, Source

_FIELDS = frozenset({"decision_id", "entry_id", "verdict"})


class Feedback:
    """Takes verdicts on answers, by the id of the decision or of the entry."""

    def __init__(
        self,
        *,
        entries: Entries,
        decision_log: DecisionLog,
        states: States,
        worker: Worker,
        reviews: ReviewQueue,
    ) -> None:
        self._entries = entries
        self._journal = decision_log
        self._states = states
        self._worker = worker
        self._reviews = reviews

    async def give(self, whose: Tenant, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Take one verdict: `verdict` is `bad` or `good`, with a `decision_id` or an `entry_id`.

        Raises `BadRequest` naming the field, `NotFound` if the tenant has no such decision or
        entry.
        """
        tenant = whose.name
        verdict, decision_id, entry_id = _read(fields)
        record: Mapping[str, Any] | None = None
        if decision_id is not None:
            record = await self._journal.decision(tenant, decision_id)
            if record is None or record.get("entry_id") is None:
                raise NotFound("no decision of yours with an answer in the cache has this id")
            entry_id = record["entry_id"]
        entry = await self._entries.by_id(tenant, entry_id or "")
        if entry is None:
            raise NotFound("no stored answer of yours has this id; it may have gone already")
        if verdict == "good":
            if whose.no_content:  # a reviewer would have to read the two questions
                self._journal.count(tenant, {"feedback_good": 1})
                done = {"done": "not queued for review", "reason": NO_CONTENT}
                return {"verdict": "good", "entry_id": entry.id, **done}
            return await self._for_review(tenant, entry, record)
        self._journal.count(tenant, {"feedback_bad": 1})
        if record is None or record["decision"]["kind"] != "semantic":
            await self._entries.purge_id(tenant, entry.id)  # no decision: the answer itself was bad
            return {"verdict": "bad", "entry_id": entry.id, "done": "evicted"}
        (stored,) = await self._entries.grouped([(entry.fingerprint, entry.id)])
        hit = Candidate(
            entry, record["decision"]["similarity"], "" if stored is None else stored.group
        )
        await self._worker.condemn(tenant, record["fingerprint"], hit, once=decision_id)
        if entry.origin != "own":  # an answer that was put teaches nothing about Claude's
            await self._negative(tenant, record, source="feedback")
        await self._entries.hot.confirm()  # replicas have it, also where nothing was learned
        return {"verdict": "bad", "entry_id": entry.id, "done": "tombstoned"}

    async def _for_review(
        self, tenant: str, entry: Entry, record: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        self._journal.count(tenant, {"feedback_good": 1})
        # The evidence of a miss is that of the nearest entry, not of what the caller was given.
        decided = None if record is None else record["decision"]["kind"]
        if record is None or decided != "semantic" or entry.origin == "own":
            return {"verdict": "good", "entry_id": entry.id, "done": "counted"}
        decision = record["decision"]
        item: dict[str, Any] = {
            "query_a": entry.text,
            "query_b": record.get("asked"),
            "entry_id": entry.id,
            "decision_id": record["id"],
            "verdict": "good",
            "marks": _marks(entry, record),
            "scope": record["scope"],
            "served": {
                "fingerprint": record["fingerprint"],
                "similarity": decision["similarity"],
            },
        }
        if decision.get("evidence") is not None:
            # Needed for the label after the review: the decision's record has expired by then.
            item["decided"] = {
                "evidence": decision["evidence"],
                "scope": record["scope"],
                "caller": record.get("caller", ""),
                "namespace": record.get("namespace"),
                "fingerprint": record["fingerprint"],
                "embedder": record.get("embedder", FIRST_EMBEDDER),
            }
        await self._reviews.put(tenant, item, once=record["id"])
        return {"verdict": "good", "entry_id": entry.id, "done": "queued for review"}

    async def _negative(self, tenant: str, record: Mapping[str, Any], *, source: Source) -> None:
        evidence = record["decision"].get("evidence")
        if evidence is None:
            return  # decided by a threshold: no probability to correct
        label = Label(
            evidence=read_evidence(evidence),
            right=False,
            weight=1.0,
            source=source,
            served=True,
            embedder=record.get("embedder", FIRST_EMBEDDER),
            caller=record.get("caller", ""),
            namespace=record.get("namespace"),
        )
        await self._states.learn(tenant, record["scope"], label, once=record["id"])


def _marks(entry: Entry, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the marks by which erasure finds the two questions of an item."""
    of_entry = {
        "namespace": entry.namespace,
        "tags": entry.tags,
        "actor": entry.actor,
        "conversation": entry.conversation,
    }
    return [of_entry, {one: record.get(one) for one in of_entry}]


def _read(fields: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    if unknown := fields.keys() - _FIELDS:
        raise BadRequest(min(unknown)[:64], "is not known here")
    verdict = fields.get("verdict")
    if verdict not in ("good", "bad"):
        raise BadRequest("verdict", "must be `good` or `bad`")
    ids = {name: fields.get(name) for name in ("decision_id", "entry_id")}
    given = [name for name, value in ids.items() if value is not None]
    if len(given) != 1:
        raise BadRequest("decision_id", "give a `decision_id` or an `entry_id`")
    if not isinstance(ids[given[0]], str):
        raise BadRequest(given[0], "must be a string")
    return verdict, ids["decision_id"], ids["entry_id"]
