"""What is learned off the request path: answer groups, labels from misses, audits, shadow labels.

Rule: nobody waits for it. A queue that is full drops work and counts it; a job that fails is
counted; none of them can touch an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from cacheserver import jsontext, sse
from cacheserver.errors import StoreError, UpstreamError
from cacheserver.flight import end
from cacheserver.learning.answers import Answers
from cacheserver.learning.states import States
from cacheserver.policy import admission
from cacheserver.policy.calibrate import Label, Source
from cacheserver.ports import Claude, Groups, Journal, Metrics, Pricer
from cacheserver.stores.labels import Labels
from cacheserver.types import Candidate, Entry, Miss, Query
from cacheserver.upstream import Call

logger = logging.getLogger(__name__)

_QUEUE = 1_000  # jobs; each holds a question, its answer and up to five others
_COMPARED = 3  # nearest answers a fresh one is held against; each may cost an embedding
_DAY_S = 86_400
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
    ) -> None:
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
        # Where a threshold was set by hand nothing is learned, unless shadow mode asks for it.
        wanted = decision.level is not None or query.tenant.shadow
        if wanted and decision.neighbours and query.credential is None:
            self._put(Missed(query, decision, entry))

    def audit(self, query: Query, hit: Candidate, share: float) -> None:
        """Ask again, in the background, what `hit` answered."""
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
        neighbours = job.decision.neighbours
        others = [(c.group or c.entry.id, c.entry.message) for c in neighbours[:_COMPARED]]
        group = await self._answers.group(job.entry.message, others)
        if group is not None:
            await self._groups.set_group(job.entry, group)
        nearest = job.decision.nearest
        if nearest is None:
            return
        right = await self._answers.same(job.entry.message, nearest.entry.message)
        if right is None:
            return
        served = job.decision.reason == "shadow"
        await self._label(job.query, nearest, right, "miss", served=served)
        if job.query.tenant.shadow:
            row = {
                "served": served,
                "right": right,
                "similarity": nearest.similarity,
                "probability": nearest.probability,
                "saved": nearest.entry.cost or 0,
            }
            await self._labels.add(job.query.tenant.name, SHADOW, row)

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
            reply = await self._claude.create(Call(body, job.query.headers, None))
        except UpstreamError:
            await self._labels.refund(tenant, "audit", expected, period_s=_DAY_S, now=now)
            raise
        message = jsontext.loads(reply.body)
        bill = self._pricer.bill(message, now)
        cost = 0 if bill is None else bill.cost
        if cost < expected:
            await self._labels.refund(tenant, "audit", expected - cost, period_s=_DAY_S, now=now)
        right = None
        if admission.unstorable(message) is None:
            right = await self._answers.same(sse.without_id(message), job.hit.entry.message)
        deltas = {"audits": 1, "audit_cost_nanodollars": cost}
        if right is not None:
            deltas["audits_right" if right else "audits_wrong"] = 1
            await self._label(job.query, job.hit, right, "audit", weight=1 / job.share, served=True)
            if not right:
                await self.condemn(tenant, job.query.fingerprint, job.hit.entry, once=None)
        self._journal.count(tenant, deltas)

    async def condemn(self, tenant: str, question: str, entry: Entry, *, once: str | None) -> None:
        """Never serve `entry` for that question again, and raise its bar for all others."""
        life_s = max(1, round(entry.expires_at - self._clock()) + 1)
        await self._labels.tombstone(tenant, question, entry.id, life_s=life_s)
        await self._labels.adjust(tenant, entry.id, wrong=1.0, right=0.0, once=once)

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
