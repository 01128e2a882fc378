"""Batches and jobs of a tenant with several keys: each key finds its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anthropic
import pytest

from cacheserver.storage.connection import command
from tests.batches.house import BatchHouse, item


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[BatchHouse]:
    async with BatchHouse.start(tmp_path) as house:
        yield house


async def test_a_batch_or_job_of_another_key_of_the_tenant_is_not_found(house: BatchHouse) -> None:
    ann, bob = await house.key("shop"), await house.key("shop")
    await house.send_at_once("shop")
    batches, others = house.sdk(ann).messages.batches, house.sdk(bob).messages.batches
    made = await batches.create(requests=[item("a")])
    await house.ended(made.id, key=ann)
    own = await others.create(requests=[item("b")])
    await house.ended(own.id, key=bob)
    job = (await house.job("Later?", key=ann)).json()["id"]
    await house.ended(job, key=ann)
    assert [batch.id async for batch in batches.list(limit=1)] == [made.id]
    assert [batch.id async for batch in others.list(limit=1)] == [own.id]
    with pytest.raises(anthropic.BadRequestError):
        await others.list(after_id=made.id)
    for attempt in (others.retrieve, others.cancel, others.delete, others.results):
        with pytest.raises(anthropic.NotFoundError):
            await attempt(made.id)
    for id in (made.id, job):
        for method, path in (("GET", id), ("GET", f"{id}/events"), ("DELETE", id)):
            answer = await house.http.request(
                method, f"/v1/jobs/{path}", headers={"x-api-key": bob}
            )
            assert answer.status_code == 404, (method, path)
    await house.parts.tenants.put(
        replace(await house.parts.tenants.get("shop"), keys_read_content=True)
    )
    house.parts.tenants.forget("shop")
    assert [batch.id async for batch in others.list()] == [own.id, made.id]
    assert (await house.http.get(f"/v1/jobs/{job}", headers={"x-api-key": bob})).json()["result"]


async def test_an_expired_batch_leaves_the_list(house: BatchHouse) -> None:
    key = await house.key("shop")
    batches = house.sdk(key).messages.batches
    gone, kept = [(await batches.create(requests=[item(id)])).id for id in ("a", "b")]
    await house.ended(gone, key=key)
    jobs = house.batching.jobs
    await command(jobs._redis, "DEL", f"{jobs._prefix}bt:job:{gone}")
    assert [batch.id async for batch in batches.list(limit=1)] == [kept]
    left = await command(jobs._redis, "ZRANGE", f"{jobs._prefix}bt:mine:4:shop", 0, -1)
    assert left == [kept.encode()]
