"""The other servers on the same store: a lease, the stream of their changes, and confirmation.

Rule: whoever changes what servers remember waits in `everywhere` until each live server has applied
the change, or its lease has lapsed. A server without a lease trusts nothing that it remembers, and
drops all of it before it is trusted again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from redis.commands.core import AsyncScript

from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.peers import admission, scripts
from cacheserver.peers.admission import Admission
from cacheserver.peers.change_stream import Anew, Apply, ChangeStream, Counts, Listener
from cacheserver.peers.server_lease import LEASE_S, ServerLease
from cacheserver.storage.connection import PREFIX, Connection, run_script
from cacheserver.storage.lease_clock import since_boot
from cacheserver.storage.replication import run_replicated

_PAUSE_S: Final = 0.004  # between looks whether all have applied a change
_PATIENCE_S: Final = 5.0  # for servers that keep their lease and apply nothing
_TAKEOVERS: Final = 5  # of the store by replicas, while one change is made
_START_S: Final = 30.0  # for the others' removals; as long as an orchestrator waits for a start
_AT_ONCE_S: Final = 0.6  # how long a request waits for a lease that lapsed


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
        self._redis = redis
        self._swallowed = swallowed
        self._prefix = prefix
        self._clock = clock
        self._stream = ChangeStream(
            redis,
            swallowed,
            prefix=prefix,
            name=self.name,
            lease_s=lease_s,
            clock=clock,
            heard=self._heard,
        )
        self._lease = ServerLease(
            redis,
            self._stream,
            swallowed,
            prefix=prefix,
            name=self.name,
            length_s=lease_s,
            clock=clock,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.note = redis.recent.note  # before a change that a failover must not undo
        self._add = redis.register_script(scripts.ADD)
        self._lagging = redis.register_script(scripts.LAGGING)

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
        self._stream.listen(kind, Listener(apply, anew, missed or anew, waited))

    @property
    def live(self) -> int:
        """Return the number of servers, this one included, as of the last beat."""
        return self._lease.live

    @property
    def many(self) -> bool:
        """Return whether there are other servers, as of the last beat."""
        return self.live > 1

    @property
    def term(self) -> int:
        """Return how often the lease was taken anew."""
        return self._lease.term

    @property
    def held(self) -> bool:
        """Return whether what this server remembers may be trusted now."""
        return self._lease.held

    @property
    def settled(self) -> bool:
        """Return whether the lease is held, and every other server knows of this one.

        Also that no change of this server's, whose outcome it does not know, can still be carried
        out (`doubt`).
        """
        return self._lease.settled

    def doubt(self) -> None:
        """Note that the outcome of a change is not known: the store may carry it out later."""
        self._lease.doubt()

    async def start(self) -> None:
        """Join, after the others' removals if a replica has just taken over. Raises `StoreError`.

        Call `close` also where it fails.
        """
        await self._stream.join()
        await self._lease.take()
        self._tasks = [
            asyncio.create_task(self._lease.keep(), name="peers:lease"),
            asyncio.create_task(self._stream.follow(), name="peers:follow"),
        ]
        ends = self._clock() + _START_S
        while self._redis.recent.unsure:
            if self._clock() > ends:
                raise StoreError("after a failover, a server has not made its removals again")
            await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        """Leave: nobody waits for this server any more."""
        self._lease.drop()
        for task in self._tasks:
            await end(task)
        self._tasks = []
        try:
            await self._lease.give_back()
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
            await asyncio.wait({self._lease.beat()}, timeout=_AT_ONCE_S)
        return self.held

    async def tell(self, kind: str, body: str = "") -> None:
        """Tell the other servers of a change, if there are any, and wait for nobody.

        A failure is counted: it is only used where servers would learn of the change anyway.
        """
        if self.many:
            try:
                await self._stream.add(kind, body)
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
            self._lease.note_unlisted()
        while (unlisted_s := self._lease.unlisted_s) > 0:
            others = True
            await asyncio.sleep(unlisted_s)
        if others:
            await self._confirmed(id)

    async def confirm(self, *, lasting: bool = True) -> None:
        """Wait until every other server has applied all changes that were made so far.

        For changes whose own script has told of them. `lasting`: also until the store's replicas
        have them. Raises `StoreError`.
        """
        alone = self.held and not self.many and self._lease.unlisted_s <= 0
        if not alone or (lasting and self._redis.replicas):
            await self.everywhere("sync", lasting=lasting)

    async def _confirmed(self, id: bytes) -> None:
        patience = self._clock() + _PATIENCE_S
        while late := int(await run_script(self._lagging, self._prefix, self.name, id)):
            if self._clock() > patience:
                raise StoreError(f"{late} of the other servers have not applied the change yet")
            await asyncio.sleep(_PAUSE_S)

    def _heard(self) -> None:
        """Take the lease at once if it had lapsed: the store answers."""
        if not self.held:
            self._lease.beat()


async def _run(_: Connection, script: AsyncScript, *words: str) -> Any:
    return await run_script(script, *words)
