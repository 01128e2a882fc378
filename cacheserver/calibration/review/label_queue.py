"""Queue of the pairs that the system is least sure of, and what a person says of them.

A pair is a question of the last day with the stored one that was served or came nearest, or an
answer that a caller called good. The nearer its probability was to the bar, the earlier it comes.

Rule: a person's label passes the same admission as any other (`label_intake`), as one of the caller
who asked; its effects are noted before they are made, so that each counts once and can be undone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Protocol

from cacheserver.cache.store.entries import Entries
from cacheserver.calibration.answers.reader import text_of
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.past_decisions import Decisions
from cacheserver.calibration.review.admin_labels import AdminLabel, AdminLabels, Verdict, digest_of
from cacheserver.calibration.review.review_store import ReviewQueue
from cacheserver.calibration.states import States
from cacheserver.calibration.worker import Worker
from cacheserver.core.errors import BadRequest, NotFound
from cacheserver.core.evidence import read_evidence
from cacheserver.core.types import FIRST_EMBEDDER, Candidate, Entry
from cacheserver.matching.calibration import Label

_PAGE = 200  # items for review read at once
_UNKNOWN = 1.0  # distance of a pair that no bar decided: behind all others


@dataclass(frozen=True, slots=True)
class Pair:
    """Two questions; does the answer of the stored one serve the one that was asked?"""

    id: str
    at: float | None  # None: of a caller's verdict
    scope: str
    namespace: str | None
    query_a: str  # the stored one
    query_b: str
    entry: str
    fingerprint: str
    decision: str | None
    served: bool
    similarity: float
    probability: float | None
    bar: float | None  # the probability or similarity that had to be reached
    distance: float  # from the bar
    good: bool = False  # a caller called the answer good
    decided: Mapping[str, Any] | None = None  # evidence, embedder, caller; None: by a threshold

    @property
    def digest(self) -> str:
        return digest_of(self.fingerprint, self.entry)


class DecisionReader(Decisions, Protocol):
    async def decision(self, tenant: str, decision_id: str) -> dict[str, Any] | None:
        """Return a decision of the tenant's last day."""


class LabelQueue:
    """Pairs to label, by tenant."""

    def __init__(
        self,
        *,
        decisions: DecisionReader,
        entries: Entries,
        labels: Labels,
        given: AdminLabels,
        reviews: ReviewQueue,
        states: States,
        worker: Worker,
        count: Callable[[str, Mapping[str, int]], object],
        clock: Callable[[], float],
    ) -> None:
        self._decisions = decisions
        self._entries = entries
        self._labels = labels
        self._given = given
        self._reviews = reviews
        self._states = states
        self._worker = worker
        self._count = count
        self._clock = clock

    async def page(
        self, tenant: str, *, scope: str | None, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        """Return the pairs without a label, the least sure first, each with the stored answer.

        Raises `BadRequest` for an invalid cursor.
        """
        after = _after(cursor)
        pairs = await self.pairs(tenant)
        given = await self._given.of(tenant, [one.digest for one in pairs])
        left = [
            one
            for one in pairs
            if (scope is None or one.scope == scope)
            and not ((label := given.get(one.digest)) is not None and label.done)
            and (after is None or (one.distance, one.id) > after)
        ]
        items: list[dict[str, Any]] = []
        last: Pair | None = None
        while left and len(items) < limit:  # an answer that is gone cannot be judged
            some, left = left[: limit - len(items)], left[limit - len(items) :]
            found = await asyncio.gather(*(self._entries.by_id(tenant, one.entry) for one in some))
            items += [
                shown(one, entry)
                for one, entry in zip(some, found, strict=True)
                if entry is not None
            ]
            last = some[-1]
        more = last if left else None
        return {"items": items, "next": None if more is None else f"{more.distance!r}:{more.id}"}

    async def pairs(self, tenant: str) -> list[Pair]:
        """Return all pairs, labelled or not, the least sure first; none twice."""
        found: dict[str, Pair] = {}
        for record in await self._decisions.near(tenant):  # newest first
            pair = read_pair(record) if self._states.made(record) else None
            if pair is not None:
                found.setdefault(pair.digest, pair)
        async for item_id, item in self._items(tenant):
            if (pair := read_review(item_id, item)) is None:
                continue
            if (same := found.get(pair.digest)) is not None:
                pair = replace(same, id=pair.id, good=True)
            found[pair.digest] = pair
        return sorted(found.values(), key=lambda pair: (pair.distance, pair.id))

    async def give(
        self, tenant: str, pair_id: str, verdict: Verdict, *, who: str
    ) -> dict[str, Any]:
        """Take a verdict on a pair; another one than before replaces it.

        Raises `NotFound` if the tenant has no such pair.
        """
        return await self.label(tenant, await self._pair(tenant, pair_id), verdict, who=who)

    async def label(self, tenant: str, pair: Pair, verdict: Verdict, *, who: str) -> dict[str, Any]:
        """Label a pair; what it changed is in the reply."""
        before = (await self._given.of(tenant, [pair.digest])).get(pair.digest)
        if before is not None and before.verdict != verdict:
            await self._take_back(tenant, await self._done(tenant, pair, before))
        begun = await self._given.begin(
            tenant,
            AdminLabel(
                nonce=secrets.token_hex(8),
                pair=pair.id,
                verdict=verdict,
                at=self._clock(),
                who=who,
                scope=pair.scope,
                fingerprint=pair.fingerprint,
                entry=pair.entry,
                condemned=verdict == "no" and not await self._condemned(tenant, pair),
            ),
        )
        done = await self._done(tenant, pair, begun)
        return told(done, evidence=pair.decided is not None)

    async def undo(self, tenant: str, pair_id: str | None) -> dict[str, Any]:
        """Take back the last label, or that of a pair. Raises `NotFound` if there is none."""
        if pair_id is None:
            last = await self._given.last(tenant)
        else:
            pair = await self._pair(tenant, pair_id)
            last = (await self._given.of(tenant, [pair.digest])).get(pair.digest)
            last = None if last is None else await self._done(tenant, pair, last)
        if last is None:
            raise NotFound("no label of a person is left to undo here")
        await self._take_back(tenant, last)
        return {"pair": last.pair, "undone": last.verdict, "scope": last.scope, "by": last.who}

    async def _done(self, tenant: str, pair: Pair, given: AdminLabel) -> AdminLabel:
        """Make the effects of a label, also of one that failed half-way: each counts once."""
        if given.done:
            return given
        if given.verdict == "no":
            given = await self._condemn(tenant, pair, given)
        if given.verdict != "skip":
            given = replace(given, label=await self._learn(tenant, pair, given))
        given = replace(given, done=True)
        await self._given.put(tenant, given)
        self._count(tenant, {"reviewed": 1})
        return given

    async def _condemned(self, tenant: str, pair: Pair) -> bool:
        """Return whether the answer is refused to the question already."""
        past = await self._labels.past(tenant, pair.fingerprint, [(pair.entry, pair.entry)])
        return past[pair.entry].condemned

    async def _learn(self, tenant: str, pair: Pair, given: AdminLabel) -> str | None:
        """Add the label to its scope's; return its id, or None if it does not count."""
        if (decided := pair.decided) is None:
            return None  # by a threshold: there is no probability to correct
        label = Label(
            evidence=read_evidence(decided["evidence"]),
            right=given.verdict == "yes",
            weight=1.0,
            source="admin",
            served=pair.served,
            embedder=decided["embedder"],
            caller=decided.get("caller", ""),
            namespace=pair.namespace,
        )
        return await self._states.learn(tenant, pair.scope, label, once=f"admin:{given.nonce}")

    async def _condemn(self, tenant: str, pair: Pair, given: AdminLabel) -> AdminLabel:
        """Never serve the entry for that question again; a hit counts against the entry, too."""
        entry = await self._entries.by_id(tenant, pair.entry)
        if entry is None:
            return given  # it cannot be served again
        (stored,) = await self._entries.grouped([(entry.fingerprint, entry.id)])
        group = "" if stored is None else stored.group
        candidate = Candidate(entry, pair.similarity, group)
        once = f"admin:{given.nonce}"
        await self._worker.condemn(
            tenant, pair.fingerprint, candidate, once=once, served=pair.served, by=given.nonce
        )
        return replace(given, blamed=pair.served, group=group or entry.id)

    async def _take_back(self, tenant: str, given: AdminLabel) -> None:
        if given.label is not None:
            await self._states.retract(tenant, given.scope, given.label)
        if given.condemned:
            await self._labels.tombstones.remove(
                tenant, given.fingerprint, given.entry, by=given.nonce
            )
        if given.blamed:
            await self._worker.exonerate(
                tenant, given.entry, given.group, once=f"undo:{given.nonce}"
            )
        await self._given.remove(tenant, given)

    async def _pair(self, tenant: str, pair_id: str) -> Pair:
        decision_id, mark, entry = pair_id.partition(":")
        pair: Pair | None = None
        if mark:
            record = await self._decisions.decision(tenant, decision_id)
            pair = None if record is None else read_pair(record, entry)
        elif pair_id.isdecimal() and len(pair_id) == 16:
            before = f"{max(0, int(pair_id) - 1):016d}"
            found = await self._reviews.items(tenant, after=before, limit=1)
            pair = next((read_review(*one) for one in found if one[0] == pair_id), None)
        if pair is None:
            raise NotFound("no pair of this tenant has this id; those of decisions last a day")
        return pair

    async def _items(self, tenant: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        after: str | None = None
        while page := await self._reviews.items(tenant, after=after, limit=_PAGE):
            for one in page:
                yield one
            after = page[-1][0]


def read_pair(record: Mapping[str, Any], entry: str | None = None) -> Pair | None:
    """Return the pair of a decision; None if it has none to be labelled.

    Of a hit it is the served one, of a miss the likeliest without a veto, or the given `entry`.
    """
    shown, asked = record.get("decision") or {}, record.get("asked")
    if asked is None or shown.get("kind") not in ("semantic", "miss"):
        return None
    served = shown.get("candidate") if shown["kind"] == "semantic" else None
    rows = [
        row
        for row in shown.get("candidates", ())
        if row["question"] is not None and row["veto"] is None
    ]
    wanted = entry or served
    if wanted is not None:
        rows = [row for row in rows if row["entry"] == wanted]
    row = max(rows, key=_likelihood, default=None)
    if row is None:
        return None
    evidence, bar = row.get("evidence"), shown.get("bar")
    reached = row["similarity"] - row["penalty"] if "basis" not in shown else row["probability"]
    decided = None
    if evidence is not None and row["probability"] is not None:
        decided = {
            "evidence": evidence,
            "embedder": record.get("embedder", FIRST_EMBEDDER),
            "caller": record.get("caller", ""),
        }
    return Pair(
        id=f"{record['id']}:{row['entry']}",
        at=record["at"],
        scope=record["scope"],
        namespace=record.get("namespace"),
        query_a=row["question"],
        query_b=asked,
        entry=row["entry"],
        fingerprint=record["fingerprint"],
        decision=record["id"],
        served=row["entry"] == served,
        similarity=row["similarity"],
        probability=row["probability"],
        bar=bar,
        distance=_UNKNOWN if None in (bar, reached) else round(abs(reached - bar), 6),
        decided=decided,
    )


def _likelihood(row: Mapping[str, Any]) -> tuple[float, float]:
    probability = row["probability"]
    return (-1.0 if probability is None else probability, row["similarity"])


def read_review(item_id: str, item: Mapping[str, Any]) -> Pair | None:
    """Return the pair of an answer that a caller called good; None if it was no semantic hit."""
    decided = item.get("decided")
    served = item.get("served")
    if served is None and decided is not None:  # queued by an earlier version
        served = {
            "fingerprint": decided["fingerprint"],
            "similarity": decided["evidence"]["cosine"],
        }
    if served is None or item.get("query_b") is None:
        return None
    found = decided or {}
    return Pair(
        id=item_id,
        at=None,
        scope=found.get("scope", item.get("scope", "")),
        namespace=found.get("namespace"),
        query_a=item["query_a"],
        query_b=item["query_b"],
        entry=item["entry_id"],
        fingerprint=served["fingerprint"],
        decision=item.get("decision_id"),
        served=True,
        similarity=served["similarity"],
        probability=found.get("evidence", {}).get("told"),
        bar=None,
        distance=_UNKNOWN,
        good=True,
        decided=decided,
    )


def shown(pair: Pair, entry: Entry) -> dict[str, Any]:
    """Return a pair as the queue shows it."""
    return {
        "pair": pair.id,
        "at": pair.at,
        "scope": pair.scope,
        "query_a": pair.query_a,
        "query_b": pair.query_b,
        "answer": text_of(entry.message),
        "model": entry.model,
        "entry_id": pair.entry,
        "decision_id": pair.decision,
        "served": pair.served,
        "called_good": pair.good,
        "similarity": pair.similarity,
        "probability": pair.probability,
        "bar": pair.bar,
        "counts": pair.decided is not None,
    }


def told(given: AdminLabel, *, evidence: bool) -> dict[str, Any]:
    """Return what a label changed."""
    reason = None
    if given.verdict != "skip" and given.label is None:
        reason = "caller-share" if evidence else "threshold"
    return {
        "pair": given.pair,
        "verdict": given.verdict,
        "scope": given.scope,
        "counted": given.label is not None,
        "reason": reason,
        "condemned": given.verdict == "no",
    }


def _after(cursor: str | None) -> tuple[float, str] | None:
    """Read a cursor: distance and id of the last pair of the previous page."""
    if cursor is None:
        return None
    distance, mark, pair_id = cursor.partition(":")
    try:
        found = float(distance)
    except ValueError:
        mark = ""
        found = 0.0
    if not mark or not isfinite(found):
        raise BadRequest("cursor", "must be the `next` of the page before")
    return found, pair_id
