"""Background learning: answer groups, labels from misses, audits, shadow labels.

Rule: no request waits for it. A full queue drops work and counts it; a job that fails is counted;
no job can change an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from cacheserver.cache import corroboration
from cacheserver.cache.ports import DecisionLog, Groups, Metrics, Verifier
from cacheserver.calibration import foils
from cacheserver.calibration.answers.comparison import Outcome
from cacheserver.calibration.answers.confirmation import Conclusion
from cacheserver.calibration.answers.reader import AnswerReader, beside
from cacheserver.calibration.audits import Auditor
from cacheserver.calibration.labels import SHADOW, Labels
from cacheserver.calibration.second_opinion import Compared, SecondOpinion
from cacheserver.calibration.states import States
from cacheserver.core.errors import StoreError, UpstreamError
from cacheserver.core.evidence import Evidence, as_json
from cacheserver.core.single_flight import end
from cacheserver.core.types import Candidate, Entry, Miss, Query
from cacheserver.matching.calibration import Label, Source
from cacheserver.matching.language import Language
from cacheserver.matching.prior import MINILM, Prior

logger = logging.getLogger(__name__)

_QUEUE = 1_000  # jobs; each holds a question, its answer and up to five others
_COMPARED = 5  # nearest answers compared with a fresh one; each was embedded when it was stored
_DAY_S = 86_400
_GROUP_S = 30 * _DAY_S  # life of a group's record: the longest life of an answer


@dataclass(frozen=True, slots=True)
class Missed:
    """Miss: a question that Claude answered although stored ones came near."""

    query: Query
    decision: Miss
    entry: Entry  # the fresh answer, as stored


@dataclass(frozen=True, slots=True)
class Audit:
    """Hit to be asked again, to see whether it was right."""

    query: Query
    hit: Candidate
    share: float  # share of such hits that are audited
    verified: bool  # a yes of the verifying model served it


Job: TypeAlias = Missed | Audit


class Worker:
    """Runs jobs one after the other, in the background from `start` to `close`."""

    def __init__(
        self,
        *,
        answers: AnswerReader,
        states: States,
        labels: Labels,
        groups: Groups,
        auditor: Auditor,
        second: SecondOpinion,
        verdicts: Callable[[], Verifier],
        language: Language,
        prior: Prior = MINILM,
        decision_log: DecisionLog,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._answers = answers
        self._states = states
        self._labels = labels
        self._groups = groups
        self._auditor = auditor
        self._second = second
        self._verdicts = verdicts
        self._language = language
        self._prior = prior
        self._journal = decision_log
        self._metrics = metrics
        self._clock = clock
        self._alone: Counter[str] = (
            Counter()
        )  # questions without neighbours, by tenant, for the next row of its shadow window
        self._queue: asyncio.Queue[Job] = asyncio.Queue(_QUEUE)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="learning")

    async def close(self) -> None:
        """Stop. Waiting jobs are dropped."""
        if self._task is not None:
            await end(self._task)
            self._task = None

    async def idle(self) -> None:
        """Return once all jobs given so far are done."""
        await self._queue.join()

    def missed(self, query: Query, decision: Miss, entry: Entry) -> None:
        """Compare the fresh answer of a miss with its neighbours' answers, in the background."""
        if query.tenant.shadow and not decision.neighbours:
            self._alone[query.tenant.name] += 1
        if entry.made_up and not query.tenant.shadow:
            return
        # With a threshold set by hand nothing is learned, unless the tenant asks for it.
        asks = query.tenant.shadow or query.tenant.corroborate
        wanted = decision.level is not None or asks
        if wanted and decision.neighbours and query.credential is None:
            self._enqueue(Missed(query, decision, entry))

    def audit(self, query: Query, hit: Candidate, share: float, *, verified: bool) -> None:
        """Ask the question of a hit again, in the background."""
        if not hit.entry.made_up:
            self._enqueue(Audit(query, hit, share, verified))

    def _enqueue(self, job: Job) -> None:
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
            except Exception as error:  # the task boundary: the next job must run
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
        exchanges = {
            c.entry.id: one for c, one in zip(near, stored, strict=True) if one is not None
        }
        found = [
            beside(fresh, exchanges[c.entry.id], _group(c)) for c in near if c.entry.id in exchanges
        ]
        group = self._answers.group_of(fresh, found)
        # Groups are joined below certainty, so agreement is tested for each answer.
        outcomes: dict[str, Outcome] = {
            c.entry.id: self._answers.outcome(
                fresh, [beside(fresh, exchanges[c.entry.id], _group(c))]
            )
            for c in near
            if c.entry.id in exchanges
        }
        agreeing = [c.entry for c in near if outcomes.get(c.entry.id) == "same"]
        settled = Conclusion(None)
        if nearest is not None and nearest.entry.id in exchanges:
            theirs = _group(nearest)
            mine = [
                exchanges[c.entry.id]
                for c in near
                if c.entry.id in exchanges and _group(c) == theirs
            ]
            first = self._answers.outcome(fresh, [one for one in found if one.group == theirs])
            settled = await self._second.conclude(
                first, Compared(job.query, nearest, mine, job.entry.message, like=job.entry)
            )
            if first == "open" and settled.right:
                agreeing.append(nearest.entry)
                group = group or theirs
            elif settled.right is False and group == theirs:
                group = None
        if group is not None:
            await self._groups.set_group(job.entry, group)
        if job.query.tenant.corroborate:
            for entry in corroboration.corroborated(job.entry, agreeing):
                await self._groups.corroborate(entry)
        if nearest is None:
            return
        served = job.decision.reason == "shadow"
        foil = None
        if settled.right and nearest.evidence is not None:
            foil = await foils.of_candidates(
                job.query,
                job.decision.neighbours,
                _group(nearest),
                lambda id: outcomes.get(id, "open"),
                self._language,
                self._prior,
            )
        await self._observe(job.query, nearest, settled, served=False)
        for one in near:
            if one.entry.id != nearest.entry.id and outcomes.get(one.entry.id, "open") != "open":
                same = Conclusion(outcomes[one.entry.id] == "same")
                await self._observe(job.query, one, same, served=False)
        await self._label(job.query, nearest, settled, "miss", served=served, foil=foil)
        if job.query.tenant.shadow:
            await self._note_shadow(job, nearest, settled.right, served=served)

    async def _note_shadow(
        self, job: Missed, nearest: Candidate, right: bool | None, *, served: bool
    ) -> None:
        """Record the outcome in the shadow window; `right` is None if undecided."""
        tenant = job.query.tenant.name
        row = {
            "served": served,
            "right": right,
            "similarity": nearest.similarity,
            "probability": nearest.probability,
            "veto": nearest.veto,
            "supported": nearest.supported,
            "evidence": None if nearest.evidence is None else as_json(nearest.evidence),
            "saved": job.entry.cost or 0,  # what was paid for want of the hit
            "embedder": self._states.embedder,
            "scope": job.query.label_scope,
            "namespace": job.query.controls.namespace,
            "alone": self._alone.pop(tenant, 0),  # earlier questions without neighbours
        }
        await self._labels.add(tenant, SHADOW, row)

    async def _audit(self, job: Audit) -> None:
        """Ask Claude again, within the day's cap, and learn whether the hit was right."""
        tenant, hit = job.query.tenant.name, job.hit
        message = await self._auditor.ask(job.query, hit.entry, count="audits")
        if message is None:
            return
        fresh = await self._answers.read(job.query.text or "", message)
        (stored,) = await self._answers.recall([hit.entry])
        if fresh is None or stored is None:
            return
        first = self._answers.outcome(fresh, [beside(fresh, stored, _group(hit))])
        settled = await self._second.conclude(
            first, Compared(job.query, hit, [stored], message, like=hit.entry)
        )
        if settled.right is None:
            return
        self._journal.count(tenant, {"audits_right" if settled.right else "audits_wrong": 1})
        weighed = replace(settled, weight=settled.weight / job.share)
        if job.verified:  # of another hit, an earlier verdict had no part in it
            await self._observe(job.query, hit, weighed, served=True)
        await self._label(job.query, hit, weighed, "audit", served=True)
        if settled.right:
            await self._count_past(tenant, hit.entry.id, _group(hit), right=True)
        else:
            await self.condemn(tenant, job.query.fingerprint, hit, once=None)

    async def _observe(
        self, query: Query, candidate: Candidate, settled: Conclusion, *, served: bool
    ) -> None:
        """Have the verifier count its verdict on a candidate, if it gave one."""
        right, weight = settled.right, settled.weight
        if right is not None:
            verifier = self._verdicts()
            await verifier.observe(query, candidate, right=right, weight=weight, served=served)

    async def condemn(
        self,
        tenant: str,
        question: str,
        candidate: Candidate,
        *,
        once: str | None,
        served: bool = True,
        by: str | None = None,
    ) -> None:
        """Never serve the entry for that question again.

        If it was served, its probability and its group's fall too. `by` may take it back.
        """
        entry = candidate.entry
        life_s = max(1, round(entry.expires_at - self._clock()) + 1)
        whose = {} if by is None else {"by": by}
        await self._labels.tombstones.add(tenant, question, entry.id, life_s=life_s, **whose)
        if served:
            await self._count_past(tenant, entry.id, _group(candidate), right=False, once=once)

    async def exonerate(self, tenant: str, entry_id: str, group: str, *, once: str) -> None:
        """Take back a wrong hit that `condemn` counted."""
        await self._adjust(tenant, entry_id, group, wrong=-1.0, right=0.0, once=once)

    async def _count_past(
        self, tenant: str, entry_id: str, group: str, *, right: bool, once: str | None = None
    ) -> None:
        """Add to the record of an entry's hits, and of its group's."""
        yes, no = float(right), float(not right)
        await self._adjust(tenant, entry_id, group, wrong=no, right=yes, once=once)

    async def _adjust(
        self,
        tenant: str,
        entry_id: str,
        group: str,
        *,
        wrong: float,
        right: float,
        once: str | None,
    ) -> None:
        await self._labels.adjust(tenant, entry_id, wrong=wrong, right=right, once=once)
        # A group is named by its first entry: without the prefix, one count would serve for both.
        group_once = None if once is None else f"group:{once}"
        await self._labels.adjust(
            tenant, group, wrong=wrong, right=right, life_s=_GROUP_S, once=group_once
        )

    async def _label(
        self,
        query: Query,
        candidate: Candidate,
        settled: Conclusion,
        source: Source,
        *,
        served: bool,
        foil: Evidence | None = None,
    ) -> None:
        if candidate.evidence is None or settled.right is None:
            return  # decided by a threshold, or undecided: nothing to learn
        label = Label(
            evidence=candidate.evidence,
            right=settled.right,
            weight=settled.weight,
            source=source,
            served=served,
            embedder=self._states.embedder,
            adjustment=candidate.adjustment,
            foil=foil,
            caller=query.caller,
            namespace=query.controls.namespace,
        )
        await self._states.learn(query.tenant.name, query.label_scope, label)


def _group(candidate: Candidate) -> str:
    return candidate.group or candidate.entry.id
