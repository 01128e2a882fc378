"""The index of decisions that is remembered is the one that is stored."""

from __future__ import annotations

import pytest

from cacheserver.cache.store.decision_hours import DecisionHours
from cacheserver.cache.store.decision_index import ROW_BYTES
from cacheserver.storage.connection import Connection, command

HOUR = 500_000


async def _write(redis: Connection, prefix: str, tenant: str, *ids: str) -> None:
    for id in ids:
        key = f"{prefix}di:{len(tenant)}:{tenant}:{HOUR}"
        await command(redis, "APPEND", key, id.encode().ljust(ROW_BYTES, b"\0"))


async def _read(index: DecisionHours, *tenants: str) -> list[tuple[str, str]]:
    found = await index.load({HOUR: tenants})
    if found is None:
        return []
    owners = [found.tenants[place] for place in found.owners]
    return [(name, id.decode()) for name, id in zip(owners, found.rows["id"], strict=True)]


async def _sent(redis: Connection) -> int:
    return int((await redis.info("stats"))["total_net_output_bytes"])


async def test_a_later_read_fetches_what_is_new(redis: Connection, prefix: str) -> None:
    index = DecisionHours(redis, prefix=prefix)
    many = [f"d{number}" for number in range(500)]
    await _write(redis, prefix, "acme", *many)
    assert await _read(index, "acme") == [("acme", id) for id in many]
    for new in ("e", "f"):
        many.append(new)
        await _write(redis, prefix, "acme", new)
        before = await _sent(redis)
        assert await _read(index, "acme") == [("acme", id) for id in many]
        fetched = await _sent(redis) - before
        assert 2 * ROW_BYTES <= fetched < 2 * ROW_BYTES + 10_000  # beside the reply of `INFO`


@pytest.mark.parametrize("anew", [(), ("x",), ("x", "y"), ("x", "y", "z")])
async def test_what_was_erased_is_not_remembered(
    redis: Connection, prefix: str, anew: tuple[str, ...]
) -> None:
    """A tenant of the same name may have come since, with fewer rows, as many or more."""
    index = DecisionHours(redis, prefix=prefix)
    await _write(redis, prefix, "acme", "d", "e")
    assert len(await _read(index, "acme")) == 2
    await command(redis, "UNLINK", f"{prefix}di:4:acme:{HOUR}")
    await _write(redis, prefix, "acme", *anew)
    for _ in range(2):
        assert await _read(index, "acme") == [("acme", id) for id in anew]


async def test_each_tenant_has_its_own_rows(redis: Connection, prefix: str) -> None:
    index = DecisionHours(redis, prefix=prefix)
    await _write(redis, prefix, "acme", "a")
    await _write(redis, prefix, "beta", "b", "c")
    for _ in range(2):
        assert await _read(index, "beta") == [("beta", "b"), ("beta", "c")]
        assert await _read(index, "acme") == [("acme", "a")]
        assert await _read(index, "acme", "gone", "beta") == [
            *[("acme", "a"), ("beta", "b"), ("beta", "c")]
        ]


async def test_what_is_remembered_is_bounded(redis: Connection, prefix: str) -> None:
    index = DecisionHours(redis, prefix=prefix, max_bytes=2 * ROW_BYTES)
    await _write(redis, prefix, "acme", "a")
    await _write(redis, prefix, "beta", "b", "c")
    for _ in range(2):
        assert len(await _read(index, "acme", "beta")) == 3
        assert index._kept.bytes <= 2 * ROW_BYTES
