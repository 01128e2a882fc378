"""Statistics of the prefixes of Claude's prompt cache, shared by all servers.

A miss asks once (`see`), and once more if it is about to write (`claim`): only one call spends a
premium. One that only reads what was asked for a moment ago does not ask (`recent_sights`). The
outcome is written in the background, those of calls that only read together. Bounded per tenant:
the prefix unseen for longest is dropped first, but never one that owes a premium of the day.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import neg
from typing import Final, TypeAlias

from cacheserver.promptcache import prefix_scripts
from cacheserver.promptcache.planner import (
    LIFETIME_S,
    MARGIN_S,
    Gaps,
    PrefixStats,
    PrefixUpdate,
    Ttl,
)
from cacheserver.storage.connection import (
    PREFIX,
    Connection,
    command,
    run_script,
    store_errors,
)
from cacheserver.storage.json_values import tenant_key

_RANKED = 500  # prefixes weighed in one step of the store: a millisecond
MOST = 4_096  # prefixes of a tenant, some 200 bytes each
# Decay: new behaviour is learned within about 60 sightings; of a kind, within about 100 prefixes.
KEEP = 1 - 1 / 64
KEEP_KIND = 1 - 1 / 128
# Time after which a call that has not begun counts as lost. Its premium stays spent.
_WRITING_S = 120
_HOUR_S = 3_600
_USAGE_HOURS = 8 * 24  # of usage, hour by hour

EDGES = tuple(LIFETIME_S[ttl] - MARGIN_S for ttl in ("5m", "1h"))
_TTL_OF: Final[dict[int, Ttl]] = {seconds: ttl for ttl, seconds in LIFETIME_S.items()}

# Tenant, outcome for its prefixes, and when the call began.
PrefixReads: TypeAlias = tuple[str, Sequence[PrefixUpdate], float]


@dataclass(frozen=True, slots=True)
class ListedPrefix:
    """A prefix as it is stored. Times are Unix seconds."""

    prefix: str
    tokens: int  # estimated
    last_at: float
    stats: PrefixStats


@dataclass(frozen=True, slots=True)
class PromptCacheUse:
    """Use of Claude's prompt cache by a tenant's calls, in tokens and nanodollars."""

    calls: int = 0
    prompt: int = 0
    read: int = 0
    written: int = 0
    expected: int = 0  # gain, as planned
    gain: int = 0  # as measured
    warmed: int = 0  # pre-warming calls
    warm_cost: int = 0  # their cost

    @property
    def read_ratio(self) -> float | None:
        """Return the share of prompt tokens read from the cache; None without tokens."""
        return self.read / self.prompt if self.prompt else None


class Prefixes:
    """Sightings, lifetimes and accounts of prefixes. Raises `StoreError` when the store fails."""

    def __init__(
        self, redis: Connection, *, prefix: str = PREFIX, most: int = MOST, server: str = ""
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._most = most
        self._server = server or secrets.token_hex(6)
        self._me = self._server.encode()
        self._see = redis.register_script(prefix_scripts.SEE)
        self._claim = redis.register_script(prefix_scripts.CLAIM)
        self._book = redis.register_script(prefix_scripts.BOOK)
        self._count = redis.register_script(prefix_scripts.COUNT)
        self._weigh = redis.register_script(prefix_scripts.WEIGH)

    async def see(
        self, tenant: str, prefixes: Sequence[tuple[str, str, int]], now: float
    ) -> list[PrefixStats]:
        """Count a sighting of each (prefix, kind, tokens), and return its statistics."""
        words = [word for name, kind, tokens in prefixes for word in (name, f"~{kind}", tokens)]
        found = await run_script(
            self._see,
            self._prefix,
            tenant_key(tenant),
            repr(now),
            _day(now),
            self._server,
            self._most,
            KEEP,
            KEEP_KIND,
            *EDGES,
            *words,
        )
        return [self._sight(row, now) for row in found]

    async def claim(
        self, tenant: str, writes: Sequence[tuple[str, float, Ttl]], now: float
    ) -> bool:
        """Take the premiums of all (prefix, premium, lifetime), or none: then others may write."""
        words = [word for name, premium, ttl in writes for word in (name, premium, LIFETIME_S[ttl])]
        until = repr(now + _WRITING_S)
        spent = await run_script(
            self._claim,
            self._prefix,
            tenant_key(tenant),
            repr(now),
            _day(now),
            self._server,
            until,
            *words,
        )
        return bool(spent)

    async def book(
        self,
        tenant: str,
        bookings: Sequence[PrefixUpdate],
        began: float,
        *,
        claimed: Sequence[str] = (),
    ) -> None:
        """Book the outcome of a call that began at `began`; `claimed` are its own claims."""
        words = [word for one in bookings for word in _update(one, began, one.prefix in claimed)]
        if words:
            await run_script(self._book, self._prefix, tenant_key(tenant), _day(began), *words)

    async def book_reads(self, calls: Iterable[PrefixReads]) -> None:
        """Book the outcomes of calls that claimed nothing, folded by prefix."""
        days: dict[tuple[str, int], dict[str, tuple[PrefixUpdate, float]]] = {}
        for tenant, bookings, began in calls:
            folded = days.setdefault((tenant, _day(began)), {})
            for one in bookings:
                before, latest = folded.get(one.prefix, (None, began))
                if before is not None:
                    newer = one if began >= latest else before
                    change, used = before.change + one.change, before.used or one.used
                    one = replace(newer, change=change, used=used)
                folded[one.prefix] = one, max(began, latest)
        for (tenant, day), folded in days.items():
            words = [word for one, at in folded.values() for word in _update(one, at, False)]
            await run_script(self._book, self._prefix, tenant_key(tenant), day, *words)

    async def take_slot(self, tenant: str, name: str, slot: int, life_s: int) -> bool:
        """Return whether this server pre-warms `name` in that slot of time."""
        key = f"{self._prefix}pcw:{tenant_key(tenant)}:{name}:{slot}"
        return bool(await command(self._redis, "SET", key, self._server, "NX", "EX", life_s))

    async def count(self, calls: Iterable[tuple[str, PromptCacheUse, float]]) -> None:
        """Add calls, each with its tenant and time, to the sums of their hours."""
        hours: dict[str, Counter[str]] = {}
        for tenant, used, now in calls:
            key = self._hour_key(tenant, int(now // _HOUR_S))
            hours.setdefault(key, Counter()).update(_fields(used))
        words: list[str | int] = []
        for key, sums in hours.items():
            pairs = [pair for pair in sums.items() if pair[1]]
            words += (key, len(pairs), *(word for pair in pairs for word in pair))
        await run_script(self._count, _USAGE_HOURS * _HOUR_S, *words)

    async def used(self, tenant: str, window_s: int, now: float) -> PromptCacheUse:
        """Return the sums of the hours that the last `window_s` seconds touch, 8 days at most."""
        last = int(now // _HOUR_S)
        first = max(int((now - window_s) // _HOUR_S), last - _USAGE_HOURS + 1)
        sums = dict.fromkeys(_fields(PromptCacheUse()), 0)
        for hour in range(first, last + 1):
            row = await command(self._redis, "HGETALL", self._hour_key(tenant, hour))
            for name, value in row.items():
                sums[name.decode()] = sums.get(name.decode(), 0) + int(value)
        return PromptCacheUse(**sums)

    async def ranked(self, tenant: str) -> list[str]:
        """Return the names of the tenant's prefixes by tokens times sightings, greatest first."""
        names = await command(
            self._redis, "ZREVRANGE", f"{self._prefix}pcs:{tenant_key(tenant)}", 0, -1
        )
        own = [
            name.decode() for name in names if not name.startswith(b"~")
        ]  # kinds are no prefixes
        weights: list[int] = []
        for at in range(0, len(own), _RANKED):
            words = own[at : at + _RANKED]
            weights += await run_script(self._weigh, self._base(tenant), *words)
        return [name for _, name in sorted(zip(map(neg, weights), own, strict=True))]

    async def listed(self, tenant: str, names: Sequence[str], now: float) -> list[ListedPrefix]:
        """Return these prefixes, without those that are gone."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hgetall(f"{self._base(tenant)}{name}")
                rows = await pipe.execute() if names else []
        return [_listed(name, row, now) for name, row in zip(names, rows, strict=True) if row]

    def _base(self, tenant: str) -> str:
        return f"{self._prefix}pc:{tenant_key(tenant)}:"

    def _hour_key(self, tenant: str, hour: int) -> str:
        return f"{self._prefix}pcu:{tenant_key(tenant)}:{hour}"

    def _sight(self, row: Sequence[bytes], now: float) -> PrefixStats:
        if not row:
            # No room to remember it: what could not be booked must not be written.
            return PrefixStats(account=-1.0)
        s, a, b, c, ks, ka, kb, u, t, w, o, m, v = row
        writing = float(w or 0) > now
        return PrefixStats(
            sightings=float(s),
            gaps=Gaps(float(a), float(b), float(c)),
            kind_opened=float(ks),
            kind=Gaps(float(ka), float(kb)),
            used_at=float(u) if u else None,
            ttl=_TTL_OF.get(int(t or 300), "5m"),
            writing="no" if not writing else "ours" if o == self._me else "theirs",
            account=float(m),
            void=v == b"1",
        )


def _listed(name: str, row: Mapping[bytes, bytes], now: float) -> ListedPrefix:
    """Decode a stored prefix; the account is that of the day it was last booked on."""

    def number(field: bytes) -> float:
        return float(row.get(field) or 0)

    stats = PrefixStats(
        sightings=number(b"s"),
        gaps=Gaps(number(b"a"), number(b"b"), number(b"c")),
        used_at=number(b"u") or None,
        ttl=_TTL_OF.get(int(number(b"t")), "5m"),
        writing="theirs" if number(b"w") > now else "no",
        account=number(b"m"),
        void=row.get(b"v") == b"1",
    )
    return ListedPrefix(name, int(number(b"z")), number(b"l"), stats)


def _fields(used: PromptCacheUse) -> Mapping[str, int]:
    return {
        "calls": used.calls,
        "prompt": used.prompt,
        "read": used.read,
        "written": used.written,
        "expected": used.expected,
        "gain": used.gain,
        "warmed": used.warmed,
        "warm_cost": used.warm_cost,
    }


def _update(one: PrefixUpdate, began: float, claimed: bool) -> Iterator[str | float]:
    """Yield the words of `BOOK` for a prefix."""
    yield from (one.prefix, one.change, int(one.used), LIFETIME_S[one.ttl])
    yield from (int(one.void), int(claimed), repr(began))


def _day(now: float) -> int:
    return int(now // 86_400)
