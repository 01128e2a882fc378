"""What is known of prefixes in memory is what the server's own store knows."""

from __future__ import annotations

import uuid
from dataclasses import replace
from random import Random

import pytest

from cacheserver.analysis.replay.prefixes import Sights
from cacheserver.promptcache.planner import PrefixUpdate, Ttl
from cacheserver.promptcache.prefixes import Prefixes
from cacheserver.storage.connection import Connection
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]

NOW = 1_795_046_000.0  # some minutes before midnight, UTC
KINDS = ("system", "turn1", "block")


@pytest.mark.parametrize("seed", range(12))
async def test_both_know_the_same_after_any_trace(redis: Connection, seed: int) -> None:
    """Within two hours of each sighting: the store lets go by its own clock, not by the trace's."""
    draw = Random(seed)
    theirs = Prefixes(redis, prefix=f"{uuid.uuid4().hex}:", server="one")
    ours, now = Sights(), NOW
    for step in range(120):
        now += draw.choice([1.0, 30.0, 290.0, 301.0, 2_000.0])
        names = [f"p{step % 3}", *draw.sample(["p3", "p4"], draw.randrange(0, 2))]
        if step % 3 == 0:
            names = ["p0", "p3", "p4"]
        asked = [(name, draw.choice(KINDS), draw.randrange(500, 9_000)) for name in names]
        known = await theirs.see("acme", asked, now)
        assert ours.see(asked, now) == known
        ttl: Ttl = draw.choice(["5m", "1h"])
        writes = [(name, draw.uniform(0, 3_000), ttl) for name, _, _ in asked[:1]]
        if draw.random() < 0.5:
            granted = await theirs.claim("acme", writes, now)
            assert ours.claim(writes, now) == granted
            if not granted:
                continue
            claimed = [writes[0][0]]
        else:
            claimed = []
        booked = [
            PrefixUpdate(name, draw.uniform(-2_000, 4_000), draw.random() < 0.6, ttl, False)
            for name, _, _ in asked
            if name in claimed or draw.random() < 0.5
        ]
        if claimed:
            booked = [replace(booked[0], used=True), *booked[1:]]
        await theirs.book("acme", booked, now, claimed=claimed)
        ours.book(booked, now)


def test_what_is_remembered_is_bounded_and_debts_are_kept_longest() -> None:
    ours = Sights(6)
    ours.see([("owes", "system", 900)], NOW)
    ours.book([PrefixUpdate("owes", -500.0, False)], NOW)
    for n in range(50):
        ours.see([(f"p{n}", "system", 900)], NOW + n)
    (owing,) = ours.see([("owes", "system", 900)], NOW + 60)
    assert (owing.account, owing.sightings > 1) == (-500.0, True)
    (old,) = ours.see([("p1", "system", 900)], NOW + 61)
    assert old.sightings == 1


def test_a_prefix_seen_once_is_forgotten_after_two_hours_and_one_seen_often_after_two_days() -> (
    None
):
    ours = Sights()
    ours.see([("once", "system", 900)], NOW)
    ours.see([("twice", "system", 900)], NOW)
    ours.see([("twice", "system", 900)], NOW + 60)
    (once, twice) = ours.see([("once", "system", 900), ("twice", "system", 900)], NOW + 7_300)
    assert (once.sightings, once.gaps.total) == (1, 0)
    assert twice.sightings > 2
    (later,) = ours.see([("twice", "system", 900)], NOW + 7_300 + 172_900)
    assert later.sightings == 1
