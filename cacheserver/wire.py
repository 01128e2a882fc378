"""Builds the whole from its settings, in order, and takes it down in reverse.

Everything that runs in the background starts and ends here. `open_cache` is also how a process
uses the cache without a server.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from cacheserver import config
from cacheserver.asking.asker import Asker
from cacheserver.asking.history import History
from cacheserver.asking.lengths import Lengths
from cacheserver.config import Settings, UpstreamChoice
from cacheserver.errors import SettingsError, StoreError
from cacheserver.flight import end
from cacheserver.learning.answers import Answers
from cacheserver.learning.deciding import Decider, Score
from cacheserver.learning.feedback import Feedback
from cacheserver.learning.pairs import Pairs
from cacheserver.learning.states import States
from cacheserver.learning.worker import Worker
from cacheserver.metrics import Metrics
from cacheserver.parts import Parts
from cacheserver.policy.lexicon import standard
from cacheserver.policy.money import Pricer
from cacheserver.policy.pricetable import PriceTable, load_overrides
from cacheserver.service import CacheService
from cacheserver.simulated import SimulatedSettings, serve_simulated
from cacheserver.stores import connection
from cacheserver.stores.bars import Bars
from cacheserver.stores.connection import Connection
from cacheserver.stores.embedded import EmbeddedStore
from cacheserver.stores.entries import Entries
from cacheserver.stores.journal import Journal
from cacheserver.stores.labels import Labels
from cacheserver.stores.lengths import LengthStore
from cacheserver.stores.reviews import ReviewQueue
from cacheserver.stores.semantic import SemanticEntries
from cacheserver.stores.tenants import Tenants
from cacheserver.stores.turns import Turns
from cacheserver.types import Bar, Tenant
from cacheserver.upstream import Upstream
from index.batcher import Batcher
from index.errors import IndexingError
from index.models import OnnxEmbedder
from index.pairs import PairScorer

logger = logging.getLogger(__name__)

_TEND_S = 5.0  # expired vectors leave, grown scopes are trained
_SNAPSHOT_S = 300.0  # a start reads from Redis what changed since: some 20 us an entry
_RETRY_S = 1.0
_DRAIN_S = 5.0  # for answers nobody waits for any more; those with readers ended before
_STORE_WAIT_S = 10.0  # for a user's Redis that starts beside us


@asynccontextmanager
async def build(
    settings: Settings, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[Parts]:
    """Start every part and yield them; stop them on the way out, answers under way first.

    Raises `SettingsError` for what an operator must change, `StoreError` where Redis is away.
    """
    choice = config.resolve_upstream(settings)  # refused before anything is started
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        embedder = _embedder(settings)
        url = await _store_url(settings, stack)
        redis = connection.connect(url)
        stack.push_async_callback(redis.aclose)
        await _wait_for_store(redis, settings)
        entries = await stack.enter_async_context(
            Entries(redis, prefix=settings.redis_prefix, max_bytes=settings.max_bytes, clock=clock)
        )
        journal = Journal(redis, prefix=settings.redis_prefix)
        stack.push_async_callback(journal.close)
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
        )
        upstream = await _upstream(settings, choice, stack)
        pricer = Pricer(_prices(settings))
        reviews = ReviewQueue(redis, prefix=settings.redis_prefix)
        labels = Labels(redis, prefix=settings.redis_prefix)
        stack.push_async_callback(labels.close)
        scorer = _verifier(settings)
        lexicon = standard()
        states = States(
            labels,
            metrics,
            embedder=embedder.id,
            verifier="none" if scorer is None else scorer.id,
            clock=clock,
        )
        worker = Worker(
            answers=Answers(semantic.vector, lexicon),
            states=states,
            labels=labels,
            groups=entries,
            claude=upstream,
            pricer=pricer,
            journal=journal,
            metrics=metrics,
            clock=clock,
            audit_cap=round(settings.audit_usd_per_day * 1_000_000_000),
        )
        worker.start()
        stack.push_async_callback(worker.close)
        decider = Decider(
            states=states,
            labels=labels,
            score=None if scorer is None else _scoring(scorer, batcher),
            lexicon=lexicon,
            metrics=metrics,
            clock=clock,
        )
        lengths = Lengths(LengthStore(redis, prefix=settings.redis_prefix), metrics)
        stack.push_async_callback(lengths.close)
        turns = Turns(redis, prefix=settings.redis_prefix)
        history = History(
            turns,
            claude=upstream,
            pricer=pricer,
            metrics=metrics,
            model=settings.default_model,
        )
        stack.push_async_callback(history.close)
        service = CacheService(
            entries=semantic,
            claude=upstream,
            pricer=pricer,
            journal=journal,
            metrics=metrics,
            clock=clock,
            asker=Asker(
                default_model=settings.default_model,
                metrics=metrics,
                lengths=lengths,
                history=history,
            ),
            decider=decider,
            learner=worker,
            chance=random.random,
        )
        keeper = asyncio.create_task(_keep(semantic, journal, metrics), name="index:keep")
        stack.push_async_callback(_end_keeping, keeper, semantic, metrics)
        stack.push_async_callback(service.drain, _DRAIN_S)
        yield Parts(
            service=service,
            entries=semantic,
            journal=journal,
            learner=worker,
            feedback=Feedback(
                entries=entries, journal=journal, states=states, worker=worker, reviews=reviews
            ),
            pairs=Pairs(
                vector=semantic.vector, probability=decider.pair, labels=labels, journal=journal
            ),
            bars=Bars(redis, prefix=settings.redis_prefix),
            reviews=reviews,
            tenants=Tenants(
                redis, prefix=settings.redis_prefix, defaults=_defaults(settings), now=clock
            ),
            metrics=metrics,
            upstream=upstream,
            pricer=pricer,
            default_model=settings.default_model,
            lengths=lengths,
            history=history,
            turns=turns,
            embedder_id=embedder.id,
            clock=clock,
        )


def _defaults(settings: Settings) -> Tenant:
    """What holds for a tenant that nothing was set for."""
    return Tenant(
        name="default",
        default_ttl_s=settings.default_ttl_s,
        max_ttl_s=settings.max_ttl_s,
        bar=Bar(
            similarity=settings.similarity,
            target=None if settings.similarity is not None else settings.target,
            top_k=settings.top_k,
        ),
    )


def _prices(settings: Settings) -> PriceTable | None:
    if settings.prices is None:
        return None
    try:
        return load_overrides(settings.prices.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"`CACHESERVER_PRICES`: {error}") from error


def _verifier(settings: Settings) -> PairScorer | None:
    """The pair verifier, where it is wanted; without it words and neighbours decide."""
    if not settings.verifier:
        return None
    folder = (settings.model_dir or settings.data_dir / "model") / "verifier"
    try:
        return PairScorer(folder)
    except IndexingError as error:
        raise SettingsError(f"`CACHESERVER_VERIFIER`: {error}") from error


def _scoring(scorer: PairScorer, batcher: Batcher) -> Score:
    """Scores in the embedder's thread: one model at work at a time, the event loop free."""

    async def score(pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        try:
            found = await batcher.run(scorer.score, list(pairs))
        except IndexingError as error:
            raise StoreError(f"the verifier failed: {type(error).__name__}") from error
        return [float(one) for one in found]

    return score


def _embedder(settings: Settings) -> OnnxEmbedder:
    folder = settings.model_dir or settings.data_dir / "model"
    try:
        return OnnxEmbedder(folder)
    except IndexingError as error:
        raise SettingsError(
            f"`CACHESERVER_MODEL_DIR`: {error}. Make the model once with "
            f"`python -m index.export --to {folder}` (needs the `models` extra)"
        ) from error


async def _store_url(settings: Settings, stack: AsyncExitStack) -> str:
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    store = EmbeddedStore(settings.data_dir)
    stack.push_async_callback(store.stop)
    return await store.start()


async def _wait_for_store(redis: Connection, settings: Settings) -> None:
    """Return once Redis answers and may be used. It may be starting beside us."""
    deadline = time.monotonic() + _STORE_WAIT_S
    while True:
        try:
            return await connection.check(redis, prefix=settings.redis_prefix)
        except StoreError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def _upstream(settings: Settings, choice: UpstreamChoice, stack: AsyncExitStack) -> Upstream:
    key = settings.anthropic_api_key.get_secret_value() if settings.anthropic_api_key else None
    if choice.base_url is None:
        base_url, key = (
            await stack.enter_async_context(serve_simulated(SimulatedSettings())),
            "simulated",
        )
    else:
        base_url = choice.base_url
    upstream = Upstream(
        base_url=base_url,
        api_key=None if settings.credentials == "caller" else key,
        name=choice.name,
        max_concurrent=settings.max_concurrent,
        max_waiting=settings.max_waiting,
        timeout_s=settings.timeout_s,
    )
    stack.push_async_callback(upstream.close)
    return upstream


async def _keep(semantic: SemanticEntries, journal: Journal, metrics: Metrics) -> None:
    """Restore the index, then keep it: expire, train, save. Ends only by cancellation."""
    while not semantic.ready:
        try:
            await semantic.restore()
        except Exception as error:  # the task boundary: similarity stays off until it is restored
            metrics.swallowed("restore")
            logger.warning("the index could not be restored yet: %s", type(error).__name__)
            await asyncio.sleep(_RETRY_S)
    saved_at, seen = time.monotonic(), (0, 0, 0)
    while True:
        await asyncio.sleep(_TEND_S)
        metrics.index_size(len(semantic.index))
        seen = _report(semantic, journal, metrics, seen)
        try:
            await semantic.tend()
            if time.monotonic() - saved_at >= _SNAPSHOT_S:
                await semantic.save()
                saved_at = time.monotonic()
        except Exception as error:  # the task boundary; a full disk, say: Redis has all of it
            metrics.swallowed("keep-index")
            logger.warning("the index could not be kept: %s", type(error).__name__)


def _report(
    semantic: SemanticEntries, journal: Journal, metrics: Metrics, seen: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Bring to the metrics what the stores counted since `seen`; return what they count now."""
    now = journal.overflowed, journal.failures, semantic.entries.failures
    lost, failed, upkeep = (new - old for new, old in zip(now, seen, strict=True))
    if lost:
        metrics.dropped("journal", lost)
    for _ in range(failed):
        metrics.swallowed("journal")
    for _ in range(upkeep):
        metrics.swallowed("upkeep")
    return now


async def _end_keeping(
    keeper: asyncio.Task[None], semantic: SemanticEntries, metrics: Metrics
) -> None:
    await end(keeper)
    try:
        await semantic.save()
    except OSError as error:
        metrics.swallowed("snapshot")
        logger.warning("the index snapshot could not be written: %s", type(error).__name__)
