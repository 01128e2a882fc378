"""Texts that cannot be mistaken, put through every route and looked for in all that is kept."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zstandard

from cacheserver.backup import key_copy
from cacheserver.simulated import Directives
from cacheserver.simulated.directives import question
from cacheserver.storage.connection import Connection, command, connect
from tests.house import ADMIN_KEY, MODEL, House

PREFIX = "cs1:"
ADMIN = {"x-api-key": ADMIN_KEY}
PIECES = ("message", "stream", "query", "talk", "batch", "job", "user", "declared")


def echo(body: Mapping[str, Any]) -> Directives:
    """Claude says what it was asked, so that answers are known by their questions."""
    return Directives(text=f"It is about {question(body)}")


def marker(who: str, piece: str) -> str:
    return f"zqx{who}{piece}vbk"


async def fill(house: House, who: str, key: str) -> dict[str, str]:
    """Put each piece of `who` through its route; the ids of what came of it."""
    names = {
        "x-api-key": key,
        "x-cache-namespace": f"space-{who}",
        "x-cache-tags": f"tag/{who}",
        "x-cache-actor": f"{who}@example.com",
    }
    ids: dict[str, str] = {}
    asked = await house.ask(f"Where is {marker(who, 'message')} made?", headers=names)
    ids["entry"], ids["decision"] = (
        asked.headers["x-cache-entry"],
        asked.headers["x-cache-decision"],
    )
    again = await house.ask(f"where is {marker(who, 'message')} made", headers=names)
    assert again.headers["x-cache"] == "semantic"
    streamed = await house.ask(f"Who buys {marker(who, 'stream')}?", headers=names, stream=True)
    assert "message_stop" in streamed.text
    del names["x-cache-actor"]  # this one is named in the body
    await house.ask(
        f"What is {marker(who, 'user')}?", headers=names, metadata={"user_id": f"{who}@example.com"}
    )
    names["x-cache-actor"] = f"{who}@example.com"
    fields = {"prompt": f"Why {marker(who, 'query')}?"}
    assert (await house.http.post("/v1/query", json=fields, headers=names)).status_code == 200
    for text in (f"Hello, I am {marker(who, 'talk')}.", "And now?"):
        fields = {"prompt": text, "conversation": f"talk-{who}"}
        said = await house.http.post("/v1/query", json=fields, headers=names)
        assert said.status_code == 200, said.text
    await declare(house, who, names)
    for verdict in ({"entry_id": ids["entry"]}, {"decision_id": again.headers["x-cache-decision"]}):
        fields = {"verdict": "good", **verdict}
        told = await house.http.post("/v1/feedback", json=fields, headers=names)
        assert told.status_code == 200, told.text
    items: list[dict[str, Any]] = [
        {
            "custom_id": f"item-{place}",
            "params": {
                "model": MODEL,
                "max_tokens": 100,
                "messages": [
                    {"role": "user", "content": f"Say {place} of {marker(who, 'batch')}!"}
                ],
            },
        }
        for place in range(2)
    ]
    made = await house.http.post("/v1/messages/batches", json={"requests": items}, headers=names)
    assert made.status_code == 200, made.text
    ids["batch"] = made.json()["id"]
    later: dict[str, Any] = {
        "prompt": f"Later: {marker(who, 'job')}?",
        "when": "batch",
        "deadline": 60,
    }
    made = await house.http.post("/v1/query", json=later, headers=names)
    assert made.status_code == 202, made.text
    ids["job"] = made.json()["id"]
    for job in (ids["batch"], ids["job"]):
        await ended(house, job, key)
    return ids


async def declare(house: House, who: str, names: Mapping[str, str]) -> None:
    """Ask a declared question; the prompt itself says nothing of `who`."""
    key = await house.parts.tenants.key(names["x-api-key"])
    assert key is not None
    allowed = {"declared": {"enabled": True}}
    done = await house.http.put(f"/admin/v1/tenants/{key.tenant}", json=allowed, headers=ADMIN)
    assert done.status_code == 200, done.text
    house.parts.tenants.forget(key.tenant)
    fields = {
        "prompt": "Say what the page says.",
        "question": f"Whence {marker(who, 'declared')}?",
        "context": f"page-{who}@v1",
        "context_blocks": ["messages"],
    }
    said = await house.http.post("/v1/query", json=fields, headers=names)
    assert said.status_code == 200, said.text


async def ended(house: House, job: str, key: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            found = await house.http.get(f"/v1/jobs/{job}", headers={"x-api-key": key})
            assert found.status_code == 200, found.text
            if found.json()["status"] == "ended":
                told: dict[str, Any] = found.json()
                return told
            await asyncio.sleep(0.05)


async def store_of(data: Path) -> Connection:
    """The store of a data directory, made to write plain bytes, which can be looked through."""
    redis = connect(f"unix://{data / 'store' / 'valkey.sock'}")
    await command(redis, "CONFIG", "SET", "rdbcompression", "no")
    return redis


async def in_store(redis: Connection) -> bytes:
    """Everything the store holds, keys and values, unpacked."""
    whole: list[bytes] = []
    async for words in key_copy.read_keys(redis, PREFIX):
        for word in words:
            raw = word if isinstance(word, bytes) else str(word).encode()
            whole.append(raw)
            whole += frames(raw)
            try:
                whole.append(zlib.decompress(raw.partition(b"\n")[2]))
            except zlib.error:
                continue
    return b"\n".join(whole)


def frames(raw: bytes) -> list[bytes]:
    """Return the contents of the zstd frames among these bytes; stored answers are such."""
    found, at = list[bytes](), raw.find(zstandard.FRAME_HEADER)
    while at >= 0:
        with contextlib.suppress(zstandard.ZstdError):  # bytes that only look like one
            found.append(zstandard.ZstdDecompressor().decompressobj().decompress(raw[at:]))
        at = raw.find(zstandard.FRAME_HEADER, at + 1)
    return found


def in_files(data: Path) -> bytes:
    """The bytes of all files of a data directory, and what is in their zstd frames."""
    whole = [path.read_bytes() for path in data.rglob("*") if path.is_file()]
    return b"\n".join([*whole, *(one for raw in whole for one in frames(raw))])


def found(haystack: bytes, who: str) -> set[str]:
    """The pieces of `who` that are in there."""
    return {piece for piece in PIECES if marker(who, piece).encode() in haystack}
