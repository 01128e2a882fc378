"""Index sync: the index is restored from Redis, maintained and saved while the server runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Protocol

from cacheserver.cache.semantic_index.port import ScopeCounts
from cacheserver.cache.store.decision_log import DecisionLog
from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.core.background import one_round
from cacheserver.core.single_flight import end
from cacheserver.index.memory import give_back
from cacheserver.storage.data_loss_watch import DataLossWatch
from cacheserver.storage.sealer import Sealer


class Metrics(Protocol):
    def index_size(self, vectors: int, scopes: Mapping[str, int], size: int) -> None: ...
    def swallowed(self, site: str) -> None: ...
    def dropped(self, buffer: str, count: int = 1) -> None: ...


logger = logging.getLogger(__name__)

_TEND_S = 5.0  # expired vectors leave, grown scopes are trained
_SNAPSHOT_S = 300.0  # a start reads from Redis what changed since: some 20 us an entry
_RETRY_S = 1.0


async def keep(
    semantic: SemanticEntries,
    decision_log: DecisionLog,
    metrics: Metrics,
    watch: DataLossWatch,
    sealer: Sealer,
) -> None:
    """Restore the index, then maintain it: expire, train, save. Ends only by cancellation.

    Where the store has lost data, the index is restored anew: what is gone is not looked at again.
    """
    while not semantic.ready:
        try:
            await semantic.restore()
            await asyncio.to_thread(give_back)
        except Exception as error:  # the task boundary: similarity stays off until it is restored
            metrics.swallowed("restore")
            logger.warning("the index could not be restored yet: %s", type(error).__name__)
            await asyncio.sleep(_RETRY_S)
    saved_at, seen = time.monotonic(), (0, 0, 0, 0)
    while True:
        await asyncio.sleep(_TEND_S)
        scopes = semantic.index.scopes or ScopeCounts(0, 0, 0)
        states = {"loaded": scopes.loaded, "unloaded": scopes.known - scopes.loaded}
        metrics.index_size(len(semantic.index), states, scopes.bytes)
        seen = report(semantic, decision_log, metrics, seen)
        try:
            with one_round():
                if await watch.check():
                    await sealer.reload()
                    await semantic.restore()
                if semantic.entries.lease.held:
                    await decision_log.fold()  # what a killed server left
                await semantic.tend()
                if time.monotonic() - saved_at >= _SNAPSHOT_S:
                    await semantic.save()
                    saved_at = time.monotonic()
        except Exception as error:  # the task boundary; a full disk, say: Redis has all of it
            metrics.swallowed("keep-index")
            logger.warning("the index could not be maintained: %s", type(error).__name__)


def report(
    semantic: SemanticEntries,
    decision_log: DecisionLog,
    metrics: Metrics,
    seen: tuple[int, int, int, int],
) -> tuple[int, int, int, int]:
    """Add to the metrics what the stores counted since `seen`; return the current counts."""
    now = (
        decision_log.overflowed,
        decision_log.crowded_out,
        decision_log.failures,
        semantic.entries.failures,
    )
    lost, crowded_out, failed, upkeep = (new - old for new, old in zip(now, seen, strict=True))
    if lost:
        metrics.dropped("journal", lost)
    if crowded_out:
        metrics.dropped("decisions", crowded_out)
    for _ in range(failed):
        metrics.swallowed("journal")
    for _ in range(upkeep):
        metrics.swallowed("upkeep")
    return now


async def end_sync(keeper: asyncio.Task[None], semantic: SemanticEntries, metrics: Metrics) -> None:
    await end(keeper)
    try:
        await semantic.save()
    except OSError as error:
        metrics.swallowed("snapshot")
        logger.warning("the index snapshot could not be written: %s", type(error).__name__)
