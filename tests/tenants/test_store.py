"""Keys and tenants, kept in real servers; time is a number the tests move by hand."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheserver.core.errors import BadRequest, NotFound, StoreError, Unavailable
from cacheserver.core.rules.limits import Limits
from cacheserver.core.types import Bar, Tenant, TtlRule
from cacheserver.storage.connection import Connection, connect
from cacheserver.tenants import tenant_json
from cacheserver.tenants.store import FRESH_S, GRACE_S, Tenants
from tests.redis_servers import ENGINES, serving

DEFAULTS = Tenant(name="default", default_ttl_s=60, max_ttl_s=600, bar=Bar(similarity=0.9))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenants(redis: Connection, prefix: str, clock: Clock) -> Tenants:
    return Tenants(redis, prefix=prefix, defaults=DEFAULTS, clock=clock, now=clock)


@pytest.fixture
def elsewhere(redis: Connection, prefix: str, clock: Clock) -> Tenants:
    """Another process on the same store: the command line, say."""
    return Tenants(redis, prefix=prefix, defaults=DEFAULTS, clock=clock, now=clock)


@asynccontextmanager
async def doomed(clock: Clock) -> AsyncIterator[Tenants]:
    """Tenants whose server is killed at the end of the `with`; they are used after it."""
    with serving(ENGINES["valkey"]) as url:
        client = connect(url, timeout_s=0.5)
        yield Tenants(client, defaults=DEFAULTS, clock=clock, now=clock)
    await client.connection_pool.disconnect()


async def test_a_key_is_known_by_its_tenant_and_label(tenants: Tenants) -> None:
    key, plain = await tenants.create_key("acme", "laptop of Zoë")
    assert plain.startswith("cs_")
    assert len(plain) == 46  # 32 random bytes, url-safe
    assert (key.tenant, key.label) == ("acme", "laptop of Zoë")
    assert await tenants.key(plain) == key
    assert await tenants.list_keys() == [key]


async def test_the_key_itself_is_nowhere_in_the_store(
    tenants: Tenants, redis: Connection, prefix: str
) -> None:
    key, plain = await tenants.create_key("acme")
    kept = repr(await redis.hgetall(f"{prefix}keys"))
    assert plain not in kept
    assert plain.removeprefix("cs_") not in kept
    assert key.id in kept


@pytest.mark.parametrize("presented", ["", "cs_", "cs_unknown", "sk-ant-api03-x", "cs_é\udcff"[:4]])
async def test_what_we_did_not_give_out_is_no_key(tenants: Tenants, presented: str) -> None:
    await tenants.create_key("acme")
    assert await tenants.key(presented) is None


async def test_a_new_key_works_at_once_though_it_was_refused_before(
    tenants: Tenants, elsewhere: Tenants
) -> None:
    assert await tenants.keys_needed() is False
    assert await tenants.key("cs_x") is None
    key, plain = await elsewhere.create_key("acme")
    assert await tenants.key(plain) == key


async def test_a_revoked_key_stops_within_the_stated_time_everywhere(
    tenants: Tenants, elsewhere: Tenants, clock: Clock
) -> None:
    key, plain = await tenants.create_key("acme")
    assert await tenants.key(plain) == key
    assert await elsewhere.revoke_key(key.id) == key
    clock.now += FRESH_S
    assert await tenants.key(plain) is None
    assert await tenants.list_keys() == []


async def test_a_revoked_key_stops_at_once_where_it_was_revoked(tenants: Tenants) -> None:
    key, plain = await tenants.create_key("acme")
    assert await tenants.key(plain) == key
    await tenants.revoke_key(key.id)
    assert await tenants.key(plain) is None


async def test_a_key_that_is_changed_while_it_is_revoked_stays_revoked(tenants: Tenants) -> None:
    key, plain = await tenants.create_key("acme", "")
    stored = await tenants._raw_of(key.id)
    records = await tenants._of(key.id)
    await tenants.revoke_key(key.id)
    assert not await tenants._write(records, stored)
    with pytest.raises(NotFound):
        await tenants.limit_key(key.id, Limits())
    assert await tenants.list_keys() == []
    assert await tenants.key(plain) is None


async def test_two_changes_of_a_key_at_the_same_moment_both_hold(tenants: Tenants) -> None:
    key, _ = await tenants.create_key("acme", "")
    for number in range(1, 6):
        ends = 2e9 + number
        await asyncio.gather(
            tenants.limit_key(key.id, Limits(requests_per_minute=number)),
            tenants.change_key(key.id, label=None, expires=True, expires_at=ends),
        )
        found = await tenants.find_key(key.id)
        assert (found.limits.requests_per_minute, found.expires_at) == (number, ends)


async def test_revoking_one_key_leaves_the_others(tenants: Tenants, clock: Clock) -> None:
    gone, _ = await tenants.create_key("acme")
    clock.now += 1
    left, plain = await tenants.create_key("acme")
    await tenants.revoke_key(gone.id)
    assert await tenants.list_keys() == [left]
    assert await tenants.key(plain) == left
    with pytest.raises(NotFound, match=gone.id):
        await tenants.revoke_key(gone.id)


async def test_the_first_key_is_noticed_and_the_last_one_gone_opens_nothing(
    tenants: Tenants, elsewhere: Tenants, clock: Clock
) -> None:
    assert await tenants.keys_needed() is False
    key, _ = await elsewhere.create_key("acme")
    clock.now += FRESH_S
    assert await tenants.keys_needed() is True
    await elsewhere.revoke_key(key.id)
    clock.now += FRESH_S
    assert await tenants.keys_needed() is True  # for good
    await elsewhere.open()
    clock.now += FRESH_S
    assert await tenants.keys_needed() is False


async def test_a_key_seen_a_moment_ago_costs_no_round_trip(
    tenants: Tenants, redis: Connection, clock: Clock
) -> None:
    _, plain = await tenants.create_key("acme")
    await tenants.key(plain)
    await tenants.get("acme")
    before = (await redis.info("stats"))["total_commands_processed"]
    for _ in range(50):
        await tenants.key(plain)
        await tenants.get("acme")
    after = (await redis.info("stats"))["total_commands_processed"]
    assert after - before <= 2  # the two INFO themselves


@pytest.mark.parametrize(
    ("tenant", "label", "field"),
    [
        ("", "", "tenant"),
        ("a/b", "", "tenant"),
        ("a" * 65, "", "tenant"),
        ("a@b", "", "tenant"),
        ("acme", "l" * 101, "label"),
        ("acme", "two\nlines", "label"),
    ],
)
async def test_a_key_for_a_wrong_name_is_refused(
    tenants: Tenants, tenant: str, label: str, field: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await tenants.create_key(tenant, label)
    assert refused.value.field == field
    assert await tenants.list_keys() == []


async def test_with_the_store_away_known_keys_work_for_the_stated_time_and_no_others(
    clock: Clock,
) -> None:
    async with doomed(clock) as tenants:
        key, plain = await tenants.create_key("acme")
        _, unseen = await tenants.create_key("acme")
        assert await tenants.key(plain) == key
        assert await tenants.keys_needed() is True
    clock.now += GRACE_S - 1
    assert await tenants.key(plain) == key
    assert await tenants.keys_needed() is True
    with pytest.raises(Unavailable):
        await tenants.key(unseen)
    clock.now += 1 + FRESH_S
    with pytest.raises(Unavailable):
        await tenants.key(plain)
    assert await tenants.keys_needed() is True  # what was seen once holds
    with pytest.raises(StoreError):
        await tenants.create_key("acme")


async def test_a_store_that_hangs_holds_up_one_request_and_not_all(clock: Clock) -> None:
    with serving(ENGINES["valkey"]) as url:
        impatient, client = connect(url, timeout_s=0.2), connect(url)
        tenants = Tenants(impatient, defaults=DEFAULTS, clock=clock)
        key, plain = await tenants.create_key("acme")
        assert await tenants.key(plain) == key
        clock.now += FRESH_S
        pid = (await client.info("server"))["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            assert await tenants.key(plain) == key
        finally:
            os.kill(pid, signal.SIGCONT)
        await Tenants(client, defaults=DEFAULTS).revoke_key(key.id)
        assert await tenants.key(plain) == key  # not asked again so soon
        clock.now += FRESH_S
        assert await tenants.key(plain) is None
        await impatient.aclose()
        await client.aclose()


async def test_settings_are_kept_and_the_defaults_hold_where_there_are_none(
    tenants: Tenants, elsewhere: Tenants, clock: Clock
) -> None:
    assert await tenants.get("acme") == replace(DEFAULTS, name="acme")
    mine = Tenant(
        name="acme",
        default_ttl_s=10,
        max_ttl_s=20,
        stale_s=5,
        ttl_rules=(TtlRule(namespace="n", task="t", tag="x:1", default_ttl_s=0, max_ttl_s=7),),
        bar=Bar(similarity=0.97, top_k=9),
        scope_bars={"ab" * 32: Bar(similarity=1.0)},
        semantic=False,
        match_code=True,
        corroborate=True,
        actors="key",
        routing_epoch=3,
    )
    assert await elsewhere.get("acme") == replace(DEFAULTS, name="acme")
    await elsewhere.put(mine)
    assert await elsewhere.get("acme") == mine
    clock.now += FRESH_S
    assert await tenants.get("acme") == mine
    await tenants.create_key("other")
    assert await tenants.list_tenants() == [mine, replace(DEFAULTS, name="other")]


async def test_settings_that_cannot_be_read_are_the_tightest(clock: Clock) -> None:
    async with doomed(clock) as tenants:
        await tenants.put(replace(DEFAULTS, name="seen", routing_epoch=2))
        seen = await tenants.get("seen")
    assert await tenants.get("seen") == seen
    unseen = await tenants.get("unseen")
    assert (unseen.name, unseen.max_ttl_s, unseen.semantic) == ("unseen", 0, False)
    assert unseen.routing_epoch == -1  # of which no request under known settings can be
    clock.now += GRACE_S
    assert (await tenants.get("seen")).max_ttl_s == 0


@pytest.mark.parametrize("record", [b"{", b"[]", b'{"max_ttl_s":-1}', b'{"bar":{"similarity":0}}'])
async def test_settings_that_someone_spoilt_are_the_tightest(
    tenants: Tenants, redis: Connection, prefix: str, record: bytes
) -> None:
    await redis.hset(f"{prefix}tenants", "acme", record)
    assert (await tenants.get("acme")).max_ttl_s == 0


async def test_fields_of_a_newer_version_are_left_alone(
    tenants: Tenants, redis: Connection, prefix: str
) -> None:
    await redis.hset(f"{prefix}tenants", "acme", orjson.dumps({"stale_s": 9, "later": {"x": 1}}))
    assert await tenants.get("acme") == replace(DEFAULTS, name="acme", stale_s=9)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("max_ttl_s", -1, "max_ttl_s"),
        ("max_ttl_s", 366 * 86_400, "max_ttl_s"),
        ("max_ttl_s", 59, "default_ttl_s"),
        ("default_ttl_s", 601, "default_ttl_s"),
        ("default_ttl_s", 1.5, "default_ttl_s"),
        ("stale_s", True, "stale_s"),
        ("semantic", 1, "semantic"),
        ("match_code", "yes", "match_code"),
        ("corroborate", "yes", "corroborate"),
        ("actors", "everybody", "actors"),
        ("actors", ["key"], "actors"),
        ("routing_epoch", -1, "routing_epoch"),
        ("bar", {"similarity": 0}, "bar.similarity"),
        ("bar", {"similarity": 1.01}, "bar.similarity"),
        ("bar", {"similarity": float("nan")}, "bar.similarity"),
        ("bar", {"similarity": 0.9, "top_k": 0}, "bar.top_k"),
        ("bar", {"similarity": 0.9, "other": 0}, "bar.other"),
        ("bar", 0.9, "bar"),
        ("bar", {"similarity": 0.9, "vetoes_off": ["antonyms"]}, "bar.vetoes_off"),
        ("bar", {"similarity": float("inf")}, "bar.similarity"),
        ("bar", {"similarity": "0.9"}, "bar.similarity"),
        ("bar", {"similarity": True}, "bar.similarity"),
        ("bar", {"similarity": 0.9, "top_k": 5.0}, "bar.top_k"),
        ("bar", {"similarity": 0.9, "target": 0.1}, "bar"),
        ("bar", {"similarity": 0.9, "exact_only": True}, "bar"),
        ("namespace_bars", {"support": {"target": 0.6}}, "namespace_bars.support.target"),
        ("namespace_bars", {"a b": {"target": 0.1}}, "namespace_bars.a b"),
        ("scope_bars", {"zz": {"similarity": 0.9}}, "scope_bars.zz"),
        ("scope_bars", {"ab" * 32: {}}, f"scope_bars.{'ab' * 32}"),
        ("ttl_rules", {}, "ttl_rules"),
        ("ttl_rules", [{"default_ttl_s": 5}], "ttl_rules.0"),
        ("ttl_rules", [{"tag": "t"}], "ttl_rules.0"),
        ("ttl_rules", [{"tag": "t", "max_ttl_s": "5"}], "ttl_rules.0.max_ttl_s"),
        ("ttl_rules", [{"tag": "a,b", "max_ttl_s": 5}], "ttl_rules.0.tag"),
        ("ttl_rules", [{"tag": "t", "max_ttl_s": 5, "other": 0}], "ttl_rules.0"),
        ("ttl_rules", [{"tag": "t", "max_ttl_s": 5}] * 101, "ttl_rules"),
        ("volatility", {"time_s": -1}, "volatility.time_s"),
        ("volatility", {"other_s": 1}, "volatility.other_s"),
        ("history", [], "history"),
        (
            "caching",
            {"prewarm": [{"name": "n", "model": "m", "system": "s", "until": float("inf")}]},
            "caching.prewarm.0.until",
        ),
        ("name", "other", "name"),
        ("unknown", 1, "unknown"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(
    field: str, value: Any, named: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        tenant_json.change("acme", {}, {field: value}, DEFAULTS)
    assert refused.value.field == named


async def test_a_tenant_that_makes_no_sense_is_not_put(tenants: Tenants) -> None:
    for wrong in (
        replace(DEFAULTS, bar=Bar(similarity=0)),
        replace(DEFAULTS, stale_s=-1),
        replace(DEFAULTS, name="a@b"),
    ):
        with pytest.raises(BadRequest):
            await tenants.put(wrong)
    assert await tenants.list_tenants() == []


def test_vetoes_that_are_gone_are_left_out_of_what_was_kept_and_told_of() -> None:
    off = {"similarity": 0.9, "vetoes_off": ["antonym", "gone", "order"]}
    kept = {"bar": off, "namespace_bars": {"n": off}, "scope_bars": {"ab" * 32: off}}
    told: list[str] = []
    tenant = tenant_json.decode("acme", orjson.dumps(kept), DEFAULTS, told.append).tenant
    bars = [tenant.bar, tenant.namespace_bars["n"], tenant.scope_bars["ab" * 32]]
    assert [bar.vetoes_off for bar in bars] == [("antonym", "order")] * 3
    assert told == ["gone"] * 3
    spoilt: list[Any] = [3, [3], "antonym", [["antonym"]]]
    for value in spoilt:
        with pytest.raises(BadRequest):
            tenant_json.decode(
                "acme", orjson.dumps({"bar": {**off, "vetoes_off": value}}), DEFAULTS
            )


ttls = st.integers(0, 1000)
names = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
bars = st.builds(Bar, similarity=st.floats(0.001, 1), top_k=st.integers(1, 100))
rules = st.builds(
    TtlRule,
    namespace=names,
    task=st.none() | names,
    tag=st.none() | names,
    default_ttl_s=st.none() | ttls,
    max_ttl_s=ttls,
)


@given(
    st.builds(
        Tenant,
        name=names,
        default_ttl_s=ttls,
        max_ttl_s=ttls.map(lambda s: s + 1000),
        stale_s=ttls,
        ttl_rules=st.lists(rules, max_size=3).map(tuple),
        bar=bars,
        scope_bars=st.dictionaries(
            st.from_regex(r"[0-9a-f]{64}", fullmatch=True), bars, max_size=2
        ),
        semantic=st.booleans(),
        match_code=st.booleans(),
        corroborate=st.booleans(),
        actors=st.sampled_from(["named", "key"]),
        routing_epoch=ttls,
    )
)
def test_settings_come_back_as_they_were_put(tenant: Tenant) -> None:
    earlier = tenant_json.as_json(tenant)  # as versions before stored it: all of it
    for own in (tenant_json.changes(DEFAULTS, tenant), earlier):
        assert tenant_json.decode(tenant.name, tenant_json.encode(own), DEFAULTS).tenant == tenant


async def test_a_pseudonym_is_the_same_for_all_servers_of_one_store_and_no_others(
    tenants: Tenants, elsewhere: Tenants, redis: Connection, prefix: str
) -> None:
    both = await asyncio.gather(tenants.pseudonym("sk-ant-1"), elsewhere.pseudonym("sk-ant-1"))
    assert both[0] == both[1]
    assert len(both[0]) == 32
    later = Tenants(redis, prefix=prefix, defaults=DEFAULTS)
    assert await later.pseudonym("sk-ant-1") == both[0]
    assert await tenants.pseudonym("sk-ant-2") != both[0]
    stranger = Tenants(redis, prefix=f"{prefix}other:", defaults=DEFAULTS)
    assert await stranger.pseudonym("sk-ant-1") != both[0]


async def test_without_the_secret_callers_are_not_told_apart(clock: Clock) -> None:
    async with doomed(clock) as tenants:
        pass
    with pytest.raises(Unavailable):
        await tenants.pseudonym("sk-ant-1")
