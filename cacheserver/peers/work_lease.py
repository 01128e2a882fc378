"""Leases of background work: each piece of it is done by one server at a time.

Rule: whoever holds the lease of a piece of work may do it. A server that dies loses its leases
after `LENGTH_S`, and another takes them; one that ends gives them back. Where a server that was
held up could do harm, the script of the step compares the token, which no two holders share.

    P work:<name>  string  the server that does it, the token, and since when (Unix s); for seconds
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, get_args

from cacheserver.core.background import one_round
from cacheserver.core.errors import StoreError
from cacheserver.core.single_flight import end
from cacheserver.storage.connection import PREFIX, Connection, command, run_script
from cacheserver.storage.lease_clock import since_boot

logger = logging.getLogger(__name__)

LENGTH_S: Final = 15.0  # how long the work of a dead server waits; the most a slow store may take
_RENEWALS: Final = 3  # in that time
_TRUSTED: Final = 0.9  # of a lease: the store's clock may run faster than ours

Work: TypeAlias = Literal["upkeep", "ledger", "alerts", "re-embed", "gold", "prewarm"]
WORKS: Final[tuple[Work, ...]] = get_args(Work)

# ARGV: P, life (ms), then work, token and whether it is held ('1' or '0') of each. A lease that is
# held is only renewed: if it lapsed, others may have worked since. Returns 1 for each that is ours.
_TAKE: Final = """
local P, life, ours = ARGV[1], ARGV[2], {}
for at = 3, #ARGV, 3 do
  local key, token = P .. 'work:' .. ARGV[at], ARGV[at + 1]
  local holder = redis.call('GET', key)
  if holder == token or (not holder and ARGV[at + 2] == '0') then
    redis.call('SET', key, token, 'PX', life)
    ours[#ours + 1] = 1
  else
    ours[#ours + 1] = 0
  end
end
return ours
"""

# ARGV: P, then work and token of each lease to give back.
_GIVE_BACK: Final = """
for at = 2, #ARGV, 2 do
  local key = ARGV[1] .. 'work:' .. ARGV[at]
  if redis.call('GET', key) == ARGV[at + 1] then redis.call('DEL', key) end
end
return 1
"""

# Part of scripts: returns whether the lease of a piece of work is still the caller's. '' as its
# token: no other server uses the store.
IS_OURS: Final = """
local function is_ours(work, token)
  return token == '' or redis.call('GET', ARGV[1] .. 'work:' .. work) == token
end
"""


class Lease(Protocol):
    """The lease of one piece of work, as whoever does the work sees it."""

    @property
    def held(self) -> bool:
        """Return whether this server may do the work now."""

    @property
    def token(self) -> str:
        """Return what `IS_OURS` compares."""

    async def take(self) -> bool:
        """Take or renew the lease. False if another server has it. Raises `StoreError`."""

    async def give_back(self) -> None:
        """Let another server take it at once. Raises `StoreError`."""

    async def pass_on(self) -> None:
        """Give it back, and leave it to others for its length: this server fails at the work."""


class _Alone:
    held: Final = True
    token: Final = ""

    async def take(self) -> bool:
        return True

    async def give_back(self) -> None:
        return

    async def pass_on(self) -> None:
        return


ALONE: Final[Lease] = _Alone()  # for a store that no other server uses


@dataclass(frozen=True, slots=True)
class Holder:
    """Server that does a piece of work. `since` is Unix seconds, by that server's clock."""

    server: str
    since: float


class WorkLease:
    """A `Lease` in the store."""

    def __init__(
        self,
        redis: Connection,
        work: str,
        *,
        server: str,
        prefix: str = PREFIX,
        length_s: float = LENGTH_S,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self.work = work
        self.token = ""
        self._server = server
        self._prefix = prefix
        self._length_s = length_s
        self._clock = clock
        self._held_until = 0.0
        self._not_before = 0.0
        self._is_asked = False  # a reply with this token is awaited, or was lost
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)

    @property
    def held(self) -> bool:
        return self._clock() < self._held_until

    async def take(self) -> bool:
        await _take_all([self])
        return self.held

    async def give_back(self) -> None:
        await _give_back_all([self])

    async def pass_on(self) -> None:
        self._not_before = self._clock() + self._length_s
        await self.give_back()

    @property
    def _is_wanted(self) -> bool:
        return self._clock() >= self._not_before

    def _words(self) -> tuple[str, str, str]:
        held = self.held
        if not held and not self._is_asked:
            self.token = f"{self._server} {secrets.token_hex(8)} {time.time():.0f}"
            self._is_asked = True
        return self.work, self.token, "1" if held else "0"

    def _answered(self, token: str, asked_at: float, *, ours: bool) -> None:
        if token != self.token:
            return  # it was given back meanwhile
        self._is_asked = False
        self._held_until = asked_at + self._length_s * _TRUSTED if ours else 0.0


async def _take_all(leases: Sequence[WorkLease]) -> None:
    """Take or renew leases of one length in one step. Raises `StoreError`."""
    wanted = [lease for lease in leases if lease._is_wanted]
    if not wanted:
        return
    first = wanted[0]
    asked_at = first._clock()
    words = [word for lease in wanted for word in lease._words()]
    life_ms = round(first._length_s * 1_000)
    found = await run_script(first._take, first._prefix, life_ms, *words)
    for lease, token, ours in zip(wanted, words[1::3], found, strict=True):
        lease._answered(token, asked_at, ours=bool(ours))


async def _give_back_all(leases: Sequence[WorkLease]) -> None:
    words = [word for lease in leases if lease.token for word in (lease.work, lease.token)]
    for lease in leases:
        lease._answered(lease.token, 0.0, ours=False)
        lease.token = ""
    if words:
        await run_script(leases[0]._give_back, leases[0]._prefix, *words)


class WorkLeases:
    """The leases of this server: it takes and renews them from `start` to `close`."""

    def __init__(
        self,
        redis: Connection,
        swallowed: Callable[[str], object],
        *,
        server: str,
        prefix: str = PREFIX,
        length_s: float = LENGTH_S,
    ) -> None:
        self._redis = redis
        self._swallowed = swallowed
        self._server = server
        self._prefix = prefix
        self._length_s = length_s
        self._leases: dict[Work, WorkLease] = {}
        self.standing: set[Work] = set()  # work that this server does when nobody else does
        self._is_new = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name="work:leases")

    async def close(self) -> None:
        """Give all of them back; the work has ended before."""
        if self._task is not None:
            await end(self._task)
            self._task = None
        try:
            await _give_back_all(list(self._leases.values()))
        except StoreError:
            self._swallowed("work-leases")  # they end by themselves

    def of(self, work: Work, *, standing: bool = True) -> WorkLease:
        """Return the lease of a piece of work.

        A standing one is taken as soon as it is free; another when somebody takes it, and renewed
        until it is given back.
        """
        if work not in self._leases:
            self._leases[work] = WorkLease(
                self._redis,
                work,
                server=self._server,
                prefix=self._prefix,
                length_s=self._length_s,
            )
        if standing:
            self.standing.add(work)
            self._is_new.set()
        return self._leases[work]

    @property
    def held(self) -> list[Work]:
        """Return the work that this server does now."""
        return [work for work, lease in self._leases.items() if lease.held]

    async def holders(self) -> dict[Work, Holder | None]:
        """Return who does each piece of work; None: nobody does now. Raises `StoreError`."""
        values = await command(self._redis, "MGET", *(f"{self._prefix}work:{one}" for one in WORKS))
        return {work: _holder(value) for work, value in zip(WORKS, values, strict=True)}

    async def _keep(self) -> None:
        while True:
            self._is_new.clear()
            try:
                with one_round():
                    await _take_all(
                        [
                            lease
                            for work, lease in self._leases.items()
                            if lease.held or work in self.standing
                        ]
                    )
            except Exception as error:  # the task boundary: the leases lapse meanwhile
                self._swallowed("work-leases")
                if not isinstance(error, StoreError):
                    logger.error("taking work failed: %s", type(error).__name__)
            try:
                async with asyncio.timeout(self._length_s / _RENEWALS):
                    await self._is_new.wait()
            except TimeoutError:
                continue


def _holder(value: bytes | None) -> Holder | None:
    if value is None:
        return None
    server, _, since = value.decode().split(" ")
    return Holder(server, float(since))
