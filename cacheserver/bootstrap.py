"""Builds the whole from its settings, in order, and takes it down in reverse.

Everything that runs in the background starts and ends here. `open_cache` is also how a process
uses the cache without a server.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from cacheserver import factories
from cacheserver.alerts.build import watch
from cacheserver.alerts.monitor import Sources
from cacheserver.api.components import Components
from cacheserver.batches.context import BatchContext, Intervals
from cacheserver.batches.eligibility import Series
from cacheserver.batches.jobs import Jobs
from cacheserver.batches.pending_rows import PendingRows
from cacheserver.batches.scheduler import BatchScheduler
from cacheserver.batches.work_queue import WorkQueue
from cacheserver.budgets.budgets import BudgetedLedger, Budgets
from cacheserver.budgets.rate_limit_store import RateLimitStore
from cacheserver.budgets.rate_limits import RateLimits
from cacheserver.budgets.store import BudgetStore
from cacheserver.cache import index_sync
from cacheserver.cache.decider import Decider
from cacheserver.cache.decision_log import DecisionLog, record_of
from cacheserver.cache.entries import Entries
from cacheserver.cache.semantic import SemanticEntries
from cacheserver.cache.service import CacheService
from cacheserver.cache.settlement import Settler
from cacheserver.cache.stored_answer import StoredAnswers
from cacheserver.calibration.answers.reader import READING, AnswerReader
from cacheserver.calibration.answers.vectors import AnswerVectors
from cacheserver.calibration.audits import Auditor
from cacheserver.calibration.bars import Bars
from cacheserver.calibration.feedback import Feedback
from cacheserver.calibration.labels import Labels
from cacheserver.calibration.llm_judge import Judge, JudgeSettings
from cacheserver.calibration.pairs import Pairs
from cacheserver.calibration.review_queue import ReviewFiles
from cacheserver.calibration.review_store import ReviewQueue
from cacheserver.calibration.second_opinion import SecondOpinion
from cacheserver.calibration.states import States
from cacheserver.calibration.what_if import WhatIf
from cacheserver.calibration.worker import Worker
from cacheserver.calibration.wrong_hits import WrongHitShares
from cacheserver.claude.upstream import Upstream
from cacheserver.config import settings as config
from cacheserver.config.otel import OtelChoice
from cacheserver.config.settings import Settings
from cacheserver.core.single_flight import end
from cacheserver.erasure.erasure import Eraser
from cacheserver.index.batcher import Batcher
from cacheserver.ledger import retention
from cacheserver.ledger.export import LedgerExport
from cacheserver.ledger.fan_out import LedgerFanOut
from cacheserver.ledger.recorder import LedgerRecorder, RecordedClaude, SpendRecorder
from cacheserver.ledger.reports import LedgerReports
from cacheserver.ledger.warmth import PromptCacheWarmth
from cacheserver.ledger.writer import Ledger
from cacheserver.levers import levers as build_levers
from cacheserver.matching.lexicon import standard
from cacheserver.observability.gauge_sampler import GaugeSampler
from cacheserver.observability.metrics import Metrics
from cacheserver.observability.store_sizes import StoreSizes
from cacheserver.pricing import price_file
from cacheserver.routing.trials.comparison import Comparer
from cacheserver.storage import connection
from cacheserver.storage.data_loss_watch import DataLossWatch
from cacheserver.storage.write_behind import WriteBehind
from cacheserver.tenants.store import Tenants
from cacheserver.webhooks import safe_post
from cacheserver.webhooks.safe_post import Poster, Resolve

_DRAIN_S = 5.0  # for answers nobody waits for any more; those with readers ended before


@asynccontextmanager
async def build(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    pace: Intervals | None = None,
    resolve: Resolve = safe_post.resolve,
    otel: OtelChoice | None = None,
) -> AsyncIterator[Components]:
    """Start every part and yield them; stop them on the way out, answers under way first.

    `pace` and `resolve` are how often batches are looked after and how webhooks' hosts are found;
    `otel` is where traces and metrics go, if anywhere.

    Raises `SettingsError` for what an operator must change, `StoreError` where Redis is away.
    """
    choice = config.resolve_upstream(settings)  # refused before anything is started
    async with AsyncExitStack() as stack:
        # What must be changed is told before anything is started.
        pricer, mail = (
            price_file.build_pricer(price_file.read_price_file(settings)),
            factories.mail(settings),
        )
        metrics = Metrics()
        telemetry = factories.telemetry(otel, metrics.dropped)
        if telemetry is not None:
            stack.push_async_callback(telemetry.close)
        embedder = factories.embedder(settings)
        url, store = await factories.store(settings, stack)
        redis = connection.connect(url, tls=config.tls(settings))
        redis.health.hung = metrics.swallowed
        stack.push_async_callback(redis.aclose)
        await factories.wait_for_store(redis, settings, url)
        sealer = await factories.sealer(
            redis, settings, metrics
        )  # before anything is read or written
        store_watch = DataLossWatch(
            redis,
            metrics,
            prefix=settings.redis_prefix,
            sync=None if store is None else store.sync,
            clock=clock,
        )
        await store_watch.look()
        metrics.gauges.watch_store(lambda: store_watch.unsynced_s)
        entries = await stack.enter_async_context(
            Entries(
                redis,
                prefix=settings.redis_prefix,
                max_bytes=settings.max_bytes,
                clock=clock,
                sealer=sealer,
            )
        )
        decision_log = DecisionLog(
            redis,
            prefix=settings.redis_prefix,
            max_bytes=settings.max_decision_bytes,
            sealer=sealer,
            read=record_of,
        )
        stack.push_async_callback(decision_log.close)
        ledger = Ledger(redis, prefix=settings.redis_prefix)
        stack.push_async_callback(ledger.close)
        batcher = Batcher(embedder)
        stack.push_async_callback(batcher.close)
        semantic = SemanticEntries(
            entries,
            batcher,
            dim=embedder.dim,
            embedder_id=embedder.id,
            snapshot_path=settings.data_dir / "index.snapshot",
            clock=clock,
            counts=metrics,
            sealer=sealer,
        )
        make = Upstream if telemetry is None else telemetry.upstream
        upstream = await factories.upstream(settings, choice, stack, metrics, make)
        reviews = ReviewQueue(redis, prefix=settings.redis_prefix, sealer=sealer)
        labels = Labels(redis, prefix=settings.redis_prefix, max_bytes=settings.max_label_bytes)
        stack.push_async_callback(labels.close)
        lexicon = standard()
        states = States(
            labels,
            metrics,
            embedder=embedder.id,
            clock=clock,
        )
        uses = WriteBehind("key-use", metrics)
        stack.push_async_callback(uses.close)
        tenants = Tenants(
            redis,
            prefix=settings.redis_prefix,
            defaults=factories.defaults(settings),
            now=clock,
            swallowed=metrics.swallowed,
            access=settings.data_dir / "access",
            behind=uses,
            sealer=sealer,
        )
        budgets = Budgets(
            BudgetStore(redis, prefix=settings.redis_prefix),
            tenants=tenants,
            pricer=pricer,
            metrics=metrics,
            clock=clock,
            default_model=settings.default_model,
        )
        stack.push_async_callback(budgets.close)
        given_back = WriteBehind("rate-limit", metrics)
        stack.push_async_callback(given_back.close)
        limits = RateLimits(
            RateLimitStore(redis, prefix=settings.redis_prefix),
            keys=tenants,
            metrics=metrics,
            behind=given_back,
        )
        stack.push_async_callback(limits.close)
        metrics.gauges.watch_ledger(lambda: ledger.waiting)
        listeners = () if telemetry is None else telemetry.listeners
        told = [metrics.rows.booked, *listeners]
        booked = LedgerFanOut(BudgetedLedger(ledger, budgets), told)
        books = SpendRecorder(booked, pricer)
        answers = AnswerReader(
            semantic.vector,
            lexicon,
            AnswerVectors(
                redis,
                made_by=f"{embedder.id}/{READING}",
                dim=embedder.dim,
                prefix=settings.redis_prefix,
                sealer=sealer,
            ),
        )
        judge = Judge(
            judging=JudgeSettings(
                model=settings.judge_model,
                share=settings.judge_share,
                cap=round(settings.judge_usd_per_day * 1_000_000_000),
            ),
            labels=labels,
            claude=RecordedClaude("judge", claude=upstream, books=books, clock=clock),
            pricer=pricer,
            decision_log=decision_log,
            metrics=metrics,
            clock=clock,
            chance=random.random,
        )
        auditor = Auditor(
            labels=labels,
            claude=RecordedClaude("audit", claude=upstream, books=books, clock=clock),
            pricer=pricer,
            decision_log=decision_log,
            metrics=metrics,
            clock=clock,
            cap=round(settings.audit_usd_per_day * 1_000_000_000),
        )
        worker = Worker(
            answers=answers,
            states=states,
            labels=labels,
            groups=entries,
            auditor=auditor,
            second=SecondOpinion(answers=answers, auditor=auditor, judge=judge, metrics=metrics),
            lexicon=lexicon,
            decision_log=decision_log,
            metrics=metrics,
            clock=clock,
        )
        worker.start()
        stack.push_async_callback(worker.close)
        decider = Decider(
            states=states,
            labels=labels,
            lexicon=lexicon,
            metrics=metrics,
            clock=clock,
        )
        levers = await stack.enter_async_context(
            build_levers(
                redis=redis,
                prefix=settings.redis_prefix,
                sealer=sealer,
                upstream=upstream,
                semantic=semantic,
                tenants=tenants,
                pricer=pricer,
                metrics=metrics,
                clock=clock,
                default_model=settings.default_model,
                books=books,
                labels=labels,
                decision_log=decision_log,
                comparer=Comparer(answers, judge),
                chance=random.random,
            )
        )
        series = Series()
        settler = partial(
            Settler,
            pricer=pricer,
            decision_log=decision_log,
            metrics=metrics,
            clock=clock,
            recorder=LedgerRecorder(pricer, PromptCacheWarmth()),
        )
        stored = StoredAnswers(
            entries=semantic, pricer=pricer, learner=worker, chance=random.random
        )
        service = CacheService(
            entries=semantic,
            claude=upstream,
            pricer=pricer,
            metrics=metrics,
            clock=clock,
            settler=settler(ledger=booked, watch=series.note),
            call_planner=levers.call_planner,
            validation=levers.validation,
            budgets=budgets,
            limits=limits,
            decider=decider,
            learner=worker,
            stored=stored,
            grace_s=settings.abandoned_s,
        )
        spiller = retention.LedgerRetention(
            redis,
            prefix=settings.redis_prefix,
            folder=settings.data_dir / "ledger",
            file_days=settings.ledger_file_days,
            max_bytes=settings.max_ledger_bytes,
            damaged=metrics.swallowed,
        )
        store_watch.unspilled = lambda: spiller.failing
        wrong_price = round(settings.wrong_hit_usd * 1_000_000_000)
        bookkeeper = asyncio.create_task(
            retention.run_retention(spiller, ledger, metrics, clock), name="ledger:keep"
        )
        stack.push_async_callback(end, bookkeeper)
        keeper = asyncio.create_task(
            index_sync.keep(semantic, decision_log, metrics, store_watch, sealer), name="index:keep"
        )
        stack.push_async_callback(index_sync.end_keeping, keeper, semantic, metrics)
        stack.push_async_callback(service.drain, _DRAIN_S)
        work = WorkQueue(redis, prefix=settings.redis_prefix, sealer=sealer)
        entered = LedgerFanOut(ledger, told)
        desk = BatchContext(
            jobs=Jobs(
                redis,
                prefix=settings.redis_prefix,
                max_bytes=settings.max_job_bytes,
                sealer=sealer,
            ),
            work=work,
            service=service,
            stored=stored,
            learner=worker,
            tenants=tenants,
            settler=settler(ledger=entered),
            rows=PendingRows(
                work,
                entered,
                flush=ledger.flush,
                given_up=lambda: ledger.overflowed,
                metrics=metrics,
            ),
            budgets=budgets,
            pricer=pricer,
            decision_log=decision_log,
            metrics=metrics,
            headroom=upstream.headroom,
            clock=clock,
            upstream=upstream.identity,
            embedder=embedder.id,
            pace=pace or Intervals(),
            observe=None if telemetry is None else telemetry.items,
        )
        poster = Poster(resolve=resolve)  # for jobs and alerts alike
        stack.push_async_callback(poster.close)
        batching = BatchScheduler(
            desk,
            decider=decider,
            call_planner=levers.call_planner,
            answer_store=service.answer_store,
            claude=upstream,
            ready=semantic.restored.wait,
            poster=poster,
            series=series,
        )
        batching.start()
        stack.push_async_callback(batching.close)
        ledger_sums = LedgerReports(redis, prefix=settings.redis_prefix)
        wrong_hits = WrongHitShares(labels, metrics, clock)
        sizes = StoreSizes(
            redis,
            prefix=settings.redis_prefix,
            limits={
                "answers": settings.max_bytes,
                "decisions": settings.max_decision_bytes,
                "ledger": settings.max_ledger_bytes,
                "jobs": settings.max_job_bytes,
                "labels": settings.max_label_bytes,
            },
        )
        gauge_sampler = GaugeSampler(
            budgets=budgets.store,
            tenants=tenants,
            open_tenant=factories.defaults(settings),
            wrong_hits=wrong_hits,
            sizes=sizes,
            metrics=metrics,
            clock=clock,
        )
        gauge_sampler.start()
        stack.push_async_callback(gauge_sampler.close)
        alerting = await stack.enter_async_context(
            watch(
                redis=redis,
                prefix=settings.redis_prefix,
                budgets=budgets.store,
                ledger=ledger,
                sums=ledger_sums,
                tenants=tenants,
                secret=batching.webhooks.secret,
                poster=poster,
                mail=mail,
                sources=Sources(
                    wrong_hits,
                    levers.trials.store,
                    levers.turns,
                    opening=lambda: upstream.breaker.opening,
                    store=store_watch,
                ),
                wrong_price=wrong_price,
                metrics=metrics,
                clock=clock,
            )
        )
        eraser = Eraser(
            redis,
            prefix=settings.redis_prefix,
            sealer=sealer,
            semantic=semantic,
            decision_log=decision_log,
            ledger=ledger,
            tenants=tenants,
            data_dir=settings.data_dir,
            ours=store is not None,
            longest_s=settings.timeout_s,
            metrics=metrics,
            clock=clock,
        )
        eraser.start()
        stack.push_async_callback(eraser.close)
        yield Components(
            service=service,
            entries=semantic,
            decision_log=decision_log,
            ledger=ledger,
            budgets=budgets,
            limits=limits,
            alerting=alerting,
            gauge_sampler=gauge_sampler,
            sizes=sizes,
            ledger_sums=ledger_sums,
            ledger_export=LedgerExport(
                redis,
                prefix=settings.redis_prefix,
                folder=settings.data_dir / "ledger",
                damaged=metrics.swallowed,
            ),
            wrong_hits=wrong_hits,
            wrong_price=wrong_price,
            learner=worker,
            feedback=Feedback(
                entries=entries,
                decision_log=decision_log,
                states=states,
                worker=worker,
                reviews=reviews,
            ),
            labels=labels,
            pairs=Pairs(vector=semantic.vector, judged=decider.pair, labels=labels),
            bars=Bars(redis, prefix=settings.redis_prefix),
            reviews=reviews,
            what_if=WhatIf(decisions=decision_log, labels=labels, states=states, lexicon=lexicon),
            review_files=ReviewFiles(
                reviews=reviews,
                entries=entries,
                states=states,
                worker=worker,
                decision_log=decision_log,
            ),
            tenants=tenants,
            metrics=metrics,
            upstream=upstream,
            pricer=pricer,
            default_model=settings.default_model,
            batching=batching,
            lengths=levers.lengths,
            history=levers.history,
            turns=levers.turns,
            eraser=eraser,
            call_planner=levers.call_planner,
            router=levers.router,
            prompts=levers.prompts,
            trials=levers.trials,
            gold=levers.gold,
            embedder_id=embedder.id,
            repairs=() if store is None else store.repairs,
            observers=() if telemetry is None else telemetry.observers,
            clock=clock,
        )
