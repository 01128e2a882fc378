"""A scenario through the real policies, in virtual time."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from cacheserver.analysis.replay.engine import Engine
from cacheserver.analysis.replay.seen import Reader, ReplayedRequest
from cacheserver.analysis.replay.verification import Verification
from cacheserver.analysis.replay.workers import end_with_parent
from cacheserver.analysis.scenarios.bodies import Bodies
from cacheserver.analysis.scenarios.drawn import Drawn
from cacheserver.analysis.scenarios.scenario import Kind, Scenario, StatedVerification
from cacheserver.analysis.scenarios.shelf import Prices
from cacheserver.analysis.scenarios.totals import Totals
from cacheserver.analysis.scenarios.traffic import Ask, asks, requests_of
from cacheserver.core.rules.routing import RoutingRules
from cacheserver.core.types import Bar, Tenant
from cacheserver.languages.rules import languages
from cacheserver.matching.verification import ErrorRates
from cacheserver.pricing.prices import Pricer
from cacheserver.promptcache.prefixes import MOST


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
    progress: Callable[[int, int], None] = lambda done, whole: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Run a scenario, or its first `requests`. Deterministic.

    In several processes kinds are shared out: nothing that is remembered reaches across two system
    prompts, and each kind has its own. It is the same but where a bound is reached: of the
    prefixes that a server would remember each process has its share. Raises `BrokenProcessPool`
    where one is killed.

    `progress` is told how many requests are replayed, and of how many; with several processes,
    how many processes have ended.
    """
    result = Result(scenario, prices, Pricer(prices.table).version)
    parts = shared_out(scenario.kinds, processes)
    began = clock()
    if len(parts) == 1:
        found = [_replayed(scenario, prices, requests, MOST, parts[0], progress)]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            len(parts), mp_context=context, initializer=end_with_parent
        ) as pool:
            bound = MOST // len(parts)
            found = []
            progress(0, len(parts))
            for totals in pool.map(partial(_replayed, scenario, prices, requests, bound), parts):
                found.append(totals)
                progress(len(found), len(parts))
    result.took_s = clock() - began
    by_kind = {name: totals for part in found for name, totals in part.items()}
    result.kinds = {kind.name: by_kind[kind.name] for kind in scenario.kinds}
    for one in result.kinds.values():
        result.whole.take(one)
    return result


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
    scenario: Scenario,
    prices: Prices,
    requests: int | None,
    prefixes: int,
    mine: frozenset[str],
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> dict[str, Totals]:
    """Return the totals of these kinds.

    A request is read once and known again by its questions' names, so memory grows with the
    questions that are common, not with what is asked.
    """
    tenant = replace(
        Tenant("default"),
        default_ttl_s=scenario.lifetime_s,
        bar=Bar(similarity=scenario.similarities.bar),
        routing=RoutingRules(tiers=prices.tiers),
    )
    stated = scenario.verification
    engine = Engine(
        reader=Reader(tenant, languages()),
        pricer=Pricer(prices.table),
        similar=Drawn(scenario.similarities, seed=scenario.seed, verification=stated),
        levers=scenario.levers,
        prefixes=prefixes,
        verification=_terms(stated),
    )
    bodies = Bodies(scenario.seed, prices.tiers)
    read: dict[tuple[object, ...], ReplayedRequest | None] = {}
    found = {name: Totals() for name in mine}
    whole = requests_of(scenario)
    whole = whole if requests is None else min(whole, requests)
    for done, ask in enumerate(islice(asks(scenario), requests), 1):
        progress(done, whole)
        if ask.kind.name not in mine:
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


def _terms(stated: StatedVerification | None) -> Verification | None:
    if stated is None:
        return None
    rates = ErrorRates(stated.sensitivity, stated.false_yes)
    return Verification(stated.model, rates, stated.most_tokens)


def _key(ask: Ask) -> tuple[object, ...] | None:
    """Return the name of a request that may be repeated; None if it will not."""
    return (ask.kind.name, *ask.questions) if ask.common else None
