"""What a scope learned and the bar made of it, on every engine, as two servers see it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from cacheserver.learning.states import States
from cacheserver.metrics import Metrics
from cacheserver.policy import bound, calibrate
from cacheserver.policy.calibrate import Label
from cacheserver.policy.neighbours import Evidence
from cacheserver.stores.connection import Connection
from cacheserver.stores.labels import Labels
from tests.stores.clock import Clock

TARGET = 0.1


@pytest.fixture
def clock() -> Clock:
    return Clock()


def server(redis: Connection, prefix: str, clock: Clock) -> States:
    labels = Labels(redis, prefix=prefix, clock=clock, now=clock)
    return States(labels, Metrics(), embedder="e", verifier="v", clock=clock)


@pytest.fixture
def states(redis: Connection, prefix: str, clock: Clock) -> States:
    return server(redis, prefix, clock)


async def teach(states: States, count: int, *, seed: int = 1) -> None:
    rng = Random(seed)
    for _ in range(count):
        share = rng.randrange(6) / 5
        group = rng.choice(("clean", "double"))
        found = Evidence(0.9, 0.1, share, share, 0.8, 0.0, company=10, group=group, entry=group)
        found = replace(found, crowd=0.75)  # of all: support tells none of them apart
        right = share > 0.5 and (group == "clean" or rng.random() < 0.7)
        await states.learn("acme", "s", Label(found, right, 1.0, "miss", False, "e", "v"))


async def test_a_new_scope_has_the_prior_and_its_bar(states: States) -> None:
    state, bar = await states.barred("acme", "s", TARGET)
    assert state.young
    assert bar == bound.bar_for(state, TARGET)
    assert bar.basis == "prior"


async def test_a_bar_is_made_with_each_fit_and_of_it(states: States) -> None:
    _, before = await states.barred("acme", "s", TARGET)
    await teach(states, 400)
    state, after = await states.barred("acme", "s", TARGET)
    assert after.basis == "labels"
    assert after.level < before.level
    assert state.offsets.groups["double"].surprise < 0 < state.offsets.groups["clean"].surprise
    assert len(state.labels) - state.fresh >= after.labels


async def test_another_server_comes_to_the_same(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    await states.barred("acme", "s", TARGET)
    await teach(states, 400)
    mine, _ = await states.barred("acme", "s", TARGET)
    other, bar = await server(redis, prefix, clock).barred("acme", "s", TARGET)
    assert other.weights == mine.weights
    assert other.labels == mine.labels
    sure = Evidence(0.9, 0.1, 1.0, 1.0, 0.8, 0.0, company=10, group="double", entry="double")
    assert calibrate.probability(other, sure) == pytest.approx(
        calibrate.probability(mine, sure), abs=0.02
    )
    assert bar.basis == "labels"


async def test_a_restarted_server_makes_the_bar_of_what_was_learned(
    states: States, redis: Connection, prefix: str, clock: Clock
) -> None:
    await teach(states, 400)  # nobody asked for a bar while it was learned
    fresh = server(redis, prefix, clock)
    state, bar = await fresh.barred("acme", "s", TARGET)
    assert bar == bound.bar_for(state, TARGET)
    assert not state.young
