"""A primary that a replica has become: what is made again, and what is not read from it before."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import pytest

from cacheserver.calibration.tombstones import Tombstones
from cacheserver.core.errors import StoreError, Unavailable
from cacheserver.core.rules.limits import Limits
from cacheserver.core.types import Bar, Tenant
from cacheserver.erasure.log import Erasure, Erasures
from cacheserver.erasure.selectors import Selector
from cacheserver.live.documents import LiveDocuments
from cacheserver.peers.peers import Peers, uncounted
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.recent_changes import RecentChanges
from cacheserver.tenants.admin_keys import AdminKeys
from cacheserver.tenants.store import Tenants
from tests.redis_servers import prefix, redis, url

__all__ = ["prefix", "redis", "url"]  # fixtures


class Primary:
    """A primary whose place others take."""

    generation = 0
    history = b"one"


@pytest.fixture
def primary(redis: Connection) -> Primary:
    found = Primary()
    redis.recent = RecentChanges(found)
    return found


@pytest.fixture
def tenants(redis: Connection, prefix: str) -> Tenants:
    return Tenants(redis, prefix=prefix, defaults=Tenant("", 60, 600, bar=Bar(0.9)))


@pytest.fixture
def admins(redis: Connection, prefix: str) -> AdminKeys:
    return AdminKeys(redis, prefix=prefix)


async def test_no_key_or_setting_is_read_from_it_and_none_is_changed(
    primary: Primary, redis: Connection, prefix: str, tenants: Tenants, admins: AdminKeys
) -> None:
    key, plain = await tenants.create_key("acme")
    await tenants.change("acme", {"bar": {"similarity": 0.99}})
    admin, secret = await admins.create("one", "all")
    documents = LiveDocuments(redis, prefix=prefix)
    primary.generation = 1
    await redis.recent.redo()
    assert redis.recent.unsure  # what other servers removed may be back
    tenants.forget_all()
    for refused in (
        tenants.key(plain),
        tenants.settings("acme"),
        tenants.change("acme", {"bar": {"similarity": 0.5}}),
        tenants.remove("acme"),
        tenants.limit_key(key.id, Limits(requests_per_minute=1)),
        tenants.revoke_key(key.id),
        admins.find(secret),
        documents.change("settings", lambda before: {"top_k": 3}),
    ):
        with pytest.raises((StoreError, Unavailable)):
            await refused
    redis.recent.agree(1)
    assert await tenants.key(plain) == key
    assert await admins.find(secret) == admin
    assert (await tenants.settings("acme")).bar.similarity == 0.99
    assert await documents.read() == {}


async def test_a_revoked_admin_key_and_a_refusal_are_made_again(
    primary: Primary, redis: Connection, prefix: str, admins: AdminKeys
) -> None:
    key, secret = await admins.create("one", "all")
    records = await command(redis, "HGETALL", f"{prefix}adminkeys")
    await admins.revoke(key.id)
    tombstones = Tombstones(redis, prefix=prefix, now=time.time)
    question, entry = secrets.token_hex(32), secrets.token_hex(16)
    await tombstones.add("acme", question, entry, life_s=600)
    tomb = tombstones.key("acme", question, entry)
    await command(redis, "DEL", tomb)
    for digest, record in records.items():  # as a replica has it that lacks the last minute
        await command(redis, "HSET", f"{prefix}adminkeys", digest, record)
    primary.generation = 1
    await redis.recent.redo()
    redis.recent.agree(1)
    assert await admins.find(secret) is None
    assert await command(redis, "EXISTS", tomb)


async def test_a_change_is_confirmed_once_this_server_has_made_its_own_again(
    primary: Primary, redis: Connection, prefix: str
) -> None:
    made = list[int]()

    async def again() -> None:
        made.append(primary.generation)
        if primary.generation == 1:
            primary.generation = 2  # another replica takes over meanwhile

    peers = Peers(redis, uncounted, prefix=prefix)
    peers.note(again)
    await peers.everywhere("news")
    assert made == []
    primary.generation = 1
    await peers.everywhere("news")
    assert made == [1, 2]


async def test_a_server_serves_nothing_from_it_though_its_lease_has_not_ended(
    primary: Primary, redis: Connection, prefix: str
) -> None:
    peers = Peers(redis, uncounted, prefix=prefix, lease_s=0.4)
    try:
        await peers.start()
        await peers.trust()
        peers.note(asyncio.Event().wait)  # what is made again never ends
        assert peers.held
        primary.generation = 1
        assert not peers.held
        with pytest.raises(StoreError, match="lapsed"):
            await peers.vouch(peers.term)
    finally:
        await peers.close()


async def test_an_erasure_is_not_ended_over_a_takeover(
    primary: Primary, redis: Connection, prefix: str
) -> None:
    erasures = Erasures(redis, prefix=prefix)
    erasure = Erasure("acme", Selector("tenant", ()), at=1.0, who="admin")
    assert await erasures.take(erasure)
    await erasures.hold(erasure)
    await erasures.hold(erasure)
    primary.generation = 1
    with pytest.raises(StoreError, match="has taken over during an erasure"):
        await erasures.hold(erasure)


async def test_a_beat_that_is_the_first_to_meet_it_confirms_no_change(
    primary: Primary, redis: Connection, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = Peers(redis, uncounted, prefix=prefix, clock=lambda: 0.0)
    await peers._stream.join()
    await peers._lease.take()
    seen = ("HGET", f"{prefix}peers:seen", peers.name)
    assert await command(redis, *seen) == peers._stream.applied.encode()
    peers.note(asyncio.Event().wait)  # what is made again never ends
    beat, execute = peers._lease._beat_script.sha, redis.execute_command

    async def reconnected(*words: Any, **options: Any) -> Any:
        primary.generation = 1 if words[1] == beat else primary.generation
        return await execute(*words, **options)

    monkeypatch.setattr(redis, "execute_command", reconnected)
    await peers._lease.beat()
    assert await command(redis, *seen) == b"0-0"
    await peers.close()


@pytest.mark.parametrize("newer", ["", "made again last", "made again first"])
async def test_the_history_of_bars_of_a_removed_tenant_does_not_come_back(
    primary: Primary, redis: Connection, prefix: str, tenants: Tenants, newer: str
) -> None:
    await tenants.change("acme", {"bar": {"similarity": 0.99}})
    names = (f"{prefix}tenants", tenants.bar_history.key("acme"))
    kept = {name: await command(redis, "DUMP", name) for name in names}
    redis.recent = RecentChanges(primary)  # what was changed so far is not made again
    assert await tenants.remove("acme")
    if newer:
        await tenants.change("acme", {"bar": {"similarity": 0.5}})
    for name, value in kept.items():  # as a replica has them that lacks the last minute
        await command(redis, "RESTORE", name, 0, value, "REPLACE")
    await command(redis, "DEL", f"{prefix}changed:tenants:acme")
    if newer == "made again first":  # it was made on another server
        redis.recent._notes.reverse()
    primary.generation = 1
    await redis.recent.redo()
    found = [change.after for change in await tenants.bar_history.changes("acme")]
    assert found[:1] == ([{"similarity": 0.5}] if newer else [])
