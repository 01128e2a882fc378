"""Uses Claude's prompt cache on a miss: plan, let one call write for many, book the outcome.

`promptcache.planner` decides; this module reads its inputs and stores its results.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import StoreError, Unavailable
from cacheserver.core.types import Plan, Query, Usage
from cacheserver.core.usage import prompt_tokens
from cacheserver.promptcache import salt as prompt_salt
from cacheserver.promptcache.layout import Layout, lay_out, marked_by_caller, under, with_marks
from cacheserver.promptcache.multipliers import Cost, Rates, gain, rates
from cacheserver.promptcache.planner import (
    Draft,
    PrefixStats,
    PrefixUpdate,
    Ttl,
    begun,
    draft,
    refund,
    settle,
)
from cacheserver.promptcache.prefixes import Prefixes, PromptCacheUse
from cacheserver.promptcache.recent_sights import RecentSights
from cacheserver.storage.deadline import Limit

_PATIENCE_S = 0.25  # for the store: a plan is worth less than a quarter of a second
_REMEMBERED = 1_000  # models' rates
_HELD_S = 60.0  # limit of waiting for a call to begin
_MOST_WRITING = 1_000  # prefixes written recently


class Watcher(Protocol):
    """Observer of each request that Claude answered, for fragments and versions of prompts."""

    def learn(self, query: Query, model: str, usage: Usage, now: float) -> None:
        """Record a request and its usage. Never blocks."""


# A tenant's salt, the same on all servers. Raises `Unavailable`.
Salt: TypeAlias = Callable[[str], Awaitable[str]]

_Outcome: TypeAlias = Literal["begun", "failed", "refused"]


@dataclass(slots=True)
class _Writing:
    """Call of this process that writes a prefix."""

    ttl: Ttl
    until: float  # by the event loop's clock; bounds the wait of others
    claimed: asyncio.Event = field(default_factory=asyncio.Event)  # or refused
    done: asyncio.Event = field(default_factory=asyncio.Event)
    # "begun": readable. "failed": the next in line writes it. "refused": no call here may.
    outcome: _Outcome | None = None

    def end(self, outcome: _Outcome) -> None:
        self.outcome = outcome
        self.claimed.set()
        self.done.set()


class PromptPlanner:
    """Plans marks. Failures are counted, and the body is sent unchanged."""

    def __init__(
        self,
        *,
        prefixes: Prefixes,
        writes: BackgroundWork,
        cost: Cost,
        salt: Salt | None = None,
        watcher: Watcher | None = None,
        reorder: Callable[[Query, Mapping[str, Any]], Mapping[str, Any]] | None = None,
    ) -> None:
        self._prefixes = prefixes
        self._writes = writes
        self._cost = cost
        self._salt = salt
        self._watcher = watcher
        self._reorder = reorder
        self._recent = RecentSights()
        self._rates: dict[tuple[str, int], Rates | None] = {}
        self._writing: dict[tuple[str, str], _Writing] = {}

    async def plan(
        self, query: Query, body: Mapping[str, Any], model: str, now: float
    ) -> tuple[Mapping[str, Any], Plan | None]:
        """Return the body with marks, and the plan; a plan without marks says why.

        None if Claude's cache is not to be used. Raises `StoreError`.
        """
        if body.get("max_tokens") == 0:
            return body, None  # the caller's own pre-warming
        if marked_by_caller(body):
            return body, Plan((), "caller-marked")
        priced = self._rates_of(model, now)
        if priced is None:
            return body, Plan((), "unpriced")
        moved = False
        if self._reorder is not None and query.tenant.caching.move_dynamic:
            before, body = body, self._reorder(query, body)
            moved = body is not before
        laid, extra = body, 0.0
        salt = self._salt if query.tenant.caching.salt else None
        if salt is not None:
            try:
                laid = prompt_salt.salted(body, await salt(query.tenant.name))
            except Unavailable:  # without its salt a prefix could be shared, so nothing is marked
                return body, Plan((), "no-salt")
            extra = prompt_salt.tokens(model)
        layout = under(lay_out(laid, model, query.headers), query.tenant)
        if salt is not None:
            layout = prompt_salt.without_tools(layout)
        drafted = await self._draft(query, layout, priced, now)
        reason = f"{drafted.reason}-moved" if moved else drafted.reason
        plan = Plan(
            drafted.as_marks(),
            f"{reason}-salted" if salt is not None and drafted.marks else reason,
            expected=round((drafted.expected - extra) * priced.input),
            prefix=drafted.prefix,
            draft=drafted,
            salt=round(extra * priced.input) if drafted.marks else 0,
        )
        return (with_marks(laid, plan.marks) if plan.marks else body), plan

    @asynccontextmanager
    async def turn(self, query: Query, plan: Plan) -> AsyncGenerator[None]:
        """Hold until the call has begun; first wait for calls that write what this one reads."""
        drafted, tenant = plan.draft, query.tenant.name
        if not isinstance(drafted, Draft):
            yield
            return
        own = {(tenant, prefix) for prefix, _ in drafted.reserved}
        try:
            own |= await self._wait(query, drafted)
            yield
        except BaseException:
            self._end(own, "failed")
            self._book(tenant, refund(drafted), drafted)
            raise
        self._end(own, "begun")
        self._book(tenant, begun(drafted), drafted)

    def learn(self, query: Query, plan: Plan, model: str, usage: Usage, now: float) -> None:
        """Book a call to its prefixes and to its tenant's hour. Never blocks."""
        tenant, drafted = query.tenant.name, plan.draft
        if isinstance(drafted, Draft) and drafted.marks:
            self._book(tenant, settle(drafted, usage), drafted)
        used = PromptCacheUse(
            calls=1,
            prompt=prompt_tokens(usage),
            read=usage.cache_read_tokens,
            written=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
            expected=plan.expected,
            gain=gain(self._cost, model, usage, now) or 0,
        )
        self._writes.gather(self._prefixes.count, (tenant, used, now))
        if self._watcher is not None:
            self._watcher.learn(query, model, usage, now)

    async def _draft(self, query: Query, layout: Layout, priced: Rates, now: float) -> Draft:
        """Return the marks, with the premiums of their writes taken. Raises `StoreError`."""
        tenant, rules = query.tenant.name, query.tenant.caching
        if (read := self._draft_read(tenant, layout, priced, now, rules.one_hour)) is not None:
            return read
        sights = await self._see(tenant, layout, now) if layout.spots else []
        if rules.wait_ms == 0:  # no waiting: prefixes being written are left alone
            sights = [_without_writes(sight) for sight in sights]
        drafted = draft(layout, sights, priced, now=now, one_hour=rules.one_hour)
        if not drafted.reserved:
            return drafted
        if busy := [prefix for prefix, _ in drafted.reserved if self._is_writing(tenant, prefix)]:
            # Another call of this process began to write after the store was read.
            sights = await self._await_claims(tenant, busy, drafted, sights)
            return draft(layout, sights, priced, now=now, write=False)
        if await self._claim(tenant, drafted, now):
            return drafted
        return draft(
            layout, [_without_writes(sight) for sight in sights], priced, now=now, write=False
        )

    def _draft_read(
        self, tenant: str, layout: Layout, priced: Rates, now: float, one_hour: bool
    ) -> Draft | None:
        """Return the marks if they only read what the store told of a moment ago."""
        if not layout.spots or (sights := self._recent.recall(tenant, layout, now)) is None:
            return None
        drafted = draft(layout, sights, priced, now=now, one_hour=one_hour)
        busy = any(self._is_writing(tenant, spot.prefix) for spot in layout.spots)
        if drafted.reserved or drafted.waits or busy:
            return None
        # This sighting is counted with others, a second later.
        self._writes.gather(self._see_all, (tenant, layout, now))
        return drafted

    async def _see(self, tenant: str, layout: Layout, now: float) -> list[PrefixStats]:
        try:
            async with Limit(_PATIENCE_S):
                sights = await self._prefixes.see(tenant, _names(layout), now)
        except TimeoutError:
            raise StoreError("the store took too long for a plan") from None
        self._recent.keep(tenant, layout, sights, now)
        return sights

    async def _see_all(self, layouts: Sequence[tuple[str, Layout, float]]) -> None:
        """Count sightings, and keep what the store tells of each prefix after the last one."""
        for tenant in {tenant for tenant, _, _ in layouts}:
            some = [(layout, now) for of, layout, now in layouts if of == tenant]
            names = [name for layout, _ in some for name in _names(layout)]
            now = max(now for _, now in some)
            sights = iter(await self._prefixes.see(tenant, names, now))
            for layout, _ in some:
                self._recent.keep(tenant, layout, [next(sights) for _ in layout.spots], now)

    async def _claim(self, tenant: str, drafted: Draft, now: float) -> bool:
        """Claim the writes for this call, first in this process, so later calls wait for it."""
        ttls = {drafted.spots[at].prefix: ttl for at, ttl in drafted.marks}
        self._recent.forget(tenant, ttls)
        self._forget_done()
        until = asyncio.get_running_loop().time() + _HELD_S
        own = {(tenant, prefix) for prefix, _ in drafted.reserved}
        for key in own:
            self._writing[key] = _Writing(ttls[key[1]], until)
        writes = [(prefix, premium, ttls[prefix]) for prefix, premium in drafted.reserved]
        claimed = False
        try:
            async with Limit(_PATIENCE_S):
                claimed = await self._prefixes.claim(tenant, writes, now)
        except TimeoutError:
            raise StoreError("the store took too long for a plan") from None
        finally:
            if not claimed:
                self._end(own, "refused")
            for key in own:
                self._writing[key].claimed.set()
        return claimed

    async def _await_claims(
        self, tenant: str, busy: Sequence[str], drafted: Draft, sights: Sequence[PrefixStats]
    ) -> list[PrefixStats]:
        """Return the sights once those calls know whether they may write."""
        found = list(sights)
        for at, spot in enumerate(drafted.spots):
            if spot.prefix in busy:
                writing = self._writing[tenant, spot.prefix]
                await writing.claimed.wait()  # bounded by one read of the store, see `_claim`
                refused = writing.outcome == "refused"
                who: Literal["ours", "theirs"] = "theirs" if refused else "ours"
                found[at] = replace(found[at], writing=who, ttl=writing.ttl)
        return found

    async def _wait(self, query: Query, drafted: Draft) -> set[tuple[str, str]]:
        """Return once this call's prefixes can be read; returns those that it must write itself.

        No longer than the rules say: by then an answer that is not streamed may well have begun at
        Claude, which is not visible here.
        """
        taken: set[tuple[str, str]] = set()
        if not drafted.waits:
            return taken
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(query.tenant.caching.wait_ms / 1_000):
                for prefix in drafted.waits:
                    key = (query.tenant.name, prefix)
                    while (writing := self._writing.get(key)) is not None:
                        if writing.until > loop.time():
                            await writing.done.wait()
                        if writing.outcome == "begun":
                            break
                        if self._writing[key] is writing:  # it failed: the first in line writes
                            self._writing[key] = _Writing(writing.ttl, loop.time() + _HELD_S)
                            self._writing[key].claimed.set()
                            taken.add(key)
                            break
        except TimeoutError:
            pass
        return taken

    def _is_writing(self, tenant: str, prefix: str) -> bool:
        writing = self._writing.get((tenant, prefix))
        now = asyncio.get_running_loop().time()
        return writing is not None and writing.outcome is None and writing.until > now

    def _end(self, own: set[tuple[str, str]], outcome: _Outcome) -> None:
        for key in own:
            if (writing := self._writing.get(key)) is not None:
                writing.end(outcome)

    def _forget_done(self) -> None:
        """Drop finished calls. Not at once: waiting calls still read their outcome."""
        if len(self._writing) > _MOST_WRITING:
            now = asyncio.get_running_loop().time()
            self._writing = {
                key: writing
                for key, writing in self._writing.items()
                if writing.until + _HELD_S > now
            }

    def _book(self, tenant: str, bookings: tuple[PrefixUpdate, ...], drafted: Draft) -> None:
        if not bookings:
            return
        claimed = tuple(prefix for prefix, _ in drafted.reserved)
        self._recent.book(tenant, bookings, drafted.at)
        self._recent.forget(tenant, claimed)
        reads = all(one.used and one.change >= 0 and not one.void for one in bookings)
        if claimed or not reads:
            # At once: it says whether another call may write.
            at = drafted.at
            self._writes.do(lambda: self._prefixes.book(tenant, bookings, at, claimed=claimed))
        else:
            self._writes.gather(self._prefixes.book_reads, (tenant, bookings, drafted.at))

    def _rates_of(self, model: str, now: float) -> Rates | None:
        """Return cached rates: prices change on UTC days, and four look-ups a miss are slow."""
        key = (model, int(now // 3_600))
        if key not in self._rates:
            if len(self._rates) >= _REMEMBERED:
                self._rates.clear()
            self._rates[key] = rates(self._cost, model, now)
        return self._rates[key]


def _names(layout: Layout) -> list[tuple[str, str, int]]:
    return [(spot.prefix, f"{spot.root}{spot.kind}", spot.tokens) for spot in layout.spots]


def _without_writes(sight: PrefixStats) -> PrefixStats:
    """Return the statistics of a prefix with its write left to another server."""
    return sight if sight.writing == "no" else replace(sight, writing="theirs")
