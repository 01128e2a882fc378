"""A tenant without content: nothing it said can be read or guessed from what is kept, or is shown.

Each look through all that is kept finds the same of an ordinary tenant, so that it can fail.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cacheserver import jsontext, wire
from cacheserver.config import Settings
from cacheserver.errors import SettingsError
from cacheserver.policy import fingerprint
from cacheserver.types import Controls, Query, Tenant
from tests.batches.house import QUICK
from tests.erasure import ADMIN, PIECES, echo, fill, found, in_files, in_store, marker, store_of
from tests.guesses import known
from tests.house import MODEL, House, came_from
from tests.models import model_dir

# What a guesser finds of an ordinary tenant, so that the search is one. A turn or a summary of
# digests: of the requests of `talk_of`.
GUESSED = {"fingerprint", "scope", "actor", "skeleton", "fragment-0", "rest", "turn-0", "root"}
# Routes that give a caller what it asked for itself, if later.
OWN = ("/v1/jobs/{id}", "/v1/jobs/{id}/events", "/v1/messages/batches/{id}/results")
# Routes that show texts of an ordinary tenant: of each it is proven that it does.
SHOWING = {
    "/admin/tenants/{name}/decisions/{id}",
    "/admin/tenants/{name}/reviews",
    "/admin/tenants/{name}/reviews/export",
    "/admin/routing/{tenant}/gold/{task}",
    "/v1/decisions/{id}",
    "/v1/conversations/{name}",
}


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


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path) as house:
        yield house


async def put(house: House, tenant: str, **fields: Any) -> httpx2.Response:
    return await house.http.put(f"/admin/tenants/{tenant}", json=fields, headers=ADMIN)


async def without_content(house: House, tenant: str) -> str:
    """A key of a new tenant that keeps no content."""
    made = await put(house, tenant, no_content=True)
    assert made.status_code == 200, made.text
    return await house.key(tenant)


def system_of(who: str) -> str:
    """A system prompt long enough for Claude's prompt cache, with a fragment in it."""
    rules = f"You answer for {marker(who, 'system')}. Today is 2026-11-29. "
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


def small_of(who: str) -> dict[str, Any]:
    """The short question that `fill` begins with."""
    said = f"Where is {marker(who, 'message')} made?"
    return {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": said}]}


async def fill_more(house: House, who: str, key: str) -> dict[str, str]:
    """All of `fill`, what the levers keep, a bad verdict and a gold set; the ids of it."""
    ids = await fill(house, who, key)
    names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
    for _ in range(2):
        said = await house.http.post("/v1/messages", json=talk_of(who), headers=names)
        assert said.status_code == 200, said.text
    tenant = await tenant_of(house, key)
    lines = {"prompt": f"Gold {marker(who, 'gold')}?", "expected": f"{marker(who, 'gold')}"}
    kept = await house.http.put(
        f"/admin/routing/{tenant}/gold/summary", content=jsontext.dumps(lines), headers=ADMIN
    )
    assert kept.status_code == 200, kept.text
    await house.parts.prompts.behind.flush()
    await house.parts.router.settle()
    await house.parts.learner.idle()
    await house.parts.journal.flush()
    await house.parts.ledger.flush()
    return ids


async def tenant_of(house: House, key: str) -> str:
    record = await house.parts.tenants.key(key)
    assert record is not None
    return record.tenant


def guess(house: House, tenant: str, who: str, body: Mapping[str, Any], actor: bool) -> Query:
    """The request as a guesser with all of our code makes it, who knows all but the tenant's key."""
    raw = jsontext.dumps(dict(body))
    body = dict(body)
    if actor:
        body["metadata"] = {"user_id": f"{who}@example.com"}
    return fingerprint.read(
        body,
        raw,
        headers={},
        tenant=Tenant(tenant),
        controls=Controls(namespace=f"space-{who}"),
        upstream=house.parts.upstream.identity,
        embedder=house.parts.embedder_id,
    )


def guessed(house: House, tenant: str, who: str, haystack: bytes) -> set[str]:
    """What of a tenant's requests a guesser finds in there."""
    asked = (small_of(who), True), (talk_of(who), False)
    return {
        name
        for body, actor in asked
        for name in known(guess(house, tenant, who, body, actor), haystack)
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
    pieces = (*PIECES, "system", "first", "levers", "gold")
    return {piece for piece in pieces if marker(who, piece).encode() in haystack}


async def test_nothing_that_is_kept_says_what_was_asked(house: House, tmp_path: Path) -> None:
    plain, sealed = await house.key("plain"), await without_content(house, "sealed")
    await fill_more(house, "ann", plain)
    await fill_more(house, "bob", sealed)
    kept = await kept_of(house, tmp_path)
    # Sealed is the content of both; what can be guessed is so of the ordinary one alone.
    assert texts("bob", kept) == set()
    assert guessed(house, "plain", "ann", kept) >= GUESSED
    assert guessed(house, "sealed", "bob", kept) == set()


async def test_the_search_finds_texts_where_nothing_is_encrypted(tmp_path: Path) -> None:
    async with opened(tmp_path, encryption_key_file=None) as house:
        await fill_more(house, "ann", await house.key("plain"))
        kept = await kept_of(house, tmp_path)
        assert texts("ann", kept) == {*PIECES, "system", "first", "levers", "gold"} - {
            "system",  # prompts of the system are kept as digests
            *("first", "levers"),  # a request with other turns is not matched by similarity
        }
        assert guessed(house, "plain", "ann", kept) >= GUESSED
