"""The prompt-cache planner on whole traces, in virtual time, through a real store.

What the prompts cost is Claude's own arithmetic, as far as it is documented.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheserver.core.background import BackgroundWork
from cacheserver.core.types import Tenant
from cacheserver.embedded.store import EmbeddedStore
from cacheserver.observability.metrics import Metrics
from cacheserver.promptcache.prefixes import Prefixes
from cacheserver.storage.connection import connect
from scripts.benchmarks.planner import (
    LEARNED_AFTER,
    START,
    STEADY,
    Fixed,
    Player,
    Request,
    conversations,
    fixed,
    planning,
    poisson,
    request,
    unique,
)

PLANS: tuple[Fixed, ...] = ("none", "5m", "1h")


@pytest.mark.parametrize("name", STEADY)
async def test_steady_gaps_cost_within_5_percent_of_the_best_fixed_plan(name: str) -> None:
    trace = STEADY[name]()
    assert len(trace) >= 200
    async with planning() as player:
        played = await player.play(trace)
    best = min(sum(fixed(trace, plan)[LEARNED_AFTER:]) for plan in PLANS)
    assert sum(played.paid[LEARNED_AFTER:]) <= 1.05 * best


@pytest.mark.parametrize("mean_s", [120, 600, 1_800])
async def test_random_arrivals_cost_within_5_percent_of_the_best_fixed_plan(mean_s: float) -> None:
    trace = poisson(mean_s)
    async with planning() as player:
        played = await player.play(trace)
    best = min(sum(fixed(trace, plan)[LEARNED_AFTER:]) for plan in PLANS)
    assert sum(played.paid[LEARNED_AFTER:]) <= 1.05 * best


@pytest.mark.parametrize(("turn_s", "least"), [(60, 0.6), (600, 0.4)])
async def test_conversations_are_read_from_where_they_were_left(
    turn_s: float, least: float
) -> None:
    async with planning() as player:
        played = await player.play(conversations(turn_s))
    assert 1 - sum(played.paid) / sum(played.plain) >= least


async def test_what_shares_nothing_is_never_written() -> None:
    async with planning() as player:
        played = await player.play(unique(10, 100))
    assert played.paid == played.plain


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[str]:
    embedded = EmbeddedStore(tmp_path)
    yield await embedded.start()
    await embedded.stop()


# Gaps around the lifetimes, and the long ones that make a write a waste.
gaps = st.sampled_from([0.0, 1.0, 60.0, 290.0, 298.0, 301.0, 1_800.0, 3_598.0, 3_601.0, 20_000.0])
steps = st.lists(st.tuples(gaps, st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=60)
# A habit and its end: what was learned is as wrong as can be.
habits = st.builds(
    lambda first, count, then, more, asked: [(first, 0, asked)] * count + [(then, 0, asked)] * more,
    gaps,
    st.integers(1, 40),
    gaps,
    st.integers(0, 40),
    st.integers(0, 1),
)


@given(st.one_of(steps, habits))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_trace_costs_more_than_a_write_premium_for_each_prefix_and_day(
    store: str, steps: list[tuple[float, int, int]]
) -> None:
    trace = _trace(steps)
    redis = connect(store)
    behind = BackgroundWork("prompts", Metrics(), limit=10_000, at_once=1)
    prefixes = Prefixes(redis, prefix=f"{uuid.uuid4().hex}:")
    player = Player(prefixes, behind, Tenant("acme"))
    played = await player.play(trace)
    await behind.close()
    await redis.aclose()
    _assert_bounded(trace, played.paid, played.plain)


def _trace(steps: Sequence[tuple[float, int, int]]) -> list[Request]:
    """Requests under three system prompts; a question of 0 is asked only once."""
    at, found = START, []
    for n, (gap, system, question) in enumerate(steps):
        at += gap
        found.append(request(at, question or 1_000 + n, system=f"app {system}", tokens=800))
    return found


def _assert_bounded(trace: Sequence[Request], paid: Sequence[int], plain: Sequence[int]) -> None:
    """After every single request, not only at the end.

    A prompt here has two prefixes: its system prompt, and all of it. A question that comes once
    is none: only what was seen twice is worth a premium. An hour costs twice the plain price.
    """
    asked: Counter[str] = Counter()
    owed: dict[tuple[str, int], int] = {}  # the dearest premium of a prefix on a day
    loss = 0
    for one, cost, without in zip(trace, paid, plain, strict=True):
        loss += cost - without
        whole = str(one.body)
        asked[whole] += 1
        day = int(one.at // 86_400)
        owed[one.body["system"], day] = without
        if asked[whole] > 1:
            owed[whole, day] = without
        assert loss <= sum(owed.values())
