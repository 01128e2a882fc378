"""Encryption at rest: nothing that was asked or answered stands in plain anywhere on a disk."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from cacheserver.stores.connection import command
from tests.batches.house import QUICK
from tests.erasure import (
    ADMIN,
    PIECES,
    echo,
    fill,
    found,
    in_files,
    in_store,
    marker,
    store_of,
)
from tests.house import MODEL, House

WHOLE = set(PIECES)
GOLD = marker("ann", "gold")
WARM = marker("ann", "warm")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return new_key(tmp_path / "master")


def new_key(path: Path) -> Path:
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    return path


async def fill_all(house: House, key: str) -> dict[str, str]:
    """Each route that keeps content: those of an erasure's tests, gold sets, pre-warmed prompts."""
    ids = await fill(house, "ann", key)
    gold = f'{{"prompt": "Who is {GOLD}?", "expected": "Nobody"}}'
    told = await house.http.put("/admin/routing/acme/gold/extraction", content=gold, headers=ADMIN)
    assert told.status_code < 300, told.text
    warm = {"name": "desk", "model": MODEL, "system": f"You are {WARM}."}
    told = await house.http.put(
        "/admin/tenants/acme", json={"caching": {"prewarm": [warm]}}, headers=ADMIN
    )
    assert told.status_code < 300, told.text
    return ids


@pytest.mark.parametrize("on", [True, False], ids=["encrypted", "plain"])
async def test_nothing_of_the_content_stands_in_plain_anywhere(
    tmp_path: Path, key_file: Path, on: bool
) -> None:
    data = tmp_path / "data"
    given: dict[str, Any] = {"encryption_key_file": key_file} if on else {}
    async with House.open(data, claude=echo, pace=QUICK, **given) as house:
        key = await house.key("acme")
        await fill_all(house, key)
        await house.parts.journal.flush()
        await house.parts.ledger.flush()
        await house.parts.entries.save()
        redis = await store_of(data)
        try:
            expected = set() if on else WHOLE
            for _ in range(2):
                whole, files = await in_store(redis), in_files(data)
                assert found(whole, "ann") == expected == found(files, "ann")
                for mark in (GOLD, WARM):
                    assert (mark.encode() in whole) is (mark.encode() in files) is not on
                await command(redis, "BGSAVE")
                assert await house.parts.eraser._rewrite() == "rewritten"
        finally:
            await redis.aclose()
