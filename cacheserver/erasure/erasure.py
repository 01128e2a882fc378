"""Erasure of all content that a selector covers, in the store, the index and the files.

Rule: an erasure is recorded first, so one that a crash interrupts is finished by the next server,
without what came in since. A second pass follows once all calls in flight have ended, for what they
wrote.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from cacheserver.cache.ports import Metrics
from cacheserver.cache.store.decision_log import DecisionLog
from cacheserver.cache.store.entries import Entries
from cacheserver.cache.store.semantic import SemanticEntries
from cacheserver.cache.store.stored_entry import stored_at
from cacheserver.core import actors
from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.core.types import Tenant
from cacheserver.erasure import callers, ledger_rows
from cacheserver.erasure.cover import ErasureCover
from cacheserver.erasure.erased import Erased, Keys
from cacheserver.erasure.log import Erasure, Erasures
from cacheserver.erasure.purge_groups import groups
from cacheserver.erasure.selectors import Selector
from cacheserver.erasure.store_file import File, rewrite_file
from cacheserver.erasure.walk import KeyWalk
from cacheserver.ledger.writer import Ledger
from cacheserver.peers.clock_check import MOST_S
from cacheserver.peers.history import forget_changes
from cacheserver.peers.peers import Told, nobody
from cacheserver.storage.connection import Connection
from cacheserver.storage.sealer import Sealer
from cacheserver.tenants.api_keys import ApiKey

logger = logging.getLogger(__name__)

_ROUND_S: Final = 5.0  # between looks at what is due; an index elsewhere is behind by that
_WAIT_S: Final = 3_600.0  # between passes while jobs are under way: mostly for a day
_CLOCKS_S: Final = 2 * MOST_S  # by which those of two servers may differ
_AFTER_S: Final = 60.0  # behind the longest call: its answer is settled and written by then


class Tenants(Protocol):
    async def settings(self, tenant: str) -> Tenant: ...
    async def list_keys(self) -> Sequence[ApiKey]: ...


class Eraser:
    """Eraser of content, and finisher of interrupted erasures. `ours`: the store is embedded."""

    def __init__(
        self,
        redis: Connection,
        *,
        prefix: str,
        sealer: Sealer,
        semantic: SemanticEntries,
        decision_log: DecisionLog,
        ledger: Ledger,
        tenants: Tenants,
        data_dir: Path,
        ours: bool,
        longest_s: float,
        metrics: Metrics,
        clock: Callable[[], float],
        forget: Callable[[], None],
        told: Told = nobody,
        others: Callable[[], bool] = lambda: False,
    ) -> None:
        """`forget` drops the texts of questions that this process keeps in memory.

        `others`: whether there are servers with data directories of their own.
        """
        self.store = Erasures(redis, prefix=prefix)
        self._redis = redis
        self._prefix = prefix
        self._sealer = sealer
        self._semantic = semantic
        self._journal = decision_log
        self._ledger = ledger
        self._tenants = tenants
        self._data_dir = data_dir
        self.ours = ours
        self._after_s = longest_s + _AFTER_S
        self._metrics = metrics
        self._clock = clock
        self._forget = forget
        self._told = told
        self._others = others
        self._one_at_a_time = asyncio.Lock()  # each walks all keys
        self._seen: int | None = None  # erasures that the index here has followed
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Erased]] = set()
        self._awaited: set[str] = set()  # ids of erasures that somebody here carries out

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="erasure")

    async def close(self) -> None:
        """Stop; the next server to start finishes what is interrupted."""
        for task in (self._task, *self._running):
            if task is not None:
                await end(task)
        self._task = None

    async def erase(self, tenant: str, selector: Selector, *, who: str) -> Erased:
        """Erase what `selector` covers now. Continues if the caller disconnects.

        Raises `StoreError`; then the erasure is finished later.
        """
        return await self.carry_out(await self.announce(tenant, selector, who=who))

    async def announce(
        self, tenant: str, selector: Selector, *, who: str, delay_s: float = 0.0
    ) -> Erasure:
        """Record an erasure of everything received until `delay_s` from now. Raises `StoreError`.

        It will be carried out even if this server ends.
        """
        at = self._clock() + delay_s
        erasure = Erasure(tenant, selector, at=at, who=who, due=at)
        await self.store.take(erasure)  # first, so that no other server starts it
        if selector.kind == "tenant" and not delay_s:  # what comes in from now on is to stay
            await self._sealer.supersede(tenant, erasure.id)
        self.store.note(erasure)
        await self.store.put(erasure)
        return erasure

    async def inside(self, tenant: str) -> list[str]:
        """Return the tenants inside a tenant, of callers with Anthropic keys of their own.

        Raises `StoreError`.
        """
        await self._journal.flush()
        await self._ledger.flush()
        return await callers.names_inside(self._redis, self._prefix, tenant)

    async def carry_out(self, erasure: Erasure, *more: Erasure) -> Erased:
        """Carry out recorded erasures, even if the caller disconnects. Raises `StoreError`.

        Returns what came of all of them: of `more`, of tenants inside the first one's, what they
        removed. The store's file is written anew once, after the last.
        """
        task = asyncio.create_task(self._passes(erasure, more), name="erasure:pass")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def look(self) -> int:
        """Run due passes and apply the erasures of other servers; returns the number of passes.

        Raises `StoreError`, `OSError`.
        """
        try:
            await self._sealer.refresh()
        except StoreError:  # rotated under a master key unknown here: the known keys suffice
            self._metrics.swallowed("keys")
        count = await self.store.count()
        if self._seen is None:
            self._seen = count  # at start the index is rebuilt from the store
        if count != self._seen and self._semantic.ready:
            self._forget()
            await self._semantic.drop_gone()
            self._seen = count
        done = 0
        for erasure in await self.store.due(self._clock()):
            if erasure.id in self._awaited or not await self.store.take(erasure):
                continue
            if await self.store.stands(erasure):
                await self._pass(erasure, late=True)
                done += 1
            else:  # it was carried out while others were
                await self.store.let_go(erasure)
        return done

    async def _passes(self, erasure: Erasure, more: Sequence[Erasure]) -> Erased:
        removed, ids = Counter[str](), {one.id for one in (erasure, *more)}
        self._awaited |= ids
        try:
            for one in more:
                removed += Counter((await self._pass(one, rewrite=False)).removed)
            whole = await self._pass(erasure)
        finally:
            self._awaited -= ids
        return replace(whole, removed=dict(sorted((removed + Counter(whole.removed)).items())))

    async def _pass(self, erasure: Erasure, *, rewrite: bool = True, late: bool = False) -> Erased:
        async with self._one_at_a_time:
            try:
                await self.store.hold(erasure)  # others may have come first
                return await self._do(erasure, rewrite=rewrite, late=late)
            finally:
                await self._tried(self.store.let_go(erasure))

    def _ended(self, task: asyncio.Task[Erased]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:  # whoever asked may have left
            self._metrics.swallowed("erasure")

    async def _do(self, erasure: Erasure, *, rewrite: bool, late: bool) -> Erased:
        await self._journal.flush()
        await self._ledger.flush()
        whole = erasure.selector.kind == "tenant"
        if whole and not erasure.again:
            await self._sealer.supersede(erasure.tenant, erasure.id)
        covered = ErasureCover(callers=await self._callers(erasure))
        await self.store.recall(erasure, covered)
        removed: Counter[str] = Counter()
        until = math.inf
        if late or erasure.again:
            called = self._after_s if erasure.again else 0.0  # for what calls under way then leave
            until = erasure.at + called + _CLOCKS_S
        if not erasure.again:
            removed["answers"] = await self._erase_entries(erasure, covered, until)
        # What was learned meanwhile goes once, not each hour while a batch is under way.
        of_jobs = erasure.due > erasure.at + self._after_s
        walk = KeyWalk(
            self._redis,
            prefix=self._prefix,
            tenant=await self._whose(erasure),
            erasure=erasure,
            covered=covered,
            now=self._clock(),
            held=lambda: self.store.hold(erasure),
            of_jobs=of_jobs,
            until=until,
            sealer=self._sealer,
        )
        await walk.collect()
        await self.store.keep(erasure, covered)
        await walk.run()
        if walk.unknown:
            self._metrics.dropped("erasure-unknown-keys", walk.unknown)
        changed, unread = 0, 0
        if not of_jobs:  # their rows have no names
            changed, unread = await asyncio.to_thread(
                ledger_rows.files, self._data_dir / "ledger", walk.names
            )
        removed += walk.removed
        removed["ledger_names"] += changed
        self._forget()
        self.store.note(erasure)
        await forget_changes(self._redis, self._told, prefix=self._prefix)
        await self.store.hold(erasure)  # on the primary on which the pass began
        snapshot: Literal["rewritten", "pending"] = "pending"
        if not erasure.again:
            await self.store.counted()
            if self._semantic.ready:
                removed["index_vectors"] = await self._semantic.drop_gone()
                snapshot = "rewritten"
        # Jobs at Claude's are still to be booked, of a whole tenant under its keys.
        waits = walk.under_way > 0
        if whole and erasure.again and not waits:
            removed["keys"] = await self._sealer.destroy(erasure.tenant, erasure.id)
        counts = {name: count for name, count in sorted(removed.items()) if count}
        file: File = "not verified"
        if self.ours and not rewrite:
            file = "pending"
        elif self.ours:
            changed_it = counts or not erasure.again
            file = await rewrite_file(self._redis) if changed_it else "rewritten"
        again_at = erasure.at + self._after_s
        if counts or not of_jobs:
            await self.store.log(erasure, counts)
        if erasure.again and waits:
            await self.store.put(replace(erasure, due=self._clock() + _WAIT_S))
        else:
            await self.store.passed(erasure, again_at=None if erasure.again else again_at)
        aside = await asyncio.to_thread(_set_aside, self._data_dir)
        return Erased(
            counts, file, snapshot, again_at, unread, aside, self._keys(erasure), self._others()
        )

    def _keys(self, erasure: Erasure) -> Keys:
        if not self._sealer.on:
            return "none"
        if erasure.selector.kind != "tenant":
            return "kept"
        return "destroyed" if erasure.again else "destroyed with the last pass"

    async def _whose(self, erasure: Erasure) -> Tenant:
        """Return the tenant, with its settings only if names must be digested."""
        if erasure.selector.kind != "actor":
            return Tenant(erasure.tenant)
        return await self._tenants.settings(erasure.tenant)

    async def _callers(self, erasure: Erasure) -> frozenset[str]:
        """Return an actor as labels store it: with each of the tenant's keys."""
        if erasure.selector.kind != "actor":
            return frozenset()
        ids = [key.id for key in await self._tenants.list_keys() if key.tenant == erasure.tenant]
        return frozenset(
            actors.caller_of(id, actor) for id in (None, *ids) for actor in erasure.selector.values
        )

    async def _erase_entries(self, erasure: Erasure, covered: ErasureCover, until: float) -> int:
        """Collect the entries' ids, then purge them. What was stored later than `until` stays."""
        entries, tenant, selector = self._semantic.entries, erasure.tenant, erasure.selector
        await self._learn(entries, erasure, covered, until)
        await self.store.keep(erasure, covered)  # survives a crash
        gone = 0
        if selector.kind == "entry_id":
            gone += await entries.purge_id(tenant, selector.values[0])
        for group in groups(tenant, selector) if math.isinf(until) else ():
            gone += await entries.purge_group(group)
        return gone + await entries.purge_ids(sorted(covered.entries))  # also those in no group

    async def _learn(
        self, entries: Entries, erasure: Erasure, covered: ErasureCover, until: float
    ) -> None:
        selector = erasure.selector
        if selector.kind == "entry_id":
            entry = await entries.by_id(erasure.tenant, selector.values[0])
            if entry is not None:
                covered.add(entry, answer=True)
            return
        async for page in entries.search.of_tenant(erasure.tenant):
            for entry in page:
                if stored_at(entry.id) <= until and selector.covers(
                    namespace=entry.namespace,
                    tags=entry.tags,
                    actor=entry.actor,
                    conversation=entry.conversation,
                ):
                    covered.add(entry, answer=False)

    async def _tried(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except StoreError:
            self._metrics.swallowed("erasure")

    async def _keep(self) -> None:
        while True:
            try:
                with one_round():
                    await self.look()
            except Exception as error:  # the task boundary: the next round tries again
                self._metrics.swallowed("erasure")
                logger.warning("an erasure failed and will be retried: %s", type(error).__name__)
            await asyncio.sleep(_ROUND_S)


def _set_aside(data_dir: Path) -> int:
    """Return the number of files that a repair or a restore kept aside in the data directory."""
    return len([*data_dir.glob("replaced-*"), *(data_dir / "store").rglob("*.damaged-*")])
