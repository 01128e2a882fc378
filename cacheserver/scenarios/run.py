"""A scenario through the real policies, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice

from cacheserver.policy.money import Pricer
from cacheserver.replay.engine import Engine
from cacheserver.replay.seen import Reader, Seen
from cacheserver.rules.routing import RoutingRules
from cacheserver.scenarios.bodies import Bodies
from cacheserver.scenarios.drawn import Drawn
from cacheserver.scenarios.scenario import Scenario
from cacheserver.scenarios.shelf import Prices
from cacheserver.scenarios.totals import Totals
from cacheserver.scenarios.traffic import Ask, asks
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
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Run it; `requests`: only so many, the first. The same scenario comes to the same amounts.

    A request is read once and known again by its questions' names, so memory grows with the
    questions that are common, not with what is asked.
    """
    pricer = Pricer(prices.table)
    tenant = replace(
        Tenant("default"),
        default_ttl_s=scenario.lifetime_s,
        bar=Bar(similarity=scenario.similarities.bar),
        routing=RoutingRules(tiers=prices.tiers),
    )
    engine = Engine(
        reader=Reader(tenant, "drawn"),
        pricer=pricer,
        similar=Drawn(scenario.similarities, seed=scenario.seed),
        levers=scenario.levers,
    )
    bodies = Bodies(scenario.seed, prices.tiers)
    read: dict[tuple[object, ...], Seen | None] = {}
    result = Result(scenario, prices, pricer.version)
    result.kinds = {kind.name: Totals() for kind in scenario.kinds}
    began = clock()
    for ask in islice(asks(scenario), requests):
        key = _key(ask)
        call = bodies.call(ask, body=key is None or key not in read)
        seen = read.get(key) if key is not None else None
        if call.body is not None:
            seen = engine.reader.see(call)
            if key is not None:
                read[key] = seen
        step = engine.step(call, seen)
        for totals in (result.whole, result.kinds[ask.kind.name]):
            totals.add(call.model, step, begins=len(ask.questions) == 1)
    result.took_s = clock() - began
    return result


def _key(ask: Ask) -> tuple[object, ...] | None:
    """The name of a request that may come again; None: it will not."""
    return (ask.kind.name, *ask.questions) if ask.known else None
