"""Random traffic of several tenants over all kinds of requests."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from scripts.chaos_run.caller import HIT_LIMIT_S, Tenant
from scripts.chaos_run.history import NOTHING, TALK, Exchange, tag_of
from scripts.chaos_run.operator import Operator
from scripts.chaos_run.schedule import STORE_HANGS_S

NAMESPACES = ("default", "other")
STRICT = "strict"  # its bar is moved
TALKS = ("talk-0", "talk-1")
NOBODY = Tenant("nobody", "", "")
PLACES = ("France", "Japan", "Kenya", "Peru", "Norway", "Egypt", "Canada", "Vietnam", "Cuba")
SPELLINGS = ("What is the capital of {}", "What's the capital of {}")
NUMBERS = 1_500  # questions that are asked by all: few enough to meet again
PAUSE_S = 0.03  # of a caller between two requests: the machine has other work

WEIGHTS = {
    "new": 28,
    "repeat": 26,
    "place": 14,
    "stream": 12,
    "query": 6,
    "only": 6,
    "refresh": 3,
    "no-store": 3,
    "short": 4,
    "hang-up": 3,
    "purge": 2,
    "erase": 2,
    "feedback": 2,
    "key": 1,
    "bar": 1,
    "batch": 2,
    "results": 2,
    "look": 2,
    "nobody": 2,
    "nothing": 3,
    "together": 3,
    "talk": 5,
    "thrifty": 4,
}


class Traffic:
    """The same seed draws the same requests; how they come together is the machine's."""

    def __init__(
        self,
        caller: Operator,
        tenants: list[Tenant],
        *,
        thrifty: Tenant,
        seed: int,
        callers: int,
    ) -> None:
        """Set up the callers; the tenant `thrifty` has a small budget."""
        self.caller = caller
        self.tenants = tenants
        self.sent: Counter[str] = Counter()
        self.thrifty = thrifty
        self._seed = seed
        self._callers = callers
        self._stored: list[Exchange] = []
        self._closed: dict[str, float] = {}  # tenant: since when
        # Tenant: when a change of a bar had no acknowledgement. A store that hung may do it later.
        self._unsure: dict[str, float] = {}
        self._bar = asyncio.Lock()
        self._running = asyncio.Event()
        self._idle = [asyncio.Event() for _ in range(callers)]
        self._kinds: dict[str, Callable[[random.Random, Tenant, str], Awaitable[None]]] = {
            "new": self._new,
            "repeat": self._repeat,
            "place": self._place,
            "stream": self._stream,
            "query": self._query,
            "only": self._only,
            "refresh": self._refresh,
            "no-store": self._no_store,
            "short": self._short,
            "hang-up": self._hang_up,
            "purge": self._purge,
            "erase": self._erase,
            "feedback": self._feedback,
            "key": self._key,
            "bar": self._move_bar,
            "batch": self._batch,
            "results": self._results,
            "look": self._look,
            "nobody": self._nobody,
            "nothing": self._nothing,
            "together": self._together,
            "talk": self._talk,
            "thrifty": self._thrifty,
        }

    def resume(self) -> None:
        self._running.set()

    async def pause(self) -> None:
        """Return once nobody asks anything."""
        self._running.clear()
        await asyncio.gather(*(idle.wait() for idle in self._idle))

    async def run(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._callers):
                group.create_task(self._ask_on(number))

    async def _ask_on(self, number: int) -> None:
        draw = random.Random(f"caller {number} {self._seed}")
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        while True:
            if not self._running.is_set():
                self._idle[number].set()
                await self._running.wait()
                self._idle[number].clear()
            kind = draw.choices(kinds, weights)[0]
            tenant, namespace = draw.choice(self.tenants), draw.choice(NAMESPACES)
            self.sent[kind] += 1
            await self._kinds[kind](draw, tenant, namespace)
            await asyncio.sleep(draw.uniform(0, 2 * PAUSE_S))

    async def _ask(self, tenant: Tenant, namespace: str, question: str, **how: object) -> Exchange:
        event = await self.caller.ask(tenant, namespace, question, **how)  # type: ignore[arg-type]
        if event.stored and namespace != TALK:
            self._stored.append(event)
            del self._stored[:-400]
        if event.status is None:
            await asyncio.sleep(0.5)  # nobody is there: do not spin
        return event

    def _question(self, draw: random.Random) -> str:
        return f"What is part number {draw.randrange(NUMBERS)}"

    async def _new(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        await self._ask(tenant, namespace, self._question(draw))

    async def _repeat(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        question = draw.choice(self._stored).question if self._stored else self._question(draw)
        await self._ask(tenant, namespace, question)

    async def _place(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        namespace = draw.choice((*NAMESPACES, STRICT))
        question = draw.choice(SPELLINGS).format(draw.choice(PLACES))
        await self._ask(tenant, namespace, question, stream=draw.random() < 0.3)

    async def _stream(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        await self._ask(tenant, namespace, self._question(draw), stream=True)

    async def _query(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        await self._ask(tenant, namespace, self._question(draw), query=True)

    async def _only(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        question = draw.choice(self._stored).question if self._stored else self._question(draw)
        await self._ask(tenant, namespace, question, control="only-if-cached", limit_s=HIT_LIMIT_S)

    async def _refresh(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        question = draw.choice(self._stored).question if self._stored else self._question(draw)
        event = await self._ask(tenant, namespace, question, control="no-cache")
        if event.stored and len(self.caller.servers) > 1:
            await self._look_for(tenant, event)

    async def _no_store(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        await self._ask(tenant, namespace, self._question(draw), control="no-store")

    async def _short(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        """Ask for a short life, and again when it should be over."""
        question, ttl_s = self._question(draw), draw.choice((1, 2))
        await self._ask(tenant, namespace, question, ttl_s=ttl_s)
        await asyncio.sleep(ttl_s + 1.1)
        await self._ask(tenant, namespace, question)

    async def _hang_up(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        secret = draw.random() < 0.5
        await self.caller.hang_up(tenant, namespace, self._question(draw), secret=secret)

    async def _purge(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        await self._remove("purge", draw, tenant, namespace)

    async def _erase(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        await self._remove("erase", draw, tenant, namespace)

    async def _remove(self, kind: str, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        """Remove something, and ask for what was removed at once."""
        own = [each for each in self._stored if each.tenant == tenant.name]
        by = draw.choices(("entry", "tag", "namespace"), (6, 3, 1))[0]
        event = draw.choice(own) if own else None
        if event is None or event.entry is None:
            return
        name = {"entry": event.entry, "tag": tag_of(event.question), "namespace": event.namespace}
        await self._remember(tenant, event)
        await self.caller.remove(tenant, kind, by, name[by])
        await self._look_for(tenant, event)

    async def _remember(self, tenant: Tenant, event: Exchange) -> None:
        """Have each of several servers keep an answer in its memory, if it is still stored."""
        if len(self.caller.servers) > 1:
            await self._look_for(tenant, event)

    async def _look_for(self, tenant: Tenant, event: Exchange) -> None:
        """Ask each server for an answer that may be stored."""
        await self.caller.ask_each(
            tenant, event.namespace, event.question, control="only-if-cached", limit_s=HIT_LIMIT_S
        )

    async def _feedback(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        own = [each for each in self._stored if each.tenant == tenant.name]
        if own:
            event = draw.choice(own)
            await self._remember(tenant, event)
            await self.caller.condemn(tenant, event)
            await self._ask(tenant, event.namespace, event.question)

    async def _key(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        """Create a key, use it, revoke it, and keep trying it."""
        made = await self.caller.create_key(tenant.name)
        if made is None:
            return
        question = self._question(draw)
        await self.caller.ask_each(made, namespace, question)
        await self.caller.revoke(made.key_id)
        await self.caller.ask_each(made, namespace, question)
        for _ in range(4):
            await asyncio.sleep(2.5)
            await self._ask(made, namespace, question)

    async def _move_bar(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        if self._bar.locked():
            return
        async with self._bar:
            since = self._closed.pop(tenant.name, None)
            started = time.time()
            if since is not None:
                self.caller.note_closed(since, started, tenant, STRICT)
            sure = started > self._unsure.get(tenant.name, 0.0) + STORE_HANGS_S
            done = await self.caller.close(tenant, STRICT, closed=since is None)
            if done is None:
                self._unsure[tenant.name] = time.time()
            elif since is None and sure:
                self._closed[tenant.name] = done
                question = draw.choice(SPELLINGS).format(draw.choice(PLACES))
                await self.caller.ask_each(tenant, STRICT, question)

    async def _batch(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        first = draw.randrange(NUMBERS)
        questions = {f"i{n}": f"What is part number {first + 7 * n}" for n in range(3)}
        await self.caller.send_batch(tenant, namespace, questions, f"t{first % 7}")

    async def _results(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        if own := [one for one in self.caller.history.batches if one.tenant == tenant.name]:
            await self.caller.look_at(tenant, draw.choice(own))

    async def _nobody(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        """Ask without a key for what a tenant has stored, or for something new."""
        question = draw.choice(self._stored).question if self._stored else self._question(draw)
        await self._ask(NOBODY, namespace, question)

    async def _nothing(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        """Request an empty answer twice: it must not be stored."""
        question = f"{NOTHING}, number {10 ** draw.randrange(3)}"
        for _ in range(2):
            await self._ask(tenant, namespace, question, stream=draw.random() < 0.3)

    async def _together(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        """Ask the same thing at once, in two ways that may not share a call."""
        question = self._question(draw)
        await asyncio.gather(
            *(
                self._ask(tenant, namespace, question, off=off)
                for off in ("", "", "output-cap", "output-cap")
            )
        )

    async def _talk(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        await self._ask(tenant, TALK, self._question(draw), talk=draw.choice(TALKS))

    async def _thrifty(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        """Send several billed requests at once, for a tenant whose budget is nearly spent."""
        questions = [self._question(draw) for _ in range(3)]
        await asyncio.gather(
            *(self._ask(self.thrifty, namespace, q, control="no-cache") for q in questions)
        )

    async def _look(self, draw: random.Random, tenant: Tenant, namespace: str) -> None:
        path = draw.choice(("/v1/stats", "/v1/usage", "/v1/budget", "/v1/messages/batches"))
        await self.caller.call("GET", path, key=tenant.key)

    def end(self) -> None:
        """Note until when the bars held that nobody moved again."""
        for tenant in self.tenants:
            if (since := self._closed.pop(tenant.name, None)) is not None:
                self.caller.note_closed(since, time.time(), tenant, STRICT)
