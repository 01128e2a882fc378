"""A scenario through the real policies, in virtual time."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from cacheserver.policy.money import Pricer
from cacheserver.replay.engine import WORLDS, Engine
from cacheserver.replay.seen import Reader, Seen
from cacheserver.replay.workers import end_with_parent
from cacheserver.rules.routing import RoutingRules
from cacheserver.scenarios.bodies import Bodies
from cacheserver.scenarios.drawn import Drawn
from cacheserver.scenarios.scenario import Kind, Scenario
from cacheserver.scenarios.shelf import Prices
from cacheserver.scenarios.totals import Totals
from cacheserver.scenarios.traffic import Ask, asks
from cacheserver.stores.prefixes import MOST
from cacheserver.types import Bar, Tenant


@dataclass(slots=True)
class Result:
    """A run: its totals, whole and by kind, and how long it took."""

    scenario: Scenario
    prices: Prices
    version: str  # of the prices
    whole: Totals = field(default_factory=Totals)
    kinds: dict[str, Totals] = field(default_factory=dict)
    took_s: float = 0.0


def run(
    scenario: Scenario,
    prices: Prices,
    *,
    requests: int | None = None,
    processes: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Run it; `requests`: only so many, the first. The same scenario comes to the same amounts.

    Two processes have the levers alone and together, a world each, and come to the same whatever
    the scenario. In more of them kinds are shared out too: nothing that is remembered reaches
    across two system prompts, and each kind has its own. That is the same but where a bound is
    reached: of the prefixes that a server would remember each part has its share. Raises
    `BrokenProcessPool` where one is killed.
    """
    result = Result(scenario, prices, Pricer(prices.table).version)
    began = clock()
    if processes == 1:
        names = frozenset(kind.name for kind in scenario.kinds)
        by_kind = _replayed(scenario, prices, requests, _Part(names, WORLDS, MOST))
    else:
        by_kind = _in_processes(scenario, prices, requests, processes)
    result.took_s = clock() - began
    result.kinds = {kind.name: by_kind[kind.name] for kind in scenario.kinds}
    for totals in result.kinds.values():
        result.whole.take(totals)
    return result


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process replays: these kinds, in these worlds."""

    kinds: frozenset[str]
    worlds: frozenset[str]
    prefixes: int  # of a tenant that are remembered


def _in_processes(
    scenario: Scenario, prices: Prices, requests: int | None, processes: int
) -> dict[str, Totals]:
    shares = shared_out(scenario.kinds, processes // 2)
    parts = [
        _Part(kinds, frozenset({world}), MOST // len(shares))
        for kinds in shares
        for world in ("alone", "together")
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(parts), mp_context=context, initializer=end_with_parent) as pool:
        found = list(pool.map(partial(_replayed, scenario, prices, requests), parts))
    by_kind: dict[str, Totals] = {}
    for alone, together in zip(found[::2], found[1::2], strict=True):
        for name, totals in alone.items():
            totals.join(together[name])
            by_kind[name] = totals
    return by_kind


def shared_out(kinds: Sequence[Kind], processes: int) -> list[frozenset[str]]:
    """Kinds by name, as evenly as they can be shared out; those without a prompt stay together."""
    alone = [[kind] for kind in kinds if kind.system.tokens or kind.tools.tokens]
    bare = [kind for kind in kinds if not (kind.system.tokens or kind.tools.tokens)]
    parts: list[list[Kind]] = [[] for _ in range(max(1, processes))]

    def work(some: Sequence[Kind]) -> float:
        return sum(kind.share * kind.turns for kind in some)

    for group in sorted([*alone, bare], key=work, reverse=True):
        min(parts, key=work).extend(group)
    return [frozenset(kind.name for kind in part) for part in parts if part]


def _replayed(
    scenario: Scenario, prices: Prices, requests: int | None, part: _Part
) -> dict[str, Totals]:
    """The totals of a part, by kind.

    A request is read once and known again by its questions' names, so memory grows with the
    questions that are common, not with what is asked.
    """
    tenant = replace(
        Tenant("default"),
        default_ttl_s=scenario.lifetime_s,
        bar=Bar(similarity=scenario.similarities.bar),
        routing=RoutingRules(tiers=prices.tiers),
    )
    engine = Engine(
        reader=Reader(tenant, "drawn"),
        pricer=Pricer(prices.table),
        similar=Drawn(scenario.similarities, seed=scenario.seed),
        levers=scenario.levers,
        prefixes=part.prefixes,
        worlds=part.worlds,
    )
    bodies = Bodies(scenario.seed, prices.tiers)
    read: dict[tuple[object, ...], Seen | None] = {}
    found = {name: Totals() for name in part.kinds}
    for ask in islice(asks(scenario), requests):
        if ask.kind.name not in part.kinds:
            continue
        key = _key(ask)
        call = bodies.call(ask, body=key is None or key not in read)
        seen = read.get(key) if key is not None else None
        if call.body is not None:
            seen = engine.reader.see(call)
            if key is not None:
                read[key] = seen
        step = engine.step(call, seen)
        found[ask.kind.name].add(call.model, step, begins=len(ask.questions) == 1)
    return found


def _key(ask: Ask) -> tuple[object, ...] | None:
    """The name of a request that may come again; None: it will not."""
    return (ask.kind.name, *ask.questions) if ask.known else None
