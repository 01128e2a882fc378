"""The contract of `Prefixes`, on every engine at hand."""

from __future__ import annotations

import asyncio

import pytest

from cacheserver.promptcache.planner import CARRIED, PrefixUpdate, Ttl
from cacheserver.promptcache.prefixes import Prefixes, PromptCacheUse
from cacheserver.storage.connection import Connection, command

NOW = 1_795_000_000.0
DAY = 86_400.0
NAME = ("p1", "system", 1_000)


@pytest.fixture
def prefixes(redis: Connection, prefix: str) -> Prefixes:
    return Prefixes(redis, prefix=prefix, server="one")


async def test_sightings_and_gaps_are_counted(prefixes: Prefixes) -> None:
    for after in (0, 10, 20, 400, 9_000):
        (sight,) = await prefixes.see("acme", [NAME], NOW + after)
    gaps = sight.gaps
    assert gaps.within_5m == pytest.approx(2, abs=0.1)
    assert gaps.within_1h == pytest.approx(1, abs=0.05)
    assert gaps.later == 1
    assert 4.8 < sight.sightings < 5


async def test_a_kind_learns_how_its_prefixes_come_again_first(prefixes: Prefixes) -> None:
    for n in range(4):
        await prefixes.see("acme", [(f"p{n}", "turn", 1_000)], NOW + n)
    await prefixes.see("acme", [("p0", "turn", 1_000), ("p1", "other", 1_000)], NOW + 60)
    await prefixes.see("acme", [("p0", "turn", 1_000)], NOW + 90)  # not for the first time
    (fresh,) = await prefixes.see("acme", [("p9", "turn", 1_000)], NOW + 100)
    assert fresh.kind_opened == pytest.approx(5, abs=0.2)
    # What was first seen as a turn counts as one, whatever it is called when it comes again.
    assert fresh.kind.within_5m == pytest.approx(2, abs=0.1)


async def test_tenants_share_nothing(prefixes: Prefixes) -> None:
    await prefixes.see("acme", [NAME], NOW)
    (other,) = await prefixes.see("other", [NAME], NOW + 1)
    assert (other.sightings, other.kind_opened) == (1, 1)


async def test_reads_that_are_booked_together_count_as_if_each_was(prefixes: Prefixes) -> None:
    reads = [(("p1", 10.5), ("p2", 3.0)), (("p1", 2.0),), (("p2", 1.25),)]
    for tenant in ("each", "together"):
        await prefixes.see(tenant, [("p1", "system", 10_000), ("p2", "turn", 10_000)], NOW)
    # Of the one that began last and the one before it, the first may come last.
    calls = [
        ("together", [PrefixUpdate(name, gain, True) for name, gain in read], NOW + began)
        for read, began in zip(reads, (1, 5, 3), strict=True)
    ]
    for _, bookings, began in calls:
        await prefixes.book("each", bookings, began)
    await prefixes.book_reads(calls)
    names = [("p1", "system", 10_000), ("p2", "turn", 10_000)]
    found = [await prefixes.see(tenant, names, NOW + 9) for tenant in ("each", "together")]
    assert found[0] == found[1]
    assert [sight.used_at for sight in found[1]] == [NOW + 5, NOW + 3]
    assert [sight.account for sight in found[1]] == [12.5, 4.25]


async def test_one_of_many_claims_is_granted(redis: Connection, prefix: str) -> None:
    servers = [Prefixes(redis, prefix=prefix, server=str(n)) for n in range(5)]
    await servers[0].see("acme", [NAME], NOW)
    granted = await asyncio.gather(
        *(server.claim("acme", [("p1", 250.0, "5m")], NOW) for server in servers)
    )
    assert sum(granted) == 1
    seen = [(await server.see("acme", [NAME], NOW))[0].writing for server in servers]
    assert sorted(seen) == ["ours", *["theirs"] * 4]


async def test_what_owes_a_premium_is_not_written_again_that_day(prefixes: Prefixes) -> None:
    await prefixes.see("acme", [NAME], NOW)
    claim: list[tuple[str, float, Ttl]] = [("p1", 250.0, "5m")]
    assert await prefixes.claim("acme", claim, NOW)
    await prefixes.book("acme", [PrefixUpdate("p1", 0.0, True)], NOW, claimed=["p1"])
    later = NOW + 1_000
    (sight,) = await prefixes.see("acme", [NAME], later)
    assert (sight.account, sight.writing, sight.used_at) == (-250, "no", NOW)
    assert not await prefixes.claim("acme", claim, later)
    await prefixes.book("acme", [PrefixUpdate("p1", 950.0, True)], later)
    assert await prefixes.claim("acme", claim, later)


async def test_a_day_forgives_a_debt_and_keeps_a_part_of_a_profit(prefixes: Prefixes) -> None:
    names = [("poor", "system", 1_000), ("rich", "system", 1_000)]
    await prefixes.see("acme", names, NOW)
    bookings = [PrefixUpdate("poor", -1_000.0, True), PrefixUpdate("rich", 50_000.0, True)]
    await prefixes.book("acme", bookings, NOW)
    same_day = await prefixes.see("acme", names, NOW + 1)
    assert [sight.account for sight in same_day] == [-1_000, 50_000]
    next_day = await prefixes.see("acme", names, NOW + DAY)
    assert [sight.account for sight in next_day] == [0, CARRIED * 1_000]


async def test_yesterdays_call_cannot_raise_todays_account(prefixes: Prefixes) -> None:
    await prefixes.see("acme", [NAME], NOW)
    await prefixes.see("acme", [NAME], NOW + DAY)
    await prefixes.book("acme", [PrefixUpdate("p1", 500.0, True)], NOW)
    assert (await prefixes.see("acme", [NAME], NOW + DAY))[0].account == 0
    await prefixes.book("acme", [PrefixUpdate("p1", -500.0, True)], NOW)
    assert (await prefixes.see("acme", [NAME], NOW + DAY))[0].account == -500


async def test_memory_is_bounded_and_debts_are_remembered(redis: Connection, prefix: str) -> None:
    few = Prefixes(redis, prefix=prefix, most=4)
    await few.see("acme", [("debtor", "k", 1_000)], NOW)
    await few.book("acme", [PrefixUpdate("debtor", -1.0, True)], NOW)
    for n in range(10):
        await few.see("acme", [(f"p{n}", "k", 1_000)], NOW + n)
    assert await command(redis, "ZCARD", f"{prefix}pcs:4:acme") <= 4
    (debtor,) = await few.see("acme", [("debtor", "k", 1_000)], NOW + 20)
    assert debtor.account == -1


async def test_what_there_is_no_room_for_is_not_written(redis: Connection, prefix: str) -> None:
    many, few = (Prefixes(redis, prefix=prefix, most=most) for most in (100, 3))
    names = [(f"debtor{n}", "k", 1_000) for n in range(3)]
    await many.see("acme", names, NOW)
    await many.book("acme", [PrefixUpdate(name, -1.0, True) for name, _, _ in names], NOW)
    (sight,) = await few.see("acme", [("new", "k", 1_000)], NOW + 1)
    assert sight.account < 0
    assert not await few.claim("acme", [("new", 1.0, "5m")], NOW + 1)


async def test_every_key_has_an_end(redis: Connection, prefix: str, prefixes: Prefixes) -> None:
    await prefixes.see("acme", [NAME], NOW)
    await prefixes.claim("acme", [("p1", 250.0, "1h")], NOW)
    await prefixes.book(
        "acme", [PrefixUpdate("p1", 0.0, True), PrefixUpdate("warmed", 0.0, True)], NOW
    )
    await prefixes.count([("acme", PromptCacheUse(calls=1), NOW)])
    await prefixes.take_slot("acme", "warm", 1, 60)
    async for key in redis.scan_iter(f"{prefix}*"):
        if b":pcs:" not in key and b"pcs:" not in key:
            assert await command(redis, "TTL", key) > 0, key


async def test_use_is_summed_over_a_window(prefixes: Prefixes) -> None:
    for hours, read in ((0, 10), (1, 20), (30, 40)):
        used = PromptCacheUse(calls=1, prompt=100, read=read, gain=-5)
        await prefixes.count([("acme", used, NOW - hours * 3_600)])
    day = await prefixes.used("acme", 86_400, NOW)
    assert (day.calls, day.read, day.gain) == (2, 30, -10)
    assert day.read_ratio == 0.15
    assert (await prefixes.used("other", 86_400, NOW)).read_ratio is None


async def test_one_server_takes_a_slot(redis: Connection, prefix: str) -> None:
    one, two = Prefixes(redis, prefix=prefix), Prefixes(redis, prefix=prefix)
    assert await one.take_slot("acme", "daily", 7, 60)
    assert not await two.take_slot("acme", "daily", 7, 60)
    assert await two.take_slot("acme", "daily", 8, 60)
