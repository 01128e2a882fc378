"""The history of bars: written in one step with the settings, on every engine at hand."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cacheserver.core.errors import BadRequest, StoreError
from cacheserver.core.types import Bar, Tenant
from cacheserver.storage.connection import Connection, command, connect
from cacheserver.tenants.bar_history import MAX_BARS, BarHistory, Place
from cacheserver.tenants.store import Tenants

DEFAULTS = Tenant(name="default", bar=Bar(similarity=0.9))
ACME = replace(DEFAULTS, name="acme")
EXACT = Bar()


@pytest.fixture
def tenants(redis: Connection, prefix: str) -> Tenants:
    return Tenants(redis, prefix=prefix, defaults=DEFAULTS, now=lambda: 1_234.5)


@pytest.fixture
def elsewhere(redis: Connection, prefix: str) -> Tenants:
    """Another server on the same store."""
    return Tenants(redis, prefix=prefix, defaults=DEFAULTS, now=lambda: 1_235.25)


async def told(tenants: Tenants, tenant: str = "acme") -> list[tuple[Any, ...]]:
    changes = await tenants.bar_history.changes(tenant)
    return [(one.at, one.who, one.level, one.name, one.before, one.after) for one in changes]


async def test_a_change_says_who_and_when_and_what_was_before(
    tenants: Tenants, elsewhere: Tenants
) -> None:
    first = replace(ACME, bar=Bar(target=0.01, top_k=5), scope_bars={"f" * 64: EXACT})
    await tenants.put(first, who="Zoë")
    await elsewhere.put(replace(first, scope_bars={}, namespace_bars={"faq": Bar(target=0.02)}))
    assert await told(tenants) == [
        (1_235.25, "admin", "namespace", "faq", None, {"target": 0.02}),
        (1_235.25, "admin", "scope", "f" * 64, {"exact_only": True}, None),
        (1_234.5, "Zoë", "scope", "f" * 64, None, {"exact_only": True}),
        (1_234.5, "Zoë", "tenant", "", None, {"target": 0.01, "top_k": 5}),
    ]
    assert await told(tenants, "other") == []


async def test_what_is_no_change_of_a_bar_leaves_none(tenants: Tenants) -> None:
    await tenants.put(replace(ACME, default_ttl_s=5))
    await tenants.put(replace(ACME, default_ttl_s=6, bar=Bar(similarity=0.9)))
    assert await told(tenants) == []


async def test_of_changes_made_at_once_each_begins_where_another_ended(
    tenants: Tenants, elsewhere: Tenants
) -> None:
    servers = (tenants, elsewhere)
    given = [Bar(similarity=0.5 + n / 100) for n in range(16)]
    await asyncio.gather(
        *(servers[n % 2].put(replace(ACME, bar=bar)) for n, bar in enumerate(given))
    )
    history = await tenants.bar_history.changes("acme")
    assert len(history) == len(given)
    for later, earlier in itertools.pairwise(history):
        assert later.before == earlier.after
    in_force = (await tenants.settings("acme")).bar
    assert history[0].after == {"similarity": in_force.similarity}


async def test_a_tenant_has_only_so_many_bars_and_changes(redis: Connection, prefix: str) -> None:
    tenants = Tenants(redis, prefix=prefix, defaults=DEFAULTS)
    tenants.bar_history = BarHistory(redis, prefix=prefix, changes=3)
    full = replace(ACME, namespace_bars={f"n{at}": EXACT for at in range(MAX_BARS)})
    await tenants.put(full)
    assert len(await tenants.bar_history.changes("acme")) == 3
    more = {**full.namespace_bars, "more": EXACT}
    with pytest.raises(BadRequest, match="1000 bars"):
        await tenants.put(replace(full, namespace_bars=more))
    assert "more" not in (await tenants.settings("acme")).namespace_bars


@pytest.mark.parametrize(("tenant", "other"), [("a", "b"), ("1a", "a"), ("a", "1-a")])
async def test_no_tenant_sees_anothers_changes(tenants: Tenants, tenant: str, other: str) -> None:
    await tenants.put(replace(ACME, name=tenant, bar=EXACT))
    assert await told(tenants, other) == []
    assert await tenants.bar_history.last(other) is None


async def test_an_undone_change_and_its_undoing_are_passed_over(tenants: Tenants) -> None:
    for target in (0.01, 0.02):
        await tenants.put(replace(ACME, bar=Bar(target=target)))
    history = tenants.bar_history
    second = await history.last("acme")
    assert second is not None
    assert second.before == {"target": 0.01}
    # Somebody had set it back already: that is recorded as undone all the same.
    await tenants.put(replace(ACME, bar=Bar(target=0.01)))
    await tenants.put(replace(ACME, bar=Bar(target=0.01)), undoes=second)
    newest, set_back, *_ = await history.changes("acme")
    assert (newest.undoes, newest.before, newest.after) == (second.id, *[{"target": 0.01}] * 2)
    assert await history.last("acme", Place("tenant")) == set_back
    assert await history.last("acme", Place("namespace", "faq")) is None


async def test_without_its_record_no_bar_changes(tmp_path: Path, tenants: Tenants) -> None:
    for who in ("x" * 201, "a\nb"):
        with pytest.raises(BadRequest, match="`who`"):
            await tenants.put(replace(ACME, bar=EXACT), who=who)
    assert (await tenants.settings("acme")).bar == DEFAULTS.bar
    client = connect(f"unix://{tmp_path}/nobody.sock")
    away = Tenants(client, defaults=DEFAULTS)
    with pytest.raises(StoreError):
        await away.put(ACME)
    with pytest.raises(StoreError):
        await away.bar_history.changes("acme")
    await client.aclose()


async def test_a_record_that_makes_no_sense_is_an_error(
    tenants: Tenants, redis: Connection, prefix: str
) -> None:
    await tenants.put(replace(ACME, bar=EXACT))
    row = ("who", "", "at", "1", "level", "tenant", "name", "", "before", "[1]", "after", "")
    await command(redis, "XADD", f"{prefix}barlog:4:acme", "*", *row)
    with pytest.raises(StoreError, match="damaged"):
        await tenants.bar_history.changes("acme")
