"""Values in the store that are damaged, or were planted: misses and counted, never an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cacheserver.backup import key_copy
from cacheserver.erasure.key_kinds import REGISTRY
from cacheserver.storage.connection import Connection, command
from tests.encryption.test_encryption import SEALED, unreadable
from tests.erasure.helpers import ADMIN, PREFIX, marker, store_of
from tests.house import MODEL, House
from tests.nocontent.traffic import fill_more, opened, put, without_content

JOBS = {"jobs", "job_items"}
MADE: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no JSON": lambda _: b"\xfe\x00junk",
    "null": lambda _: b"null",
    "a list": lambda _: b"[]",
    "an object": lambda _: b'{"a":[1]}',
    "a bit of its mark": lambda value: bytes([value[0] ^ 1]) + value[1:],
    "cut off": lambda value: value[: len(value) // 2],
}


async def sealed_values(
    redis: Connection,
) -> AsyncIterator[tuple[bytes, bytes | int | None, bytes]]:
    """(key, field or place, value) of whatever is sealed; None: the whole value."""
    async for verb, key, *rest in key_copy.read_keys(redis, PREFIX):
        assert isinstance(key, bytes)
        kind = REGISTRY.find(key[len(PREFIX) :].decode())
        if kind is None or kind[0].name not in SEALED | JOBS:
            continue
        named: dict[Any, Any] = {}
        match verb:
            case "SET":
                named = {None: rest[0]}
            case "HSET":
                named = dict(zip(rest[::2], rest[1::2], strict=True))
            case "RPUSH":
                named = dict(enumerate(rest))
        for place, value in named.items():
            if isinstance(value, bytes) and b"\xffcs\x01" in value[:40]:
                yield key, place, value


async def write(redis: Connection, key: bytes, place: bytes | int | None, value: bytes) -> None:
    if place is None:
        await command(redis, "SET", key, value, "KEEPTTL", "XX")
    elif isinstance(place, int):
        if place < int(await command(redis, "LLEN", key)):
            await command(redis, "LSET", key, place, value)
    elif await command(redis, "HEXISTS", key, place):
        await command(redis, "HSET", key, place, value)


async def drive(house: House, who: str, key: str, tenant: str, ids: Mapping[str, str]) -> set[int]:
    """The statuses of each route that reads what is kept."""
    names = {"x-api-key": key, "x-cache-namespace": f"space-{who}"}
    asked = {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": f"Where is {marker(who, 'message')} made?"}],
    }
    found: set[int] = set()
    for path, body in (
        ("/v1/messages", asked),
        ("/v1/query", {"prompt": "And again?", "conversation": f"talk-{who}"}),
        ("/v1/feedback", {"verdict": "bad", "decision_id": ids["decision"]}),
    ):
        found.add((await house.http.post(path, json=body, headers=names)).status_code)
    for path in (
        f"/v1/conversations/talk-{who}",
        f"/v1/decisions/{ids['decision']}",
        f"/v1/jobs/{ids['batch']}",
        f"/v1/jobs/{ids['job']}",
        f"/v1/messages/batches/{ids['batch']}/results",
        "/v1/messages/batches",
    ):
        found.add((await house.http.get(path, headers=names)).status_code)
    for path in (f"/admin/v1/tenants/{tenant}", f"/admin/v1/labels/queue?tenant={tenant}"):
        found.add((await house.http.get(path, headers=ADMIN)).status_code)
    return found


@pytest.mark.parametrize("made", list(MADE))
async def test_a_damaged_value_is_a_counted_miss(tmp_path: Path, made: str) -> None:
    async with opened(tmp_path) as house:
        who = {"acme": "ann", "clinic": "bob"}
        keys = {"acme": await house.key("acme"), "clinic": await without_content(house, "clinic")}
        await put(house, "acme", semantic=True)
        ids = {t: await fill_more(house, who[t], keys[t]) for t in keys}
        await house.parts.decision_log.flush()
        redis = await store_of(tmp_path / "data")
        try:
            async for name, place, value in sealed_values(redis):
                # Settings apart: what they allow is not known, and that is said (below).
                if name != f"{PREFIX}tenants".encode():
                    await write(redis, name, place, MADE[made](value))
            for tenant, key in keys.items():
                told = await drive(house, who[tenant], key, tenant, ids[tenant])
                assert told <= {200, 404, 409}, told
            assert sum((await unreadable(house)).values()) > 0
        finally:
            await redis.aclose()


# Whoever may write settings in plain has written settings: an object is no damage.
@pytest.mark.parametrize("made", [name for name in MADE if name != "an object"])
async def test_damaged_settings_hide_no_other_tenant_and_can_be_put_anew(
    tmp_path: Path, made: str
) -> None:
    async with opened(tmp_path) as house:
        key = await without_content(house, "clinic")
        await put(house, "acme", semantic=True)
        redis = await store_of(tmp_path / "data")
        try:
            value = await command(redis, "HGET", f"{PREFIX}tenants", "clinic")
            await command(redis, "HSET", f"{PREFIX}tenants", "clinic", MADE[made](value))
        finally:
            await redis.aclose()
        house.parts.tenants.forget("clinic")
        listed = await house.http.get("/admin/v1/tenants", headers=ADMIN)
        assert [one["name"] for one in listed.json()["items"]] == ["acme", "clinic"]
        shown = await house.http.get("/admin/v1/tenants/clinic", headers=ADMIN)
        assert (shown.status_code, "damaged" in shown.text) == (503, True)
        asked = await house.ask("Where is the harbour?", key=key)
        assert asked.headers["x-cache"] == "miss"
        unsaid = await put(house, "clinic", semantic=True)
        assert (unsaid.status_code, "`no_content`: must be given" in unsaid.text) == (400, True)
        anew = await put(house, "clinic", no_content=True)
        assert anew.json()["settings"]["no_content"] is True
        assert "erased" in anew.json()
        for came in ("miss", "exact"):
            again = await house.ask("Where is the harbour?", key=key)
            assert again.headers["x-cache"] == came
