"""Builds the path of a request: stored answers and their index, then the service over them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from cacheserver.cache import ports
from cacheserver.cache.call_planner import CallPlanner
from cacheserver.cache.decider import Decider
from cacheserver.cache.miss.questions_elsewhere import QuestionsElsewhere
from cacheserver.cache.miss.shared_calls import SharedCalls
from cacheserver.cache.miss.similar_calls import SimilarCalls
from cacheserver.cache.plugins import Plugins
from cacheserver.cache.semantic_index.build import IndexFactory, IndexOptions
from cacheserver.cache.semantic_index.scope_limit import Counts as LoadCounts
from cacheserver.cache.semantic_index.scope_limit import IndexLimit, Loading
from cacheserver.cache.service import CacheService
from cacheserver.cache.settlement import Recorder, Settler
from cacheserver.cache.store import index_sync
from cacheserver.cache.store.decision_log import DecisionLog
from cacheserver.cache.store.decision_search import DecisionSearch
from cacheserver.cache.store.embedder_state import EmbedderStates
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.hot_entries import HotEntries
from cacheserver.cache.store.index_upkeep.move import IndexMove
from cacheserver.cache.store.index_upkeep.scope_rows import ScopeRows
from cacheserver.cache.store.reembedding import Counts as ReembeddingCounts
from cacheserver.cache.store.reembedding import Reembedding
from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.cache.stored_answer import StoredAnswers
from cacheserver.claude.upstream import Upstream
from cacheserver.core.single_flight import end
from cacheserver.index.batcher import Batcher
from cacheserver.index.models import Embedder, Vectors
from cacheserver.matching.prior import MINILM, Prior, evidence_id
from cacheserver.peers.flights import Flights
from cacheserver.peers.peers import Peers
from cacheserver.peers.roster import Roster
from cacheserver.peers.work_lease import WorkLeases
from cacheserver.storage.build import Store

_DRAIN_S = 5.0  # for answers nobody waits for any more; those with readers ended before


class Metrics(ports.Metrics, index_sync.Metrics, ReembeddingCounts, LoadCounts, Protocol):
    """The counters of this package."""


class Books(Protocol):
    """The ledger, and what makes its rows."""

    @property
    def recorder(self) -> Recorder: ...
    @property
    def rows(self) -> ports.Ledger: ...


_BEHIND = 64  # texts of an import embedded at once; meanwhile those before them are stored
_NICE = 10  # a third of the CPU where a request's embedding wants it too, and all of it elsewhere


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedder, and what its cosines mean."""

    embedder: Embedder
    prior: Prior = MINILM
    batch: int = 8  # texts a call
    limit_s: float | None = None  # how long a look-up waits for a vector; None: as long as it takes
    probe: Vectors | None = None  # one text's vector; None: the embedder's id names its weights
    changed: Callable[[], str | None] = lambda: None  # how the model differs from the probe's
    load: Callable[[], object] = lambda: None  # reads the model, in a thread; else its first text
    missing: bool = False  # there is no model: answers are found exactly only
    batched: Embedder | None = None  # the same vectors, for many texts that nobody waits for


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Sizes in bytes, None for no limit. `grace_s`: for calls whose callers have left."""

    data_dir: Path
    snapshot: str  # file of the index there
    default_model: str
    max_bytes: int | None
    max_decision_bytes: int | None
    hot_bytes: int  # of answers in memory; 0: none
    grace_s: float
    index_bytes: int | None = None  # of vectors in memory
    index: IndexOptions = field(default_factory=IndexOptions)


@dataclass(frozen=True, slots=True)
class Answers:
    """Stored answers, found again exactly and by similarity, and the records of decisions."""

    entries: SemanticEntries
    decision_log: DecisionLog
    decision_search: DecisionSearch
    embedder_id: str
    dim: int
    reembedding: Reembedding
    index_move: IndexMove
    index_limit: IndexLimit
    prior: Prior = MINILM
    # Each drops the texts of questions that a part keeps in memory, after an erasure.
    memories: list[Callable[[], None]] = field(default_factory=list)

    def forget_texts(self) -> None:
        """Drop all texts of questions that are kept in memory to be read faster."""
        for forget in self.memories:
            forget()

    @property
    def evidence_id(self) -> str:
        return evidence_id(self.embedder_id, self.prior)


@dataclass(frozen=True, slots=True)
class Cache:
    """The service, and what batches share with it."""

    service: CacheService
    call_planner: CallPlanner
    decider: Decider
    stored: StoredAnswers
    settler: Callable[..., Settler]  # given the `ledger` that its rows go to
    flights: Flights
    elsewhere: QuestionsElsewhere


@asynccontextmanager
async def answers(
    store: Store,
    peers: Peers,
    roster: Roster,
    leases: WorkLeases,
    embedding: Embedding,
    options: CacheOptions,
    metrics: Metrics,
    clock: Callable[[], float],
    records: ports.Records,
) -> AsyncIterator[Answers]:
    """Open the stored answers. The index is empty until `cache` restores it."""
    embedder = embedding.embedder
    async with AsyncExitStack() as stack:
        hot = HotEntries(peers, prefix=store.prefix, max_bytes=options.hot_bytes)
        entries = await stack.enter_async_context(
            Entries(
                store.redis,
                prefix=store.prefix,
                max_bytes=options.max_bytes,
                clock=clock,
                sealer=store.sealer,
                embedder=embedder.id,
                hot=hot,
                lease=leases.of("upkeep"),
            )
        )
        decision_log = DecisionLog(
            store.redis,
            records,
            prefix=store.prefix,
            max_bytes=options.max_decision_bytes,
            sealer=store.sealer,
        )
        stack.push_async_callback(decision_log.close)
        batcher = Batcher(embedder, max_batch=embedding.batch)
        stack.push_async_callback(batcher.close)
        behind = batcher
        if embedding.batched is not None:
            behind = Batcher(embedding.batched, max_batch=_BEHIND, memo=0, nice=_NICE)
            stack.push_async_callback(behind.close)
        index_limit = IndexLimit(options.index_bytes)
        rows = ScopeRows(entries.vectors, embedder_id=embedder.id, dim=embedder.dim, clock=clock)
        indexes = IndexFactory(
            store,
            options.index,
            snapshot=options.data_dir / options.snapshot,
            dim=embedder.dim,
            embedder_id=embedder.id,
            clock=clock,
            loading=Loading(rows.read, index_limit, metrics),
        )
        index = await indexes.first()
        semantic = SemanticEntries(
            entries,
            batcher,
            index,
            behind=behind,
            dim=embedder.dim,
            embedder_id=embedder.id,
            clock=clock,
            counts=metrics,
            scale=embedding.prior.scale,
            limit_s=embedding.limit_s,
            load=embedding.load,
            missing=embedding.missing,
        )
        semantic.follow(peers)
        reembedding = Reembedding(
            semantic,
            EmbedderStates(store.redis, prefix=store.prefix),
            batcher,
            store.redis,
            embedder_id=embedder.id,
            dim=embedder.dim,
            max_bytes=options.max_bytes,
            disk=None if store.server.sync is None else options.data_dir,
            clock=clock,
            counts=metrics,
            probe=embedding.probe,
            changed=embedding.changed,
            lease=leases.of("re-embed", standing=False),
        )
        stack.push_async_callback(semantic.close)
        move = IndexMove(
            semantic,
            indexes.make,
            metrics,
            has_leftovers=indexes.has_leftovers,
            says=roster.use,
            is_used=roster.others_use,
        )
        move.want(options.index.kind)
        await reembedding.prepare()
        yield Answers(
            semantic,
            decision_log,
            DecisionSearch(store.redis, decision_log, prefix=store.prefix, sealer=store.sealer),
            embedder.id,
            embedder.dim,
            reembedding,
            move,
            index_limit,
            embedding.prior,
            [batcher.forget],
        )


@asynccontextmanager
async def cache(
    store: Store,
    peers: Peers,
    answers: Answers,
    options: CacheOptions,
    claude: Upstream,
    pricer: ports.Pricer,
    books: Books,
    plugins: Plugins,
    metrics: Metrics,
    clock: Callable[[], float],
) -> AsyncIterator[Cache]:
    """Serve. On the way out calls under way end first, then the index is saved."""
    chance = random.random
    planner = CallPlanner(
        default_model=options.default_model,
        metrics=metrics,
        router=plugins.router,
        history=plugins.history,
        lengths=plugins.output_caps,
        prompts=plugins.prompt_caching,
        trials=plugins.trials,
    )
    decider = Decider(
        states=plugins.calibrations,
        labels=plugins.outcomes,
        language=plugins.language,
        metrics=metrics,
        clock=clock,
        prior=answers.prior,
    )
    answers.memories.extend((decider.forget, plugins.language.forget_texts))
    stored = StoredAnswers(
        entries=answers.entries,
        pricer=pricer,
        learner=plugins.learner,
        chance=chance,
        outcomes=plugins.outcomes,
        lease=peers,
    )
    settler = partial(
        Settler,
        pricer=pricer,
        metrics=metrics,
        clock=clock,
        recorder=books.recorder,
        evidence_id=answers.evidence_id,
    )
    flights = Flights(store.redis, peers, metrics, prefix=store.prefix)
    elsewhere = QuestionsElsewhere(flights, store.sealer, embedder_id=answers.embedder_id)
    answers.memories.append(elsewhere.forget)
    service = CacheService(
        entries=answers.entries,
        claude=claude,
        pricer=pricer,
        metrics=metrics,
        clock=clock,
        settler=settler(ledger=books.rows, watch=plugins.ended),
        call_planner=planner,
        validation=plugins.escalation,
        budgets=plugins.budgets,
        limits=plugins.rate_limits,
        decider=decider,
        learner=plugins.learner,
        stored=stored,
        verifier=plugins.verifier,
        shared_calls=SharedCalls(flights, elsewhere, metrics),
        similar_calls=SimilarCalls(
            decider, answers.prior.scale, clock=clock, elsewhere=elsewhere, metrics=metrics
        ),
        grace_s=options.grace_s,
    )
    upkeep = asyncio.create_task(
        index_sync.keep(answers.entries, answers.decision_log, metrics, store.watch, store.sealer),
        name="index:keep",
    )
    reembedding = asyncio.create_task(answers.reembedding.run(), name="index:re-embed")
    moving = asyncio.create_task(answers.index_move.run(), name="index:move")
    try:
        yield Cache(service, planner, decider, stored, settler, flights, elsewhere)
    finally:
        try:
            await service.drain(_DRAIN_S)
            await flights.close()
        finally:
            await end(moving)
            await end(reembedding)
            await index_sync.end_sync(upkeep, answers.entries, metrics)
