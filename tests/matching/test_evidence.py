"""The contract of `Labels` for tombstones, evidence and spending, on every engine at hand."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from cacheserver.cache.store.entries import Entries
from cacheserver.calibration.labels import Labels
from cacheserver.matching.shrinkage import EntryRecord
from cacheserver.storage.connection import Connection, command
from tests.cache.entries import HALF, entry
from tests.calibration.label_stores import clock, elsewhere, labels

__all__ = ["clock", "elsewhere", "labels"]


async def condemned(labels: Labels, question: str, *ids: str) -> set[str]:
    found = await labels.past("acme", question, [(id, id) for id in ids])
    return {id for id, past in found.items() if past.condemned}


async def of_group(labels: Labels, group: str) -> tuple[float, float]:
    return (await labels.past("acme", "q", [("none", group)]))["none"].group


async def mgets(redis: Connection) -> int:
    stats = await command(redis, "INFO", "commandstats")
    return int(stats.get("cmdstat_mget", {"calls": 0})["calls"])


# Tombstones


async def test_a_tombstone_is_for_one_question_and_one_entry(
    labels: Labels, elsewhere: Labels
) -> None:
    await labels.tombstones.add("acme", "q", "e1", life_s=60)
    await labels.tombstones.add("acme", "q", "e3", life_s=60)
    assert await condemned(elsewhere, "q", "e1", "e2", "e3") == {"e1", "e3"}
    assert await condemned(labels, "r", "e1", "e2") == set()
    assert await labels.past("acme", "q", []) == {}
    await labels.tombstones.add("acme", "a:b", "c", life_s=60)
    assert await condemned(labels, "a", "b:c") == set()


async def test_a_tombstone_lives_as_long_as_was_said(
    labels: Labels, redis: Connection, prefix: str
) -> None:
    await labels.tombstones.add("acme", "q", "e1", life_s=60)
    await labels.tombstones.add("acme", "q", "over", life_s=0)
    assert 50 < await command(redis, "TTL", f"{prefix}tomb:4:acme:1:q:e1") <= 60
    assert await condemned(labels, "q", "over") == set()


# Evidence


async def stored(redis: Connection, prefix: str, **changes: Any) -> str:
    one = entry(**changes)
    entries = Entries(redis, prefix=prefix)
    assert await entries.put(one, keep_s=0, vector=HALF, asked_at=time.time())
    return one.id


async def test_evidence_of_an_entry_adds_up_from_all_servers(
    labels: Labels, elsewhere: Labels, redis: Connection, prefix: str
) -> None:
    one, other = await stored(redis, prefix), await stored(redis, prefix, fingerprint="f2")
    changes = [server.adjust("acme", one, wrong=0.25, right=1) for server in (labels, elsewhere)]
    assert await asyncio.gather(*changes) == [True, True]
    assert await labels.adjust("acme", other, wrong=-0.1, right=0.2)
    found = await elsewhere.past("acme", "q", [(id, "g") for id in (one, other, "none")])
    assert {id: past.entry for id, past in found.items()} == {
        one: (0.5, 2.0),
        other: (-0.1, 0.2),
        "none": (0.0, 0.0),
    }


async def test_evidence_dies_with_its_entry(labels: Labels, redis: Connection, prefix: str) -> None:
    one = await stored(redis, prefix, expires_at=time.time() + 100)
    assert await labels.adjust("acme", one, wrong=1, right=0)
    assert await labels.adjust("acme", one, wrong=1, right=0)
    assert 90_000 < await command(redis, "PTTL", f"{prefix}evid:4:acme:{one}") <= 100_000


async def test_there_is_no_evidence_of_an_entry_that_is_gone_or_anothers(
    labels: Labels, redis: Connection, prefix: str
) -> None:
    one = await stored(redis, prefix)
    assert not await labels.adjust("beta", one, wrong=1, right=0)
    await stored(redis, prefix)  # replaces it
    assert not await labels.adjust("acme", one, wrong=1, right=0)
    expired = await stored(redis, prefix, fingerprint="f2")
    await command(redis, "DEL", f"{prefix}e:f2")  # as its own life does it
    assert not await labels.adjust("acme", expired, wrong=1, right=0)
    await stored(redis, prefix, fingerprint="f2")
    assert not await labels.adjust("acme", expired, wrong=1, right=0)
    assert not await labels.adjust("acme", "none", wrong=1, right=0)
    assert await command(redis, "KEYS", f"{prefix}evid:*") == []


async def test_evidence_of_a_group_is_kept_as_long_as_was_said(
    labels: Labels, redis: Connection, prefix: str
) -> None:
    assert await labels.adjust("acme", "g", wrong=1, right=2, life_s=60)
    assert 50 < await command(redis, "TTL", f"{prefix}gevid:4:acme:g") <= 60
    assert await labels.adjust("acme", "g", wrong=1, right=2, life_s=600)
    assert 500 < await command(redis, "TTL", f"{prefix}gevid:4:acme:g") <= 600
    assert await labels.past("acme", "q", [("e", "g")]) == {"e": EntryRecord(False, (0, 0), (2, 4))}
    assert await labels.past("acme", "q", [("g", "e")]) == {"g": EntryRecord(False, (0, 0), (0, 0))}
    assert not await labels.adjust("acme", "h", wrong=1, right=2, life_s=0)


async def test_evidence_is_summed_to_the_last_digit(labels: Labels) -> None:
    for part in (0.1, 0.2, 1e-9):
        await labels.adjust("acme", "g", wrong=part, right=1e15, life_s=60)
    assert await of_group(labels, "g") == (0.1 + 0.2 + 1e-9, 3e15)


async def test_a_verdict_told_twice_counts_once(labels: Labels) -> None:
    for _ in range(2):
        assert await labels.adjust("acme", "g", wrong=1, right=0, life_s=60, once="d1")
    assert await labels.adjust("acme", "g", wrong=1, right=0, life_s=60, once="d2")
    assert await labels.adjust("acme", "h", wrong=1, right=0, life_s=60, once="d1")
    assert await of_group(labels, "g") == (2, 0)
    assert await of_group(labels, "h") == (1, 0)


async def test_the_past_of_entries_and_their_groups_is_one_round_trip(
    labels: Labels, redis: Connection, prefix: str
) -> None:
    one, other = await stored(redis, prefix), await stored(redis, prefix, fingerprint="f2")
    await labels.adjust("acme", one, wrong=1, right=2)
    await labels.adjust("acme", one, wrong=3, right=4, life_s=60)  # the group of that name
    await labels.tombstones.add("acme", "q", other, life_s=60)

    before = await mgets(redis)
    refs = [(one, one), (other, one), ("e", "own")]
    assert await labels.past("acme", "q", refs) == {
        one: EntryRecord(False, (1, 2), (3, 4)),
        other: EntryRecord(True, (0, 0), (3, 4)),
        "e": EntryRecord(False, (0, 0), (0, 0)),
    }
    assert await mgets(redis) == before + 1
    assert await labels.past("acme", "q", []) == {}
    assert await labels.past("beta", "q", refs[1:2]) == {other: EntryRecord(False, (0, 0), (0, 0))}


async def test_what_was_read_with_the_entries_is_not_read_again(
    labels: Labels, redis: Connection, prefix: str
) -> None:
    ids = [await stored(redis, prefix, fingerprint=f"f{n}") for n in range(4)]
    for number, id in enumerate(ids):
        await labels.adjust("acme", id, wrong=number, right=2)
        await labels.adjust("acme", id, wrong=1, right=number, life_s=60)
        await labels.adjust("acme", f"group {number}", wrong=number, right=5, life_s=60)
    await labels.tombstones.add("acme", "q", ids[2], life_s=60)

    async def read(*some: str) -> dict[str, list[bytes | None]]:
        keys = {id: labels.keys("acme", "q", id) for id in some}
        return {id: await command(redis, "MGET", *of) for id, of in keys.items()}

    own = [(id, id) for id in ids]
    others = [(ids[0], ids[3]), (ids[1], "group 1"), (ids[2], ids[2]), (ids[3], "group 3")]
    for refs, some, trips in (
        (own, ids, 0),
        (own, ids[1:], 1),
        (others, ids, 1),
        (others, ids[:1], 1),
        (others[:1], ids, 1),
        ([others[0], own[3]], ids, 0),  # the group is named by an entry that was read
    ):
        given = await read(*some)
        before = await mgets(redis)
        found = await labels.past("acme", "q", refs, given)
        assert await mgets(redis) == before + trips
        assert found == await labels.past("acme", "q", refs)


# Spending


async def test_spending_stops_at_its_cap(labels: Labels, elsewhere: Labels) -> None:
    async def spend(server: Labels, nanodollars: int) -> bool:
        return await server.spend("acme", "audit", nanodollars, cap=100, period_s=60, now=90)

    assert await spend(labels, 60)
    assert not await spend(elsewhere, 41)
    assert await spend(elsewhere, 40)
    assert not await spend(labels, 1)
    assert await labels.spent("acme", "audit", period_s=60, now=119.9) == 100
    assert await labels.spent("acme", "judge", period_s=60, now=90) == 0
    assert await labels.spent("beta", "audit", period_s=60, now=90) == 0


async def test_servers_that_spend_at_once_never_pass_the_cap(
    labels: Labels, elsewhere: Labels
) -> None:
    asked = [
        server.spend("acme", "audit", 7, cap=100, period_s=60, now=0)
        for server in (labels, elsewhere)
        for _ in range(20)
    ]
    assert sum(await asyncio.gather(*asked)) == 14
    assert await labels.spent("acme", "audit", period_s=60, now=0) == 98


async def test_a_new_period_begins_with_nothing_spent(labels: Labels) -> None:
    for now in (59.9, 60.0, 119.9):
        fits = await labels.spend("acme", "audit", 100, cap=100, period_s=60, now=now)
        assert fits == (now != 119.9)


async def test_what_is_refunded_can_be_spent_but_never_more_than_was(labels: Labels) -> None:
    async def refund(nanodollars: int) -> None:
        await labels.refund("acme", "audit", nanodollars, period_s=60, now=0)

    await refund(50)
    assert await labels.spend("acme", "audit", 100, cap=100, period_s=60, now=0)
    await refund(30)
    assert await labels.spent("acme", "audit", period_s=60, now=0) == 70
    await refund(1_000)
    assert await labels.spent("acme", "audit", period_s=60, now=0) == 0
    assert not await labels.spend("acme", "audit", 101, cap=100, period_s=60, now=0)


async def test_large_sums_are_counted_to_the_nanodollar(labels: Labels) -> None:
    cap = 2**53 - 1
    assert await labels.spend("acme", "audit", cap - 1, cap=cap, period_s=60, now=0)
    assert not await labels.spend("acme", "audit", 2, cap=cap, period_s=60, now=0)
    assert await labels.spend("acme", "audit", 1, cap=cap, period_s=60, now=0)
    await labels.refund("acme", "audit", cap - 3, period_s=60, now=0)
    assert await labels.spent("acme", "audit", period_s=60, now=0) == 3
    assert await labels.spend("acme", "judge", 2**53, cap=2**60, period_s=60, now=0)
    assert not await labels.spend("acme", "judge", 2, cap=2**60, period_s=60, now=0)
