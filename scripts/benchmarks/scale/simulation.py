"""A discrete-event simulation of servers, their store and their cores.

A station is one thread: it does one piece of work at a time, in the order of their arrival, on one
of its machine's cores, which stations take in turn. Nothing else takes time but pauses: a network,
or Claude's answer where Claude is not on these machines.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Then: TypeAlias = Callable[[], None]
_WARM = 0.2  # of the simulated time: queues fill, nothing is counted


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU seconds of one request of a kind.

    `server` is all of its process, of which `embedding` is in a thread of its own; `others` is what
    each other server does for it, behind the answers. `claude`: None where Claude is not asked.
    `index` is of the node that has the vectors of its scope, where the servers do not.
    """

    server: float
    store: float
    embedding: float = 0.0
    load: float = 0.0
    claude: float | None = None
    others: float = 0.0
    index: float = 0.0
    trips: int = 1  # to the store, before the answer


class Clock:
    """The events to come, in the order of their time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Then]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, then: Then) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), then))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, then = heapq.heappop(self._events)
            then()


class Machine:
    """Cores for the stations of one machine."""

    def __init__(self, clock: Clock, cores: int) -> None:
        self.clock, self.free = clock, cores
        self.waiting: deque[Station] = deque()

    def end(self) -> None:
        """Give a core to the next station that waits."""
        self.free += 1
        if self.waiting:
            self.waiting.popleft().start()


class Station:
    """One thread. `busy_s` is the time that it was on a core."""

    def __init__(self, machine: Machine) -> None:
        self.busy_s = 0.0
        self._machine = machine
        self._work: deque[tuple[float, Then]] = deque()
        self._has_turn = False  # on a core, or in line for one

    def do(self, seconds: float, then: Then) -> None:
        self._work.append((seconds, then))
        self._take_turn()

    def start(self) -> None:
        """Do the first piece of work: a core is free."""
        self._machine.free -= 1
        seconds, then = self._work.popleft()
        self._machine.clock.after(seconds, lambda: self._done(seconds, then))

    def _done(self, seconds: float, then: Then) -> None:
        self.busy_s += seconds
        self._has_turn = False
        self._machine.end()
        then()
        self._take_turn()

    def _take_turn(self) -> None:
        if self._has_turn or not self._work:
            return
        self._has_turn = True
        if self._machine.free:
            self.start()
        else:
            self._machine.waiting.append(self)


@dataclass(frozen=True, slots=True)
class Result:
    """`p50_s` and `p99_s`: from the request to its answer, less the time that Claude took."""

    per_s: float
    p50_s: float
    p99_s: float
    server: float  # share of the time in which the busiest server used a core
    store: float
    index: float = 0.0  # of the busiest node with vectors


@dataclass
class Servers:
    """Servers on one store. `cores`: of one machine for all of it, or None: one for each.

    `network_s` passes on each way to the store and back; `claude_s` until Claude has answered.
    """

    count: int
    costs: Mapping[str, Costs]
    share: Mapping[str, float]  # of the requests, by kind
    nodes: int = 0  # with the vectors of a part of the scopes each; 0: the servers have them
    cores: int | None = None
    network_s: float = 0.0
    claude_s: float = 0.0

    def closed(self, clients: int, seconds: float) -> Result:
        """Let each client ask again as soon as it was answered."""

        def again(at: int) -> None:
            self._request(at, lambda: again(at))

        self._begin()
        for number in range(clients):
            again(number % self.count)
        return self._finish(seconds)

    def open(self, per_s: float, seconds: float) -> Result:
        """Let requests come at random, `per_s` of them a second on average."""

        def arrive() -> None:
            self._request(self._random.randrange(self.count), lambda: None)
            self._clock.after(self._random.expovariate(per_s), arrive)

        self._begin()
        arrive()
        return self._finish(seconds)

    def _begin(self) -> None:
        self._clock, self._random = Clock(), random.Random(1)
        self._took: list[float] = []
        one_for_all = None if self.cores is None else Machine(self._clock, self.cores)

        def machines(count: int) -> list[Machine]:
            return [one_for_all or Machine(self._clock, 1) for _ in range(count)]

        servers = machines(self.count)
        on = {"server": servers, "embedding": servers, "load": machines(self.count)}
        on |= {"store": machines(1), "claude": machines(1), "index": machines(self.nodes)}
        self._stations = {kind: [Station(one) for one in some] for kind, some in on.items()}

    def _request(self, at: int, then: Then) -> None:
        (kind,) = self._random.choices([*self.share], [*self.share.values()])
        costs, began = self.costs[kind], self._clock.now
        if costs.claude is not None:
            began += self.claude_s

        def done() -> None:
            self._took.append(self._clock.now - began)
            if costs.others:
                for other, station in enumerate(self._stations["server"]):
                    if other != at:
                        station.do(costs.others, lambda: None)
            then()

        self._next(self._hops(costs), at, done)

    def _hops(self, costs: Costs) -> deque[tuple[str, float]]:
        """Return the pieces of work of a request, in order: where, and how long."""
        parts = [("store", costs.store / costs.trips)] * costs.trips
        if costs.embedding:
            parts.insert(0, ("embedding", costs.embedding))
        if costs.index:
            parts.insert(-1, ("index", costs.index))
        if costs.claude is not None:
            parts.insert(-1, ("claude", costs.claude))
        own = (costs.server - costs.embedding) / (len(parts) + 1)
        between = [hop for part in parts for hop in (part, ("server", own))]
        return deque([("load", costs.load), ("server", own), *between])

    def _next(self, hops: deque[tuple[str, float]], at: int, done: Then) -> None:
        if not hops:
            done()
            return
        where, seconds = hops.popleft()
        away = 2 * self.network_s
        pause = {"store": away, "index": away, "claude": self.claude_s}.get(where, 0.0)

        def worked() -> None:
            self._clock.after(pause, lambda: self._next(hops, at, done))

        stations = self._stations[where]
        place = self._random.randrange(self.nodes) if where == "index" else at
        stations[place % len(stations)].do(seconds, worked)

    def _finish(self, seconds: float) -> Result:
        self._clock.run(seconds * _WARM)
        self._took.clear()
        before = self._busy()
        self._clock.run(seconds)
        counted = seconds * (1 - _WARM)
        took = sorted(self._took) or [float("inf")]
        server, store, index = (
            max((now - then for now, then in zip(*both, strict=True)), default=0.0) / counted
            for both in zip(self._busy(), before, strict=True)
        )
        middle, most = took[len(took) // 2], took[int(0.99 * (len(took) - 1))]
        return Result(len(self._took) / counted, middle, most, server, store, index)

    def _busy(self) -> tuple[list[float], list[float], list[float]]:
        of = self._stations
        both = zip(of["server"], of["embedding"], strict=True)
        servers = [one.busy_s + two.busy_s for one, two in both]
        return servers, [of["store"][0].busy_s], [one.busy_s for one in of["index"]]
