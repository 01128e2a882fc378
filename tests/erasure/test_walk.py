"""What a walk does to labels, tombstones and evidence: numbers, but known by whom and of what."""

from __future__ import annotations

import math

import pytest

from cacheserver.calibration.labels import Labels
from cacheserver.core.types import Tenant
from cacheserver.erasure.cover import ErasureCover
from cacheserver.erasure.log import Erasure
from cacheserver.erasure.selectors import Selector
from cacheserver.erasure.walk import KeyWalk
from cacheserver.ledger.writer import Ledger
from cacheserver.storage import stored_row
from cacheserver.storage.connection import Connection, command
from tests.ledger.rows import row

NOW = 2_000_000_000.0
SELECTORS = {
    "actor": Selector("actor", ("a",)),
    "entry": Selector("entry_id", ("1" * 32,)),
    "namespace": Selector("namespace", ("n",)),
    "tenant": Selector("tenant", ("acme",)),
}


async def held() -> None:
    """Nobody else is there."""


async def walked(
    redis: Connection,
    prefix: str,
    selector: Selector,
    covered: ErasureCover,
    *,
    until: float = math.inf,
) -> KeyWalk:
    walk = KeyWalk(
        redis,
        prefix=prefix,
        tenant=Tenant("acme"),
        erasure=Erasure("acme", selector, at=NOW, who="admin"),
        covered=covered,
        now=NOW,
        held=held,
        until=until,
    )
    await walk.collect()
    await walk.run()
    return walk


@pytest.mark.parametrize(
    "selector",
    [
        Selector("tenant", ("acme",)),
        Selector("tag", ("mine",)),
        Selector("conversation", ("ours",)),
    ],
)
async def test_a_decision_that_is_recorded_during_a_walk_goes_with_its_question(
    redis: Connection, prefix: str, selector: Selector
) -> None:
    """Its row loses its names first, by which alone a later pass could tell whose it is."""
    names = {"tags": ("mine",), "conversation": "ours", "at": NOW - 1}
    told = stored_row.Details(b'[1,"a secret"]', near=True)
    covered, other = row(**names), row(**names | {"tenant": "other"})
    ledger = Ledger(redis, prefix=prefix)
    for one in (covered, other):
        await ledger.written(ledger.append(one, told))
    await walked(redis, prefix, selector, ErasureCover())
    await ledger.close()
    assert await command(redis, "GET", f"{prefix}d:4:acme:{covered.id}") is None
    assert b"a secret" in await command(redis, "GET", f"{prefix}d:5:other:{other.id}")
    counted = await command(redis, "HGETALL", f"{prefix}stats:acme")
    assert int(counted[b"requests"]) == 1


@pytest.mark.parametrize("until", [math.inf, NOW])
@pytest.mark.parametrize("by", SELECTORS)
async def test_labels_go_by_whose_they_are(
    redis: Connection, prefix: str, by: str, until: float
) -> None:
    labels = Labels(redis, prefix=prefix)
    for tenant in ("acme", "other"):
        for scope in ("s1", "s2"):
            for place in range(120):
                caller = ("his.x", "hers.x")[place % 2]
                made = {
                    "caller": caller,
                    "evidence": {"entry": ("1" * 32, "2" * 32)[place % 3 > 0]},
                }
                await labels.add(tenant, scope, made)
        await labels.save_state(tenant, "s1", b"weights", version=0)
    covered = ErasureCover()
    match by:
        case "actor":
            covered.callers = frozenset({"hers.x"})
        case "entry":
            covered.entries = {"1" * 32}
        case "namespace":
            covered.scopes = {"s1"}
    gone = {"actor": 120, "entry": 80, "namespace": 120, "tenant": 240}[by]
    early = await walked(redis, prefix, SELECTORS[by], covered, until=NOW / 2)
    # All were given since; whatever is about an entry goes with it.
    assert early.removed["labels"] == (gone if by == "entry" else 0)
    assert await labels.scopes("acme") == ["s1", "s2"]
    walk = await walked(redis, prefix, SELECTORS[by], covered, until=until)
    assert early.removed["labels"] + walk.removed["labels"] == gone
    assert walk.unknown == 0
    left = 0
    for scope in ("s1", "s2"):
        for _, kept in await labels.window("acme", scope):
            left += 1
            assert kept["caller"] not in covered.callers
            assert kept["evidence"]["entry"] not in covered.entries
    assert left == 240 - gone
    total = await command(redis, "HGET", f"{prefix}sizes:4:acme", "total")
    assert int(total or 0) == left  # what the bound on a tenant's labels counts by
    assert len(await labels.window("other", "s1")) == 120
    assert (await labels.state("acme", "s1"))[0] == b"weights"  # what was fitted stays
    again = await walked(redis, prefix, SELECTORS[by], covered)
    assert set(+again.removed) <= {"label_sizes"}  # of none


async def test_tombstones_go_by_question_and_by_entry(redis: Connection, prefix: str) -> None:
    labels = Labels(redis, prefix=prefix)
    for question in ("q1", "q2"):
        for entry in ("1" * 32, "2" * 32):
            await labels.tombstones.add("acme", question, entry, life_s=60)
    covered = ErasureCover(entries={"1" * 32}, fingerprints={"q1"})
    walk = await walked(redis, prefix, SELECTORS["entry"], covered)
    assert walk.removed == {"tombstones": 3, "tombstone_lists": 1}
    assert [key async for key in redis.scan_iter(f"{prefix}tombs:*")] == [
        f"{prefix}tombs:4:acme:{'2' * 32}".encode()
    ]
    assert await redis.smembers(f"{prefix}tombs:4:acme:{'2' * 32}") == {b"2:q2"}
    past = await labels.past("acme", "q2", [(id, id) for id in ("1" * 32, "2" * 32)])
    assert [one.condemned for one in past.values()] == [False, True]


async def test_a_key_of_no_kind_is_counted(redis: Connection, prefix: str) -> None:
    await command(redis, "SET", f"{prefix}zz:new", 1)
    assert (await walked(redis, prefix, SELECTORS["tenant"], ErasureCover())).unknown == 1
