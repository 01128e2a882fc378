"""The other servers on the same store: a lease, the stream of their changes, and confirmation.

Rule: whoever changes what servers remember waits in `everywhere` until each live server has applied
the change, or its lease has lapsed. A server without a lease trusts nothing that it remembers, and
drops all of it before it is trusted again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Any, Final, Protocol, TypeAlias

from redis.asyncio.connection import AbstractConnection
from redis.commands.core import AsyncScript

from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.peers import admission, scripts
from cacheserver.peers.admission import Admission
from cacheserver.peers.changes import Anew, Apply, Change, Listener, read_change
from cacheserver.peers.clock_check import ClockCheck
from cacheserver.peers.takeover import Takeover
from cacheserver.storage.connection import PREFIX, Connection, run_script, store_errors
from cacheserver.storage.lease_clock import since_boot
from cacheserver.storage.replication import run_replicated

logger = logging.getLogger(__name__)

LEASE_S: Final = 1.0
_TRUSTED: Final = 0.9  # of a lease: the store's clock may run faster than ours
_BEATS: Final = 4  # in the time of a lease
_BLOCKED: Final = 0.5  # of a lease a read of the stream waits; its reply shows that the store lives
_PAUSE_S: Final = 0.004  # between looks whether all have applied a change
_PATIENCE_S: Final = 5.0  # for servers that keep their lease and apply nothing
_READ: Final = 512  # changes read by one round trip
_RETRY_S: Final = 0.1
_TAKEOVERS: Final = 5  # of the store by replicas, while one change is made
_START_S: Final = 30.0  # for the others' removals; as long as an orchestrator waits for a start
_AT_ONCE_S: Final = 0.6  # how long a request waits for a lease that lapsed
_NOTHING: Final = "0-0"  # before all changes

Counts: TypeAlias = Callable[[str], object]  # of failures, by where


class Told(Protocol):
    """Tells all servers of a change that is stored, and returns once it is in force on each."""

    async def __call__(self, kind: str, body: str = "", /) -> None: ...


def uncounted(site: str) -> None:
    """Count nothing: for a command, which fails aloud."""


async def nobody(kind: str, body: str = "") -> None:
    """Tell nobody: for a store that no server uses."""


class Peers:
    """This server among those on its store, from `start` to `close`.

    Without `start` it is no server: a command that changes something and waits for the servers.
    """

    def __init__(
        self,
        redis: Connection,
        swallowed: Counts,
        *,
        prefix: str = PREFIX,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self.name = secrets.token_hex(8)
        self.live = 1  # servers, as of the last beat
        self.term = 0  # of the lease: counts how often it was taken anew
        self._redis = redis
        self._swallowed = swallowed
        self._clocks = ClockCheck(swallowed)
        self._prefix = prefix
        self._lease_s = lease_s
        self._clock = clock
        self._listeners: dict[str, Listener] = {}
        self._trusted_until = 0.0
        self._heard_at = 0.0  # when the stream was last read without a failure
        self._settled_from = 0.0
        self._complete_from = 0.0  # every live server is in the store's list of them
        self._had_others = False  # when the lease was last trusted
        self._is_new = False  # what is remembered must be dropped before the lease is trusted
        self._applied = _NOTHING  # the last change applied
        self._beat_at = 0.0  # the last renewal that was answered
        self._takeover = Takeover(redis, prefix=prefix, name=self.name)
        self._tasks: list[asyncio.Task[None]] = []
        self._beating: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()
        self._beat_script = redis.register_script(scripts.BEAT)
        self._leave_script = redis.register_script(scripts.LEAVE)
        self.note = redis.recent.note  # before a change that a failover must not undo
        self._add = redis.register_script(scripts.ADD)
        self._lagging = redis.register_script(scripts.LAGGING)
        self._seen = redis.register_script(scripts.SEEN)

    def listen(
        self,
        kind: str,
        apply: Apply,
        *,
        anew: Anew,
        missed: Anew | None = None,
        waited: bool = True,
    ) -> None:
        """Have `apply` called with the bodies of other servers' changes of a kind, in order.

        `anew` drops what is remembered: it is called after a lapse of the lease, when others may
        have changed something that will be heard of later; `missed`, by default the same, after a
        gap in the stream. A change is confirmed once `apply` has returned; one that nobody waits
        for (`waited` False) with the next that somebody does, or the next beat.
        """
        self._listeners[kind] = Listener(apply, anew, missed or anew, waited)

    @property
    def held(self) -> bool:
        """Return whether what this server remembers may be trusted now."""
        # A replica that took over may have back what was removed.
        return self._clock() < self._trusted_until and not self._redis.recent.unsure

    @property
    def many(self) -> bool:
        """Return whether there are other servers, as of the last beat."""
        return self.live > 1

    @property
    def settled(self) -> bool:
        """Return whether the lease is held, and every other server knows of this one.

        Also that no change of this server's, whose outcome it does not know, can still be carried
        out (`doubt`).
        """
        now = self._clock()
        return now < self._trusted_until and now >= self._settled_from

    def doubt(self) -> None:
        """Note that the outcome of a change is not known: the store may carry it out later.

        A store that hung for longer than this has not renewed the lease either.
        """
        self._settled_from = self._clock() + self._lease_s

    async def start(self) -> None:
        """Join, after the others' removals if a replica has just taken over. Raises `StoreError`.

        Call `close` also where it fails.
        """
        self._applied = await self._tell("join", "")
        self._heard_at = self._clock()
        if await self._takeover.is_new():
            self._had_others = True  # it may: those that live are listed within a lease
            self._complete_from = self._clock() + self._lease_s
        await self._renew()
        self._tasks = [
            asyncio.create_task(self._keep_beating(), name="peers:lease"),
            asyncio.create_task(self._follow(), name="peers:follow"),
        ]
        ends = self._clock() + _START_S
        while self._redis.recent.unsure:
            if self._clock() > ends:
                raise StoreError("after a failover, a server has not made its removals again")
            await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        """Leave: nobody waits for this server any more."""
        self._trusted_until = 0.0
        for task in (*self._tasks, *([] if self._beating is None else [self._beating])):
            await end(task)
        await self._takeover.close()
        self._tasks = []
        try:
            await run_script(self._leave_script, self._prefix, self.name)
        except StoreError:
            self._swallowed("peers")  # the lease ends by itself

    async def admit(self) -> Admission:
        """Begin a request that will be let in by what is remembered of keys and settings."""
        held = self.held or await self.trust()
        return admission.begin(self.term if held else admission.LAPSED)

    async def vouch(self, term: int) -> None:
        """Return if an answer that was looked up since `term` may be served; else `StoreError`.

        Not without a lease, nor if it lapsed since the look-up began: the answer may be gone. If it
        lapsed since the request was admitted, only where the request would be admitted again.
        """
        held = self.held or await self.trust()
        stands = held and self.term == term and await admission.stands(term)
        if not (stands and self.held and self.term == term):
            raise StoreError("this server's lease has lapsed")

    async def trust(self) -> bool:
        """Renew a lapsed lease if that can be done at once; return whether it is held."""
        if not self.held and self._tasks and not self._redis.health.hangs:
            await asyncio.wait({self._beat_now()}, timeout=_AT_ONCE_S)
        return self.held

    async def tell(self, kind: str, body: str = "") -> None:
        """Tell the other servers of a change, if there are any, and wait for nobody.

        A failure is counted: it is only used where servers would learn of the change anyway.
        """
        if self.many:
            try:
                await self._tell(kind, body)
            except StoreError:
                self._swallowed("peers")

    async def everywhere(self, kind: str, body: str = "", *, lasting: bool = True) -> None:
        """Tell the other servers of a change that is stored, and wait until it is in force.

        `lasting`: also until the store's replicas have it. Raises `StoreError` if that is not
        known: the change is stored, and will be in force.
        """
        words, recent = (self._prefix, self.name, kind, body), self._redis.recent
        add = partial(run_replicated if lasting else _run, self._redis, self._add)
        for _ in range(_TAKEOVERS):
            await recent.redo()
            id, others, listed = await add(*words)
            if not recent.due:
                break  # the primary that made the change made this one too, or it was made again
        else:
            raise StoreError("the store changes its primary again and again")
        if self._tasks and not listed:  # as others may not be: the store has lost what it had
            self._complete_from = self._clock() + self._lease_s
        while (unsure_s := self._complete_from - self._clock()) > 0:
            others = True
            await asyncio.sleep(unsure_s)
        if others:
            await self._confirmed(id)

    async def confirm(self, *, lasting: bool = True) -> None:
        """Wait until every other server has applied all changes that were made so far.

        For changes whose own script has told of them. `lasting`: also until the store's replicas
        have them. Raises `StoreError`.
        """
        if self.many or not self.held or (lasting and self._redis.replicas):
            await self.everywhere("sync", lasting=lasting)

    async def _redone(self, kind: str, body: str) -> None:
        """Have all servers apply a change that was made again."""
        await self._tell(kind, body)
        if (listener := self._listeners.get(kind)) is not None:
            await listener.apply([body])

    async def _confirmed(self, id: bytes) -> None:
        patience = self._clock() + _PATIENCE_S
        while late := int(await run_script(self._lagging, self._prefix, self.name, id)):
            if self._clock() > patience:
                raise StoreError(f"{late} of the other servers have not applied the change yet")
            await asyncio.sleep(_PAUSE_S)

    async def _tell(self, kind: str, body: str) -> str:
        reply = await run_script(self._add, self._prefix, self.name, kind, body)
        return str(reply[0].decode())

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / _BEATS)
            self._beat_now()

    def _beat_now(self) -> asyncio.Task[None]:
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat(), name="peers:beat")
        return self._beating

    async def _beat(self) -> None:
        """Renew the lease. Raises nothing."""
        try:
            await self._renew()
        except Exception as error:  # the task boundary: the next beat tries again
            self._swallowed("peers")
            if not isinstance(error, StoreError):
                logger.error("renewing the lease failed: %s", type(error).__name__)

    async def _renew(self) -> None:
        """Renew the lease, unless changes are not heard of here: then it shall lapse."""
        self._takeover.begin()
        if self._clock() - self._heard_at > self._lease_s:
            self._heard.clear()
            await self._tell("sync", "")  # the read of the stream returns at once
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease_s):
                    await self._heard.wait()
        asked_at = self._clock()
        if asked_at - self._heard_at > self._lease_s:
            return
        went_on = True
        while True:
            # A server that has changes to make again confirms nothing: the others wait for it.
            due = self._redis.recent.due
            words = (self.name, round(self._lease_s * 1_000), _NOTHING if due else self._applied)
            found = await run_script(self._beat_script, self._prefix, *words)
            was_listed, self.live, store_ms = found
            went_on = went_on and bool(was_listed)
            if due or not self._redis.recent.due:  # else the beat was the first to meet a replica
                break
        self._clocks.note(store_ms / 1_000)
        # The reply to the beat that began a new lease may have been lost: then this one went on.
        lapsed = asked_at - self._beat_at > self._lease_s * _TRUSTED
        self._beat_at = asked_at
        if lapsed or not went_on:
            self._is_new = True
            self.term += 1
            self._settled_from = self._clock() + self._lease_s
            if self.term > 1:  # others may have lapsed with this one, and not be back yet
                self._complete_from = self._settled_from
        if self._redis.recent.unsure:
            listed = not self._had_others or self._clock() >= self._complete_from
            wait_s = self._lease_s / _BEATS
            if not await self._takeover.settle(wait_s=wait_s, all_listed=listed):
                return
            self.term += 1  # what was read meanwhile may be gone now
            self._is_new = True
        await self._redis.recent.tell(self._redone)
        if self._is_new:  # or the last beat failed here
            for one in self._listeners.values():
                await one.anew()
            self._is_new = False
        self._had_others = self.many
        self._trusted_until = asked_at + self._lease_s * _TRUSTED

    async def _follow(self) -> None:
        connection = None
        try:
            while True:
                try:
                    with one_round():
                        if connection is None:
                            connection = await self._redis.dedicated()
                        await self._apply(await self._read(connection))
                except Exception as error:  # the task boundary: the lease lapses meanwhile
                    self._swallowed("peers")
                    if not isinstance(error, StoreError):
                        logger.error("following changes failed: %s", type(error).__name__)
                    if connection is not None:
                        await connection.disconnect(nowait=True)
                        connection = None
                    await asyncio.sleep(_RETRY_S)
        finally:
            if connection is not None:
                await connection.disconnect(nowait=True)

    async def _read(self, connection: AbstractConnection) -> list[Change]:
        """Return the next changes, after some time none. Raises `StoreError`."""
        stream, block_ms = f"{self._prefix}changes", round(_BLOCKED * self._lease_s * 1_000)
        after = self._applied
        with store_errors():
            await connection.send_command("XRANGE", stream, after, after)
            await connection.send_command(
                "XREAD", "COUNT", _READ, "BLOCK", block_ms, "STREAMS", stream, after
            )
            known = await connection.read_response()
            found = await connection.read_response()
        if not known:  # it was trimmed, and others with it; or the store has lost its data
            self._swallowed("peers-gap")
            joined = await self._tell("join", "")
            for one in self._listeners.values():
                await one.missed()
            self._applied = joined  # not before: a beat would confirm what was missed
            return []
        self._heard_at = self._clock()
        self._heard.set()
        if not self.held:
            self._beat_now()
        return [read_change(id, fields) for id, fields in found[0][1]] if found else []

    async def _apply(self, changes: Sequence[Change]) -> None:
        """Apply changes in their order, those of one kind together; then confirm them."""
        waited = False
        for (kind, own), some in groupby(changes, lambda one: (one[1], one[3] == self.name)):
            bodies = [(id, body) for id, _, body, _ in some]
            listener = self._listeners.get(kind)
            if not own:
                waited = waited or listener is None or listener.waited
                if listener is not None:
                    await listener.apply([body for _, body in bodies])
            self._applied = bodies[-1][0]
        if waited and not self._redis.recent.due:
            words = (self._prefix, self.name, self._applied)
            await run_script(self._seen, *words)


async def _run(_: Connection, script: AsyncScript, *words: str) -> Any:
    return await run_script(script, *words)
