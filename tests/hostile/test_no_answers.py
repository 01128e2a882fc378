"""Answers that are none: nobody else is given one, whatever way it came."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from cacheserver.claude import sse
from cacheserver.core import json_text
from cacheserver.core.types import Entry, Usage
from cacheserver.simulated.directives import Fault
from tests.hostile.claude import EVENTS, JSON, MESSAGE, scripted
from tests.house import ADMIN_KEY, House, came_from

QUESTION, REWORDED = "What is the capital of France?", "What's the capital of France?"
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
NONE: list[Any] = [
    [],
    [{"type": "text", "text": ""}],
    [{"type": "text", "text": " \n\u200b"}],
    [THOUGHT],
    [THOUGHT, {"type": "text", "text": ""}],
]


@pytest.mark.parametrize("content", NONE)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_none_is_handed_on_and_not_stored(
    tmp_path: Path, content: list[Any], stream: bool
) -> None:
    empty = {**MESSAGE, "content": content}
    async with scripted(tmp_path) as (house, claude):
        claude.kind = EVENTS if stream else JSON
        claude.body = b"".join(sse.replay(empty)) if stream else json.dumps(empty).encode()
        first = await house.ask(QUESTION, stream=stream)
        assert came_from(first)[0] == "miss"
        if not stream:
            assert first.json()["content"] == content
        path = f"/v1/decisions/{first.headers['x-cache-decision']}"
        assert (await house.http.get(path)).json()["unstored"] == "no-content"
        for text in (QUESTION, REWORDED):
            assert came_from(await house.ask(text, stream=stream))[0] == "miss"
        assert claude.asked == 3


async def test_one_that_an_older_version_stored_is_not_served(house: House) -> None:
    stored = (await house.ask(QUESTION)).headers["x-cache-entry"]
    entry = await house.parts.entries.entries.by_id("default", stored)
    assert entry is not None
    await _put_empty(house, entry)
    again = await house.ask(QUESTION)
    assert came_from(again)[0] == "miss"
    assert again.json()["content"][0]["text"]
    assert came_from(await house.ask(QUESTION))[0] == "exact"
    await _put_empty(house, entry)
    assert came_from(await house.ask(REWORDED))[0] == "miss"


async def test_nor_is_it_while_claude_fails(house: House) -> None:
    path, admin = "/admin/v1/tenants/default", {"x-api-key": ADMIN_KEY}
    assert (await house.http.put(path, json={"stale_s": 600}, headers=admin)).status_code == 200
    stored = (await house.ask(QUESTION)).headers["x-cache-entry"]
    entry = await house.parts.entries.entries.by_id("default", stored)
    assert entry is not None
    await _put_empty(house, entry)
    house.upstream.faults.add(Fault("error", status=500, times=9))
    assert (await house.ask(QUESTION)).status_code == 500


async def _put_empty(house: House, entry: Entry) -> None:
    """Put what an older version would have stored."""
    message = json_text.dumps({**json_text.loads(entry.message), "content": [THOUGHT]})
    empty = Entry(
        id=f"{entry.id[:-4]}{secrets.token_hex(2)}",
        tenant=entry.tenant,
        namespace=entry.namespace,
        fingerprint=entry.fingerprint,
        scope=entry.scope,
        text=entry.text,
        model=entry.model,
        message=message,
        usage=Usage(),
        cost=0,
        tags=(),
        created_at=entry.created_at,
        expires_at=entry.expires_at,
    )
    assert await house.parts.entries.put(empty, keep_s=0, asked_at=house.clock())
    assert (await house.parts.entries.get(entry.fingerprint) or entry).id == empty.id
