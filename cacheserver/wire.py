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

from cacheserver import config, keeping, making, pricefile
from cacheserver._config_otel import OtelChoice
from cacheserver.asking import posting
from cacheserver.asking.alerting import Sources
from cacheserver.asking.batch_desk import Desk, Pace
from cacheserver.asking.batch_rows import Rows
from cacheserver.asking.batches import Batching
from cacheserver.asking.budgets import Booked, Budgets
from cacheserver.asking.comparing import Comparer
from cacheserver.asking.gauging import Gauging
from cacheserver.asking.levers import levers as build_levers
from cacheserver.asking.posting import Poster, Resolve
from cacheserver.asking.ratelimits import RateLimits
from cacheserver.asking.watch import watch
from cacheserver.config import Settings
from cacheserver.erasing import Eraser
from cacheserver.flight import end
from cacheserver.hits import Hits
from cacheserver.learning.answers import READING, Answers
from cacheserver.learning.auditing import Auditor
from cacheserver.learning.deciding import Decider
from cacheserver.learning.feedback import Feedback
from cacheserver.learning.judging import Judge, Judging
from cacheserver.learning.pairs import Pairs
from cacheserver.learning.rehearsal import Rehearsal
from cacheserver.learning.reviewing import Reviewing
from cacheserver.learning.second import SecondOpinion
from cacheserver.learning.states import States
from cacheserver.learning.worker import Worker
from cacheserver.learning.wronghits import WrongHitShares
from cacheserver.metrics import Metrics
from cacheserver.parts import Parts
from cacheserver.policy.batching_eligible import Series
from cacheserver.policy.lexicon import standard
from cacheserver.recording import Books, Recorder, Watched
from cacheserver.service import CacheService
from cacheserver.settling import Settler
from cacheserver.stores import connection, ledgerkeeper
from cacheserver.stores.answervectors import AnswerVectors
from cacheserver.stores.bars import Bars
from cacheserver.stores.behind import Behind
from cacheserver.stores.budgets import BudgetStore
from cacheserver.stores.entries import Entries
from cacheserver.stores.jobs import Jobs
from cacheserver.stores.jobwork import JobWork
from cacheserver.stores.journal import Journal, record_of
from cacheserver.stores.labels import Labels
from cacheserver.stores.ledger import Ledger
from cacheserver.stores.ledgerexport import LedgerExport
from cacheserver.stores.ledgersums import LedgerSums
from cacheserver.stores.ratelimits import RateLimitStore
from cacheserver.stores.reviews import ReviewQueue
from cacheserver.stores.semantic import SemanticEntries
from cacheserver.stores.sizes import Sizes
from cacheserver.stores.storewatch import StoreWatch
from cacheserver.stores.tenants import Tenants
from cacheserver.stores.warmth import Warmth
from cacheserver.telling import Told
from cacheserver.upstream import Upstream
from index.batcher import Batcher

_DRAIN_S = 5.0  # for answers nobody waits for any more; those with readers ended before


@asynccontextmanager
async def build(
    settings: Settings,
    *,
    clock: Callable[[], float] = time.time,
    pace: Pace | None = None,
    resolve: Resolve = posting.resolve,
    otel: OtelChoice | None = None,
) -> AsyncIterator[Parts]:
    """Start every part and yield them; stop them on the way out, answers under way first.

    `pace` and `resolve` are how often batches are looked after and how webhooks' hosts are found;
    `otel` is where traces and metrics go, if anywhere.

    Raises `SettingsError` for what an operator must change, `StoreError` where Redis is away.
    """
    choice = config.resolve_upstream(settings)  # refused before anything is started
    async with AsyncExitStack() as stack:
        # What must be changed is told before anything is started.
        pricer, mail = pricefile.pricer(pricefile.text_of(settings)), making.mail(settings)
        metrics = Metrics()
        telemetry = making.telemetry(otel, metrics.dropped)
        if telemetry is not None:
            stack.push_async_callback(telemetry.close)
        embedder = making.embedder(settings)
        url, store = await making.store(settings, stack)
        redis = connection.connect(url, tls=config.tls(settings))
        redis.health.hung = metrics.swallowed
        stack.push_async_callback(redis.aclose)
        await making.wait_for_store(redis, settings, url)
        sealer = await making.sealer(redis, settings, metrics)  # before anything is read or written
        store_watch = StoreWatch(
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
        journal = Journal(
            redis,
            prefix=settings.redis_prefix,
            max_bytes=settings.max_decision_bytes,
            sealer=sealer,
            read=record_of,
        )
        stack.push_async_callback(journal.close)
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
        upstream = await making.upstream(settings, choice, stack, metrics, make)
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
        uses = Behind("key-use", metrics)
        stack.push_async_callback(uses.close)
        tenants = Tenants(
            redis,
            prefix=settings.redis_prefix,
            defaults=making.defaults(settings),
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
        given_back = Behind("rate-limit", metrics)
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
        booked = Told(Booked(ledger, budgets), told)
        books = Books(booked, pricer)
        answers = Answers(
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
            judging=Judging(
                model=settings.judge_model,
                share=settings.judge_share,
                cap=round(settings.judge_usd_per_day * 1_000_000_000),
            ),
            labels=labels,
            claude=Watched("judge", claude=upstream, books=books, clock=clock),
            pricer=pricer,
            journal=journal,
            metrics=metrics,
            clock=clock,
            chance=random.random,
        )
        auditor = Auditor(
            labels=labels,
            claude=Watched("audit", claude=upstream, books=books, clock=clock),
            pricer=pricer,
            journal=journal,
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
            journal=journal,
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
                journal=journal,
                comparer=Comparer(answers, judge),
                chance=random.random,
            )
        )
        series = Series()
        settler = partial(
            Settler,
            pricer=pricer,
            journal=journal,
            metrics=metrics,
            clock=clock,
            recorder=Recorder(pricer, Warmth()),
        )
        hits = Hits(entries=semantic, pricer=pricer, learner=worker, chance=random.random)
        service = CacheService(
            entries=semantic,
            claude=upstream,
            pricer=pricer,
            metrics=metrics,
            clock=clock,
            settler=settler(ledger=booked, watch=series.note),
            asker=levers.asker,
            validation=levers.validation,
            budgets=budgets,
            limits=limits,
            decider=decider,
            learner=worker,
            hits=hits,
            grace_s=settings.abandoned_s,
        )
        spiller = ledgerkeeper.LedgerKeeper(
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
            ledgerkeeper.keep(spiller, ledger, metrics, clock), name="ledger:keep"
        )
        stack.push_async_callback(end, bookkeeper)
        keeper = asyncio.create_task(
            keeping.keep(semantic, journal, metrics, store_watch, sealer), name="index:keep"
        )
        stack.push_async_callback(keeping.end_keeping, keeper, semantic, metrics)
        stack.push_async_callback(service.drain, _DRAIN_S)
        work = JobWork(redis, prefix=settings.redis_prefix, sealer=sealer)
        entered = Told(ledger, told)
        desk = Desk(
            jobs=Jobs(
                redis,
                prefix=settings.redis_prefix,
                max_bytes=settings.max_job_bytes,
                sealer=sealer,
            ),
            work=work,
            service=service,
            hits=hits,
            learner=worker,
            tenants=tenants,
            settler=settler(ledger=entered),
            rows=Rows(
                work,
                entered,
                flush=ledger.flush,
                given_up=lambda: ledger.overflowed,
                metrics=metrics,
            ),
            budgets=budgets,
            pricer=pricer,
            journal=journal,
            metrics=metrics,
            headroom=upstream.headroom,
            clock=clock,
            upstream=upstream.identity,
            embedder=embedder.id,
            pace=pace or Pace(),
            observe=None if telemetry is None else telemetry.items,
        )
        poster = Poster(resolve=resolve)  # for jobs and alerts alike
        stack.push_async_callback(poster.close)
        batching = Batching(
            desk,
            decider=decider,
            asker=levers.asker,
            keeper=service.filler,
            claude=upstream,
            ready=semantic.restored.wait,
            poster=poster,
            series=series,
        )
        batching.start()
        stack.push_async_callback(batching.close)
        ledger_sums = LedgerSums(redis, prefix=settings.redis_prefix)
        wrong_hits = WrongHitShares(labels, metrics, clock)
        sizes = Sizes(
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
        gauging = Gauging(
            budgets=budgets.store,
            tenants=tenants,
            open_tenant=making.defaults(settings),
            wrong_hits=wrong_hits,
            sizes=sizes,
            metrics=metrics,
            clock=clock,
        )
        gauging.start()
        stack.push_async_callback(gauging.close)
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
            journal=journal,
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
        yield Parts(
            service=service,
            entries=semantic,
            journal=journal,
            ledger=ledger,
            budgets=budgets,
            limits=limits,
            alerting=alerting,
            gauging=gauging,
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
                entries=entries, journal=journal, states=states, worker=worker, reviews=reviews
            ),
            labels=labels,
            pairs=Pairs(vector=semantic.vector, judged=decider.pair, labels=labels),
            bars=Bars(redis, prefix=settings.redis_prefix),
            reviews=reviews,
            rehearsal=Rehearsal(decisions=journal, labels=labels, states=states, lexicon=lexicon),
            reviewing=Reviewing(
                reviews=reviews, entries=entries, states=states, worker=worker, journal=journal
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
            asker=levers.asker,
            router=levers.router,
            prompts=levers.prompts,
            trials=levers.trials,
            gold=levers.gold,
            embedder_id=embedder.id,
            repairs=() if store is None else store.repairs,
            observers=() if telemetry is None else telemetry.observers,
            clock=clock,
        )
