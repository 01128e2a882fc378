"""Whether keys are needed, over emptied stores, new directories, several servers and restarts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.background import BackgroundWork
from cacheserver.core.errors import BadRequest, StoreError, Unavailable
from cacheserver.core.types import Tenant
from cacheserver.observability.metrics import Metrics
from cacheserver.storage.connection import Connection, connect
from cacheserver.tenants.store import FRESH_S, Tenants
from tests.redis_servers import ENGINES, serving

DAY = 86_400


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Servers:
    """Processes on one Redis, each on a data directory of its own or on none."""

    def __init__(self, redis: Connection, prefix: str, clock: Clock, root: Path) -> None:
        self.redis, self.prefix, self.clock, self.root = redis, prefix, clock, root

    def start(self, directory: str | None) -> Tenants:
        return Tenants(
            self.redis,
            prefix=self.prefix,
            defaults=Tenant("default"),
            clock=self.clock,
            now=self.clock,
            access=None if directory is None else self.root / directory / "access",
        )

    async def empty(self) -> None:
        names = [name async for name in self.redis.scan_iter(match=f"{self.prefix}*")]
        if names:
            await self.redis.delete(*names)


@pytest.fixture
def servers(redis: Connection, prefix: str, clock: Clock, tmp_path: Path) -> Servers:
    return Servers(redis, prefix, clock, tmp_path)


async def test_an_emptied_store_opens_no_server_and_is_told_again(
    servers: Servers, clock: Clock
) -> None:
    running = servers.start("a")
    await running.create_key("acme")
    await servers.empty()
    clock.now += FRESH_S
    assert await running.keys_needed() is True
    assert await servers.start("new").keys_needed() is True  # told by the one that runs
    await servers.empty()
    assert await servers.start("a").keys_needed() is True  # started again


async def test_a_new_directory_opens_no_store_that_knew_a_key(servers: Servers) -> None:
    key, _ = await servers.start("a").create_key("acme")
    await servers.start("a").revoke_key(key.id)
    assert await servers.start("b").keys_needed() is True
    await servers.empty()
    assert await servers.start("b").keys_needed() is True  # it has its own note of it now


async def test_a_server_that_has_only_let_a_key_in_remembers_that_there_was_one(
    servers: Servers,
) -> None:
    started_before = servers.start("b")
    assert await started_before.keys_needed() is False
    _, plain = await servers.start("a").create_key("acme")
    assert await started_before.key(plain) is not None
    await servers.empty()
    assert await servers.start("b").keys_needed() is True


async def test_keys_of_an_earlier_version_have_no_note_and_make_one(servers: Servers) -> None:
    await servers.start("a").create_key("acme")
    await servers.redis.delete(f"{servers.prefix}access")
    (servers.root / "a" / "access").unlink()
    assert await servers.start("a").keys_needed() is True
    assert (servers.root / "a" / "access").read_text() == "1:needed\n"


async def test_one_server_opens_all_and_the_next_key_closes_all(
    servers: Servers, clock: Clock
) -> None:
    a, b = servers.start("a"), servers.start("b")
    key, _ = await a.create_key("acme")
    assert await b.keys_needed() is True
    with pytest.raises(BadRequest, match="revoke"):
        await servers.start("a").open()
    await b.revoke_key(key.id)
    await servers.start("a").open()
    clock.now += FRESH_S
    assert [await a.keys_needed(), await b.keys_needed()] == [False, False]
    await servers.empty()
    clock.now += FRESH_S
    assert [await a.keys_needed(), await b.keys_needed()] == [False, False]  # that was said too
    await b.create_key("acme")
    clock.now += FRESH_S
    assert [await a.keys_needed(), await b.keys_needed()] == [True, True]


@pytest.mark.parametrize("spoilt", ["", "open", "2:closed", "\xff", "-1:open", "1:open:2"])
async def test_a_note_that_makes_no_sense_needs_keys(servers: Servers, spoilt: str) -> None:
    path = servers.root / "a" / "access"
    path.parent.mkdir()
    path.write_bytes(spoilt.encode("latin-1"))
    assert await servers.start("a").keys_needed() is True
    await servers.empty()
    await servers.redis.set(f"{servers.prefix}access", spoilt.encode("latin-1"))
    assert await servers.start("b").keys_needed() is True


async def test_with_the_store_away_what_is_noted_beside_it_holds(
    clock: Clock, tmp_path: Path
) -> None:
    def at(client: Connection) -> Tenants:
        return Tenants(client, defaults=Tenant("default"), clock=clock, access=tmp_path / "access")

    with serving(ENGINES["valkey"]) as url:
        client = connect(url, timeout_s=0.5)
        fresh = at(client)
        assert await fresh.keys_needed() is False
        await at(client).create_key("acme")
    assert await at(client).keys_needed() is True
    (tmp_path / "access").write_text("9:open")
    with pytest.raises(Unavailable):  # a key may have been made elsewhere since
        await at(client).keys_needed()
    with pytest.raises(StoreError):
        await at(client).open()
    await client.connection_pool.disconnect()


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with serving(ENGINES["valkey"]) as address:
        yield address


@given(steps=st.lists(st.sampled_from(["key", "revoke", "empty", "forget-a", "ask-b"]), max_size=7))
def test_nothing_but_a_word_opens_what_a_key_has_closed(valkey: str, steps: list[str]) -> None:
    """Of two servers at least one remembers, whatever is lost one at a time."""

    async def play(root: Path) -> None:
        redis = connect(valkey)
        servers = Servers(redis, f"{uuid.uuid4().hex}:", Clock(), root)
        a, b = servers.start("a"), servers.start("b")
        _, plain = await a.create_key("acme")
        assert await b.key(plain) is not None
        for step in steps:
            servers.clock.now += FRESH_S
            match step:
                case "key":
                    await a.create_key("acme")
                case "revoke":
                    for key in await a.list_keys():
                        await b.revoke_key(key.id)
                case "empty":
                    await servers.empty()
                case "forget-a":
                    (root / "a" / "access").unlink(missing_ok=True)
                    a = servers.start("a")
                    assert await b.keys_needed() is True  # it runs, and tells Redis
                case "ask-b":
                    assert await b.keys_needed() is True
            assert await a.keys_needed() is True
        await redis.aclose()

    with TemporaryDirectory() as root:
        asyncio.run(play(Path(root)))


async def test_a_key_is_refused_from_its_expiry_on_and_not_before(
    servers: Servers, clock: Clock
) -> None:
    tenants = servers.start("a")
    key, plain = await tenants.create_key("acme", expires_at=clock.now + 60)
    assert await tenants.key(plain) == key
    clock.now += 59.9
    assert await tenants.key(plain) == key
    clock.now += 0.1
    assert await tenants.key(plain) is None
    assert [one.id for one in await tenants.list_keys()] == [key.id]  # shown for a month
    clock.now += 31 * DAY
    other, _ = await tenants.create_key("acme")
    assert [one.id for one in await tenants.list_keys()] == [other.id]
    with pytest.raises(BadRequest) as refused:
        await tenants.create_key("acme", expires_at=clock.now)
    assert refused.value.field == "expires"


async def test_a_rotated_key_keeps_its_id_and_the_old_one_lives_for_the_overlap(
    servers: Servers, clock: Clock
) -> None:
    tenants = servers.start("a")
    old, was = await tenants.create_key("acme", "web", expires_at=clock.now + 90 * DAY)
    clock.now += 10 * DAY
    new, now = await tenants.rotate_key(old.id, overlap_s=DAY)
    assert (new.id, new.tenant, new.label) == (old.id, "acme", "web")
    assert new.expires_at == clock.now + 90 * DAY  # as long as the first was made for
    taken = [await tenants.key(plain) for plain in (was, now)]
    assert [key and key.id for key in taken] == [old.id, old.id]
    assert [key.id for key in await tenants.list_keys()] == [old.id]
    third, newest = await tenants.rotate_key(old.id, overlap_s=5 * DAY)
    assert third.created_at == clock.now
    clock.now += DAY  # a second rotation lengthens no overlap
    assert await tenants.key(was) is None
    assert await tenants.key(now) is not None
    await tenants.rotate_key(old.id)
    assert await tenants.key(now) is None
    assert await tenants.key(newest) is None
    await tenants.revoke_key(old.id)
    assert await tenants.list_keys() == []


async def test_revoking_a_rotated_key_ends_the_old_one_too(servers: Servers) -> None:
    tenants = servers.start("a")
    key, was = await tenants.create_key("acme")
    _, now = await tenants.rotate_key(key.id, overlap_s=DAY)
    await servers.start("a").revoke_key(key.id)
    servers.clock.now += FRESH_S
    assert await tenants.key(was) is None
    assert await tenants.key(now) is None


async def test_the_day_of_its_last_use_is_written_behind_and_once(
    servers: Servers, clock: Clock
) -> None:
    uses = BackgroundWork("key-use", Metrics(), limit=10_000, at_once=1)
    tenants = Tenants(
        servers.redis,
        prefix=servers.prefix,
        defaults=Tenant("default"),
        clock=clock,
        now=clock,
        writes=uses,
    )
    key, plain = await tenants.create_key("acme")
    assert [one.last_used for one in await tenants.list_keys()] == [None]
    await tenants.key(plain)
    await uses.drain()
    assert [one.last_used for one in await tenants.list_keys()] == ["1970-01-12"]
    before = (await servers.redis.info("commandstats")).get("cmdstat_hset", {"calls": 0})["calls"]
    clock.now += FRESH_S
    await tenants.key(plain)
    await uses.drain()
    after = (await servers.redis.info("commandstats"))["cmdstat_hset"]["calls"]
    assert after == before
    clock.now += DAY
    await tenants.key(plain)
    await uses.drain()
    assert [one.last_used for one in await tenants.list_keys()] == ["1970-01-13"]
    await tenants.revoke_key(key.id)
    assert await servers.redis.hgetall(f"{servers.prefix}keysused") == {}
    await uses.close()
