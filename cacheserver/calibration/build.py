"""Builds what is learned of stored answers: labels, audits, the judge, feedback and reviews."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from cacheserver.cache.decider import judge_pair
from cacheserver.calibration.answers.beginnings import AnswerBeginnings
from cacheserver.calibration.answers.reader import READING, AnswerReader
from cacheserver.calibration.answers.vectors import AnswerVectors
from cacheserver.calibration.audits import Auditor
from cacheserver.calibration.feedback import Feedback
from cacheserver.calibration.gauges import WrongHitGauges
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.llm_judge import Judge, JudgeSettings
from cacheserver.calibration.pairs import Pairs
from cacheserver.calibration.past_decisions import PastDecisions
from cacheserver.calibration.review.admin_labels import AdminLabels
from cacheserver.calibration.review.label_files import LabelFiles
from cacheserver.calibration.review.label_queue import LabelQueue
from cacheserver.calibration.review.review_store import ReviewQueue
from cacheserver.calibration.scopes.reports import ScopeReports
from cacheserver.calibration.scopes.tuning import ScopeTuning
from cacheserver.calibration.second_opinion import SecondOpinion
from cacheserver.calibration.states import LABELED, States
from cacheserver.calibration.target_bars import TargetBars
from cacheserver.calibration.verdicts import Verdicts
from cacheserver.calibration.what_if import WhatIf
from cacheserver.calibration.worker import Worker
from cacheserver.calibration.wrong_hits import WrongHitShares
from cacheserver.config.settings import Settings
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Nanodollars
from cacheserver.host import Host
from cacheserver.observability.metrics import Metrics


@dataclass(frozen=True, slots=True)
class CalibrationParts:
    """Parts that learn, their stores, and the reports for operators."""

    learner: Worker
    states: States
    labels: Labels
    feedback: Feedback
    pairs: Pairs
    reviews: ReviewQueue
    label_queue: LabelQueue
    label_files: LabelFiles
    what_if: WhatIf
    wrong_hits: WrongHitShares
    scope_reports: ScopeReports
    scope_tuning: ScopeTuning
    reader: AnswerReader
    judge: Judge


@asynccontextmanager
async def labels(host: Host) -> AsyncIterator[Labels]:
    """Open the labels, also while calibration is off.

    An answer that was called wrong is not served again, and a tenant's labels can be forgotten.
    """
    store = host.store
    found = Labels(store.redis, prefix=store.prefix)

    def use(settings: Settings) -> None:
        found.max_bytes = settings.max_label_bytes

    host.live.settings.listen(use)
    host.plugins.outcomes = found
    task = asyncio.create_task(_index(found, host.metrics), name="tombstones:index")
    try:
        yield found
    finally:
        await end(task)


async def _index(labels: Labels, metrics: Metrics) -> None:
    """Index the tombstones of an earlier version; after a failure their first use does it."""
    try:
        await labels.tombstones.index()
    except StoreError:
        metrics.swallowed("tombstones")


@asynccontextmanager
async def build(host: Host, labels: Labels) -> AsyncIterator[CalibrationParts]:
    """Learn in the background until the block ends."""
    store, settings, answers = host.store, host.settings, host.answers
    pricer, metrics, clock = host.pricer, host.metrics, host.clock
    language, log = host.plugins.language, answers.decision_log
    entries = answers.entries.entries
    told = host.peers.everywhere
    states = States(labels, metrics, embedder=answers.evidence_id, clock=clock, told=told)
    host.peers.listen(LABELED, states.look_again, anew=states.look_at_all_again)
    reader = AnswerReader(
        answers.entries.embed,
        language,
        AnswerVectors(
            store.redis,
            made_by=f"{answers.embedder_id}/{READING}",
            dim=answers.dim,
            prefix=store.prefix,
            sealer=store.sealer,
        ),
        answers.prior,
    )
    judge = Judge(
        judging=_judging(settings),
        labels=labels,
        claude=host.recorded("judge"),
        pricer=pricer,
        decision_log=log,
        metrics=metrics,
        clock=clock,
        chance=random.random,
    )
    auditor = Auditor(
        labels=labels,
        claude=host.recorded("audit"),
        pricer=pricer,
        decision_log=log,
        metrics=metrics,
        clock=clock,
        cap=_nano(settings.audit_usd_per_day),
    )

    def use(settings: Settings) -> None:
        judge.judging, auditor.cap = _judging(settings), _nano(settings.audit_usd_per_day)

    host.live.settings.listen(use)
    worker = Worker(
        answers=reader,
        states=states,
        labels=labels,
        groups=entries,
        auditor=auditor,
        verdicts=lambda: host.plugins.verifier,
        second=SecondOpinion(answers=reader, auditor=auditor, judge=judge, metrics=metrics),
        language=language,
        prior=answers.prior,
        decision_log=log,
        metrics=metrics,
        clock=clock,
    )
    reviews = ReviewQueue(store.redis, prefix=store.prefix, sealer=store.sealer)
    given = AdminLabels(store.redis, prefix=store.prefix)
    queue = LabelQueue(
        decisions=log,
        entries=entries,
        labels=labels,
        given=given,
        reviews=reviews,
        states=states,
        worker=worker,
        count=log.count,
        clock=clock,
    )
    verdicts = Verdicts(labels=labels, given=given)
    targets = TargetBars()
    past = PastDecisions(log, made=states.made, language=language, metrics=metrics)
    beginnings = AnswerBeginnings(entries.search)
    reports = ScopeReports(search=answers.decision_search, labels=labels, states=states)
    wrong_hits = WrongHitShares(labels, metrics, clock)
    plugins = host.plugins
    plugins.calibrations, plugins.learner = states, worker
    host.gauges.append(WrongHitGauges(wrong_hits, metrics.gauges))
    worker.start()
    try:
        yield CalibrationParts(
            learner=worker,
            states=states,
            labels=labels,
            feedback=Feedback(
                entries=entries, decision_log=log, states=states, worker=worker, reviews=reviews
            ),
            pairs=Pairs(
                vector=answers.entries.vector,
                scale=answers.prior.scale,
                judged=partial(judge_pair, language, answers.prior),
                states=states,
            ),
            reviews=reviews,
            label_queue=queue,
            label_files=LabelFiles(queue=queue, given=given),
            what_if=WhatIf(
                decisions=past,
                search=answers.decision_search,
                states=states,
                targets=targets,
                verdicts=verdicts,
                answers=beginnings,
                clock=clock,
            ),
            wrong_hits=wrong_hits,
            scope_reports=reports,
            scope_tuning=ScopeTuning(
                reports=reports,
                past=past,
                search=answers.decision_search,
                verdicts=verdicts,
                answers=beginnings,
                targets=targets,
                clock=clock,
            ),
            reader=reader,
            judge=judge,
        )
    finally:
        await past.close()
        await worker.close()


def _judging(settings: Settings) -> JudgeSettings:
    return JudgeSettings(
        model=settings.judge_model,
        share=settings.judge_share,
        cap=_nano(settings.judge_usd_per_day),
    )


def _nano(usd: float) -> Nanodollars:
    return round(usd * 1_000_000_000)
