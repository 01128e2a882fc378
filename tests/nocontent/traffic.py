"""A tenant without content beside an ordinary one: what is put in, and what is looked for."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from cacheserver.cache import fingerprint
from cacheserver.core import json_text
from cacheserver.core.types import Controls, Query, Tenant
from tests.batches.house import QUICK
from tests.erasure.helpers import (
    ADMIN,
    PIECES,
    echo,
    fill,
    in_files,
    in_store,
    marker,
    store_of,
)
from tests.guesses import known
from tests.house import MODEL, House

# What a guesser finds of an ordinary tenant, so that the search is one.
GUESSED = {
    "fingerprint",
    "scope",
    "actor",
    "skeleton",
    "fragment-0",
    "rest",
    "turn-0",
    "turns-2",
    "request",
}
ALL_PIECES = (*PIECES, "system", "first", "levers", "gold", "long", "longer", "longest")


def key_file(folder: Path) -> Path:
    path = folder / "master.key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[House]:
    """A house that encrypts; its data directory is `folder / "data"`."""
    settings = {"encryption_key_file": key_file(folder), "claude": echo, "pace": QUICK, **settings}
    async with House.open(folder / "data", **settings) as house:
        yield house


async def put(house: House, tenant: str, **fields: Any) -> httpx2.Response:
    return await house.http.put(f"/admin/v1/tenants/{tenant}", json=fields, headers=ADMIN)


async def without_content(house: House, tenant: str) -> str:
    """A key of a new tenant that keeps no content."""
    made = await put(house, tenant, no_content=True)
    assert made.status_code == 200, made.text
    return await house.key(tenant)


def system_of(who: str) -> str:
    """A system prompt long enough for Claude's prompt cache, with a fragment in it."""
    day = 10 + sum(who.encode()) % 18  # another one for each: fragments are found one by one
    rules = f"You answer for {marker(who, 'system')}. Today is 2026-11-{day}. "
    return rules + "Be brief, be right, be kind, and say so where you do not know. " * 150


def talk_of(who: str) -> dict[str, Any]:
    """A request that the levers look at: routed, with a history and a system prompt."""
    return {
        "model": "auto",
        "max_tokens": 100,
        "system": system_of(who),
        "messages": [
            {"role": "user", "content": f"Hi from {marker(who, 'first')}."},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": f"Who is {marker(who, 'levers')}?"},
        ],
        "metadata": {"user_id": f"{who}@example.com"},
    }


def long_of(who: str) -> dict[str, Any]:
    """The last request of a conversation whose first exchange is left out."""
    asked = [
        f"Which harbour is called {marker(who, 'long')}?",
        f"How deep does {marker(who, 'longer')} lie?",
        f"List the ships in {marker(who, 'longest')}.",
    ]
    turns = [{"role": "user", "content": said} for said in asked]
    told = [{"role": "assistant", "content": f"It is about {said}"} for said in asked]
    messages = [turns[0], told[0], turns[1], told[1], turns[2]]
    return {"model": "auto", "max_tokens": 100, "messages": messages}


def asked(text: str) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}


def small_of(who: str) -> dict[str, Any]:
    """The short question that `fill` begins with."""
    return asked(f"Where is {marker(who, 'message')} made?")


async def fill_more(house: House, who: str, key: str) -> dict[str, str]:
    """All of `fill`, what the levers keep, a bad verdict and a gold set; the ids of it."""
    ids = await fill(house, who, key)
    names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
    for _ in range(2):
        said = await house.http.post("/v1/messages", json=talk_of(who), headers=names)
        assert said.status_code == 200, said.text
    tenant = await tenant_of(house, key)
    kept = await put(house, tenant, history={"how": "summary", "keep": 1, "step": 1})
    assert kept.status_code == 200, kept.text
    house.parts.tenants.forget(tenant)
    for turn in long_of(who)["messages"][::2]:  # the first exchange is summed up
        fields = {"prompt": turn["content"], "conversation": f"long-{who}"}
        told = await house.http.post("/v1/query", json=fields, headers=names)
        assert told.status_code == 200, told.text
    lines = {"prompt": f"Gold {marker(who, 'gold')}?", "expected": f"{marker(who, 'gold')}"}
    kept = await house.http.put(
        f"/admin/v1/routing/{tenant}/gold/summary", content=json_text.dumps(lines), headers=ADMIN
    )
    assert kept.status_code == 200, kept.text
    await house.parts.prompt_caching.writes.drain()
    await house.parts.routing.router.drain()
    await house.parts.calibration.learner.idle()
    await house.parts.decision_log.flush()
    await house.parts.ledger.flush()
    return ids


async def tenant_of(house: House, key: str) -> str:
    record = await house.parts.tenants.key(key)
    assert record is not None
    return record.tenant


def guess(house: House, tenant: Tenant, who: str, body: Mapping[str, Any], actor: bool) -> Query:
    """The request as whoever has the code makes it, with the tenant's key or without."""
    raw = json_text.dumps(dict(body))
    body = dict(body)
    if actor:
        body["metadata"] = {"user_id": f"{who}@example.com"}
    return fingerprint.read(
        body,
        raw,
        headers={},
        tenant=tenant,
        controls=Controls(namespace=f"space-{who}"),
        upstream=house.parts.upstream.identity,
        language=house.parts.language,
    )


async def guessed(house: House, tenant: str, who: str, haystack: bytes) -> set[str]:
    """Return what of a tenant's requests a guesser finds in there."""
    held = await house.parts.tenants.settings(tenant)
    asked = (small_of(who), True), (talk_of(who), False), (long_of(who), True)
    return {
        name
        for body, actor in asked
        for name in known(
            guess(house, Tenant(tenant), who, body, actor),
            guess(house, held, who, body, actor),
            haystack,
        )
    }


async def kept_of(house: House, folder: Path) -> bytes:
    """All that is in the store and in the files, its append-only file and the snapshot with it."""
    await house.parts.entries.save()
    redis = await store_of(folder / "data")
    try:
        return await in_store(redis) + in_files(folder / "data")
    finally:
        await redis.aclose()


def texts(who: str, haystack: bytes) -> set[str]:
    return {piece for piece in ALL_PIECES if marker(who, piece).encode() in haystack}
