"""End of a run: check everything, then erase all that the store holds."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import time
from collections import Counter

from redis.asyncio import Redis

from scripts.chaos_run.caller import ADMIN_KEY, Tenant
from scripts.chaos_run.history import TALK, Charge, Revoked
from scripts.chaos_run.rig import TENANTS, Rig
from scripts.chaos_run.rules.violation import SETTLED_S
from scripts.chaos_run.traffic import NOBODY, TALKS

TRIES = 10
ENDED_S = 15.0  # batches that were under way when the last fault ended have so long
NOTICED_S = 20.0  # the store is looked at every few seconds


async def look(rig: Rig) -> Counter[str]:
    """Look at every batch and conversation; how far the batches are."""
    found: Counter[str] = Counter()
    until = time.monotonic() + ENDED_S
    tenants = {tenant.name: tenant for tenant in rig.tenants}
    for batch in rig.history.batches:
        for tried in itertools.count(1):
            state = await rig.caller.look_at(tenants[batch.tenant], batch)
            if state in ("ended", "404") or (tried >= TRIES and time.monotonic() > until):
                break
            await asyncio.sleep(0.5)
        found[state] += 1
    for tenant in rig.tenants:
        for talk in TALKS:
            for _ in range(TRIES):
                if await rig.caller.hear(tenant, talk, TALK):
                    break
                await asyncio.sleep(0.5)
    return found


async def books(rig: Rig) -> None:
    """Note the ledger and the invoice."""
    url = f"{rig.caller.url}/v1/usage/export?format=jsonl"
    got = await rig.http.get(url, headers={"x-api-key": ADMIN_KEY})
    got.raise_for_status()
    rig.history.rows = [json.loads(line) for line in got.text.splitlines()]
    lines = rig.claude.charges.read_text().splitlines()
    rig.history.invoice = [Charge(*json.loads(line)) for line in lines]


async def emptied(rig: Rig) -> str | None:
    """Empty the store, make a key and revoke it: nobody is let in by the one or the other.

    Returns a sentence if nobody noticed that the store was emptied.
    """
    started = time.time()
    if rig.cluster is not None:
        await rig.cluster.empty()
    else:
        url = rig.store.url if rig.store is not None else rig.servers[0].store_url
        async with Redis.from_url(url) as store:
            await store.flushall()
    known = rig.everyone
    settled = time.time() + SETTLED_S * rig.scale
    rig.history.revoked += [Revoked(started, settled, tenant.key_id) for tenant in known]
    until = started + NOTICED_S * rig.scale
    line = r'^cacheserver_swallowed_total\{site="store-lost"\} ([1-9]\S*)'
    for server in rig.servers:
        while (noticed := await rig.gauge(server, line)) is None and time.time() < until:
            await _knock(rig, NOBODY)
            await asyncio.sleep(0.3)
        if noticed is None:
            break
    if (made := await rig.caller.create_key(TENANTS[0])) is not None:
        await rig.caller.revoke(made.key_id)
        known.append(made)
    await _knock(rig, NOBODY)
    await asyncio.sleep(max(0.0, settled - time.time()) + 0.1)
    await _knock(rig, NOBODY, *known)
    if made is None:
        return "after the store was emptied no key could be made"
    return None if noticed else "a store that was emptied was not noticed"


async def without_data(rig: Rig) -> None:
    """Start the servers on a store whose files are gone."""
    await rig.end(signal.SIGTERM)
    if rig.cluster is not None:
        await rig.cluster.empty()
    elif rig.store is not None:
        await rig.store.end(signal.SIGKILL)
        shutil.rmtree(rig.store.folder)
        rig.store.folder.mkdir()
        await rig.store.serve()
    else:
        shutil.rmtree(rig.servers[0].data / "store")
    await rig.serve()
    await rig.ready(NOTICED_S * rig.scale)
    await _knock(rig, NOBODY, *rig.tenants)


async def _knock(rig: Rig, *tenants: Tenant) -> None:
    """Ask every server as somebody who may not."""
    for tenant in tenants:
        await rig.caller.ask_each(tenant, "default", "What is the capital of France")
