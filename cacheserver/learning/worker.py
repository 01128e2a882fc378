"""What is learned off the request path: answer groups, labels from misses, audits, shadow labels.

Rule: nobody waits for it. A queue that is full drops work and counts it; a job that fails is
counted; none of them can touch an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from cacheserver import jsontext, sse
from cacheserver.errors import StoreError, UpstreamError
from cacheserver.flight import end
from cacheserver.learning.answers import Answers, beside, group_of, same, text_of
from cacheserver.learning.judging import Judge
from cacheserver.learning.states import States
from cacheserver.policy import admission, corroboration
from cacheserver.policy.calibrate import Label, Source
from cacheserver.ports import Claude, Groups, Journal, Metrics, Pricer, Spent, untold
from cacheserver.stores.labels import Labels
from cacheserver.types import Candidate, Entry, Miss, Query
from cacheserver.upstream import Call

logger = logging.getLogger(__name__)

_QUEUE = 1_000  # jobs; each holds a question, its answer and up to five others
_COMPARED = 5  # nearest answers a fresh one is held against; each was embedded when it came
_DAY_S = 86_400
_GROUP_S = 30 * _DAY_S  # how long a group's past is known: as long as an answer may be kept
SHADOW = "shadow"  # the window, no scope's, of what would have been served in shadow mode


@dataclass(frozen=True, slots=True)
class Missed:
    """A question was asked of Claude although stored ones came near."""

    query: Query
    decision: Miss
    entry: Entry  # the fresh answer, as stored


@dataclass(frozen=True, slots=True)
class Audit:
    """A hit that is asked again, to see whether it was right."""

    query: Query
    hit: Candidate
    share: float  # of such hits that are


Job: TypeAlias = Missed | Audit


class Worker:
    """Takes jobs one after the other, in the background from `start` to `close`."""

    def __init__(
        self,
        *,
        answers: Answers,
        states: States,
        labels: Labels,
        groups: Groups,
        claude: Claude,
        pricer: Pricer,
        journal: Journal,
        metrics: Metrics,
        clock: Callable[[], float],
        audit_cap: int,  # nanodollars a day and tenant
        judge: Judge | None = None,  # None: what embeddings leave undecided stays so
        spent: Spent = untold,
    ) -> None:
        self._spent = spent
        self._answers = answers
        self._states = states
        self._labels = labels
        self._groups = groups
        self._claude = claude
        self._pricer = pricer
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._audit_cap = audit_cap
        self._judge = judge
        self._alone: Counter[str] = Counter()  # by tenant, for the next row of its shadow window
        self._queue: asyncio.Queue[Job] = asyncio.Queue(_QUEUE)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="learning")

    async def close(self) -> None:
        """Stop; what waits is forgotten, and was only a chance to learn."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def idle(self) -> None:
        """Return once all that was given so far is done."""
        await self._queue.join()

    def missed(self, query: Query, decision: Miss, entry: Entry) -> None:
        """A miss was answered; its neighbours' answers are held against the fresh one."""
        if query.tenant.shadow and not decision.neighbours:
            self._alone[query.tenant.name] += 1
        if entry.made_up and not query.tenant.shadow:
            return
        # Where a threshold was set by hand nothing is learned, unless the tenant asks for it.
        asks = query.tenant.shadow or query.tenant.corroborate
        wanted = decision.level is not None or asks
        if wanted and decision.neighbours and query.credential is None:
            self._put(Missed(query, decision, entry))

    def audit(self, query: Query, hit: Candidate, share: float) -> None:
        """Ask again, in the background, what `hit` answered."""
        if not hit.entry.made_up:
            self._put(Audit(query, hit, share))

    def _put(self, job: Job) -> None:
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull:
            self._metrics.dropped("learning")

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                await self._do(job)
            except (StoreError, UpstreamError):
                self._metrics.swallowed("learning")
            except Exception as error:  # the task boundary: the next job has its chance
                self._metrics.swallowed("learning")
                logger.error("learning failed: %s", type(error).__name__)
            finally:
                self._queue.task_done()

    async def _do(self, job: Job) -> None:
        match job:
            case Missed():
                await self._learn_from_miss(job)
            case Audit():
                await self._audit(job)

    async def _learn_from_miss(self, job: Missed) -> None:
        nearest = job.decision.likeliest
        near = list(job.decision.neighbours[:_COMPARED])
        if nearest is not None and all(c.entry.id != nearest.entry.id for c in near):
            near.append(nearest)
        near = [c for c in near if not (c.entry.made_up or job.entry.made_up)]
        fresh, *stored = await self._answers.recall([job.entry, *(c.entry for c in near)])
        if fresh is None:
            self._alone[job.query.tenant.name] += job.query.tenant.shadow
            return
        found = {
            c.entry.id: beside(fresh, said, _group(c))
            for c, said in zip(near, stored, strict=True)
            if said is not None
        }
        group = group_of(fresh, list(found.values()))
        # A group is joined on less than is sure, so each answer that agrees is asked for by itself.
        agreeing = [
            c.entry for c in near if c.entry.id in found and same(fresh, [found[c.entry.id]])
        ]
        right, weight = None, 1.0
        if nearest is not None and nearest.entry.id in found:
            mine = [one for one in found.values() if one.grouped.group == _group(nearest)]
            right = same(fresh, mine)
            if right is None:
                right, weight = await self._judged(job.query, nearest, job.entry.message)
                if right:
                    agreeing.append(nearest.entry)
                if right and group is None:
                    group = _group(nearest)
                elif right is False and group == _group(nearest):
                    group = None
        if group is not None:
            await self._groups.set_group(job.entry, group)
        if job.query.tenant.corroborate:
            for entry in corroboration.corroborated(job.entry, agreeing):
                await self._groups.corroborate(entry)
        if nearest is None:
            return
        served = job.decision.reason == "shadow"
        if right is not None:
            await self._label(job.query, nearest, right, "miss", weight=weight, served=served)
        if job.query.tenant.shadow:
            await self._note_shadow(job, nearest, right, served=served)

    async def _judged(
        self, query: Query, stored: Candidate, message: bytes
    ) -> tuple[bool | None, float]:
        """What Claude says of two answers, and how many such pairs that stands for."""
        if self._judge is None:
            return None, 1.0
        tenant, question = query.tenant.name, query.text or ""
        one, other = text_of(stored.entry.message), text_of(message)
        return await self._judge.same(tenant, question, one, other), 1 / self._judge.share

    async def _note_shadow(
        self, job: Missed, nearest: Candidate, right: bool | None, *, served: bool
    ) -> None:
        """Keep what would have come of it; `right` None where that could not be told."""
        tenant = job.query.tenant.name
        row = {
            "served": served,
            "right": right,
            "similarity": nearest.similarity,
            "probability": nearest.probability,
            "veto": nearest.veto,
            "supported": nearest.supported,
            "saved": nearest.entry.cost or 0,
            "scope": job.query.scope,
            "namespace": job.query.controls.namespace,
            "alone": self._alone.pop(tenant, 0),  # questions before it that nothing came near
        }
        await self._labels.add(tenant, SHADOW, row)

    async def _audit(self, job: Audit) -> None:
        """Ask Claude again, within the day's cap, and learn whether the hit was right."""
        tenant, now = job.query.tenant.name, self._clock()
        expected = 2 * (job.hit.entry.cost or 0)
        if not await self._labels.spend(
            tenant, "audit", expected, cap=self._audit_cap, period_s=_DAY_S, now=now
        ):
            self._metrics.swallowed("audit-cap")
            return
        body = jsontext.dumps({**job.query.body, "model": job.hit.entry.model, "stream": False})
        try:
            reply = await self._claude.create(Call(body, job.query.headers, tenant=tenant))
        except UpstreamError:
            await self._labels.refund(tenant, "audit", expected, period_s=_DAY_S, now=now)
            raise
        message = jsontext.loads(reply.body)
        bill = self._pricer.bill(message, now)
        cost = 0 if bill is None else bill.cost
        self._spent("audit", tenant, message, now)
        if cost < expected:
            await self._labels.refund(tenant, "audit", expected - cost, period_s=_DAY_S, now=now)
        # Counted first: what was paid is paid, whatever becomes of the comparison.
        self._journal.count(tenant, {"audits": 1, "audit_cost_nanodollars": cost})
        if admission.unstorable(message) is not None or admission.made_up(message):
            return
        right, weight = await self._same(job, sse.without_id(message))
        if right is None:
            return
        self._journal.count(tenant, {"audits_right" if right else "audits_wrong": 1})
        weight /= job.share
        await self._label(job.query, job.hit, right, "audit", weight=weight, served=True)
        if right:
            await self._count_past(tenant, job.hit.entry.id, _group(job.hit), right=True)
        else:
            await self.condemn(tenant, job.query.fingerprint, job.hit, once=None)

    async def _same(self, job: Audit, message: bytes) -> tuple[bool | None, float]:
        """Whether a fresh answer says what the hit's did, and how many such that stands for."""
        fresh = await self._answers.read(message)
        (stored,) = await self._answers.recall([job.hit.entry])
        if fresh is None or stored is None:
            return None, 1.0
        right = same(fresh, [beside(fresh, stored, _group(job.hit))])
        return (
            (right, 1.0) if right is not None else await self._judged(job.query, job.hit, message)
        )

    async def condemn(
        self, tenant: str, question: str, candidate: Candidate, *, once: str | None
    ) -> None:
        """Never serve the candidate's entry for that question again, and raise its bar, and its
        group's, for all others.
        """
        entry = candidate.entry
        life_s = max(1, round(entry.expires_at - self._clock()) + 1)
        await self._labels.tombstone(tenant, question, entry.id, life_s=life_s)
        await self._count_past(tenant, entry.id, _group(candidate), right=False, once=once)

    async def _count_past(
        self, tenant: str, entry_id: str, group: str, *, right: bool, once: str | None = None
    ) -> None:
        """Add to what became of an entry's hits, and of its group's."""
        yes, no = float(right), float(not right)
        await self._labels.adjust(tenant, entry_id, wrong=no, right=yes, once=once)
        # A group is named by its first entry: told apart, or one of the two would count for both.
        told = None if once is None else f"group:{once}"
        await self._labels.adjust(tenant, group, wrong=no, right=yes, life_s=_GROUP_S, once=told)

    async def _label(
        self,
        query: Query,
        candidate: Candidate,
        right: bool,
        source: Source,
        *,
        weight: float = 1.0,
        served: bool,
    ) -> None:
        if candidate.evidence is None:
            return  # decided by a threshold set by hand: nothing to calibrate
        label = Label(
            evidence=candidate.evidence,
            right=right,
            weight=weight,
            source=source,
            served=served,
            embedder=self._states.embedder,
            verifier=self._states.verifier,
            adjustment=candidate.adjustment,
        )
        await self._states.learn(query.tenant.name, query.scope, label)


def _group(candidate: Candidate) -> str:
    return candidate.group or candidate.entry.id
