"""The contract of `AnswerVectors`, on every engine at hand."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from cacheserver.cache.store.codec import unpack_answer
from cacheserver.cache.store.entries import Entries
from cacheserver.calibration.answers.vectors import AnswerVectors, Vectors
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Entry
from cacheserver.encryption.data_keys import DataKeys
from cacheserver.encryption.master_key import MasterKey, MasterKeys
from cacheserver.encryption.sealer import TenantSealer
from cacheserver.storage.connection import Connection, command, connect
from tests.cache.entries import HALF, entry

DIM = 4


def rows(count: int = 1) -> Vectors:
    return (np.arange(1, count * DIM + 1) / 8).reshape(count, DIM).astype(np.float32)


@pytest.fixture
def store(redis: Connection, prefix: str) -> Entries:
    return Entries(redis, prefix=prefix)


@pytest.fixture
def kept(redis: Connection, prefix: str) -> AnswerVectors:
    return AnswerVectors(redis, made_by="model/5x60", dim=DIM, prefix=prefix)


async def stored(store: Entries, one: Entry) -> Entry:
    assert await store.put(one, keep_s=0, vector=HALF, asked_at=time.time())
    return one


@pytest.mark.parametrize("count", [1, 3])
async def test_vectors_come_back_as_they_were_put(
    store: Entries, kept: AnswerVectors, count: int
) -> None:
    one, other = await stored(store, entry()), await stored(store, entry("f2"))
    assert await kept.put(one, rows(count))
    assert await kept.get([]) == []
    found, none = await kept.get([one, other])
    assert none is None
    assert found is not None
    assert found.tolist() == rows(count).tolist()


async def test_they_live_as_long_as_their_entry(
    store: Entries, kept: AnswerVectors, redis: Connection, prefix: str
) -> None:
    one = await stored(store, entry(expires_at=time.time() + 100))
    assert await kept.put(one, rows())
    assert 90_000 < await command(redis, "PTTL", f"{prefix}a:f1") <= 100_000


async def test_they_go_with_their_entry_whichever_way_it_goes(
    store: Entries, kept: AnswerVectors, redis: Connection, prefix: str
) -> None:
    purged, replaced = await stored(store, entry()), await stored(store, entry("f2"))
    for one in (purged, replaced):
        assert await kept.put(one, rows())
    await store.purge_id("acme", purged.id)
    await stored(store, entry("f2"))
    assert await command(redis, "EXISTS", f"{prefix}a:f1", f"{prefix}a:f2") == 0
    assert await kept.get([purged, replaced]) == [None, None]
    for gone in (purged, replaced):
        assert not await kept.put(gone, rows())
    assert await command(redis, "EXISTS", f"{prefix}a:f1", f"{prefix}a:f2") == 0


async def test_a_replaced_entrys_end_leaves_the_newer_ones_vectors(
    store: Entries, kept: AnswerVectors
) -> None:
    old, new = await stored(store, entry()), await stored(store, entry())
    assert await kept.put(new, rows())
    assert await store.purge_id("acme", old.id) == 0
    assert await kept.get([old]) == [None]
    (found,) = await kept.get([new])
    assert found is not None


async def test_what_another_embedder_made_is_absent(
    store: Entries, kept: AnswerVectors, redis: Connection, prefix: str
) -> None:
    one = await stored(store, entry())
    other = AnswerVectors(redis, made_by="another/5x60", dim=DIM, prefix=prefix)
    assert await other.put(one, rows())
    assert await kept.get([one]) == [None]
    wider = AnswerVectors(redis, made_by="another/5x60", dim=DIM + 1, prefix=prefix)
    assert await wider.get([one]) == [None]


@pytest.mark.parametrize("torn", [b"", b"\x01", b"\x02" + b"0" * 40, b"\x01" + b"0" * 36])
async def test_what_cannot_be_read_is_absent(
    store: Entries, kept: AnswerVectors, redis: Connection, prefix: str, torn: bytes
) -> None:
    one = await stored(store, entry())
    await command(redis, "SET", f"{prefix}a:f1", torn)
    assert unpack_answer(torn) is None
    assert await kept.get([one]) == [None]


async def test_a_store_that_is_away_is_a_store_error(tmp_path: Path) -> None:
    away = AnswerVectors(connect(f"unix://{tmp_path}/nobody.sock"), made_by="m", dim=DIM)
    with pytest.raises(StoreError):
        await away.get([entry()])
    with pytest.raises(StoreError):
        await away.put(entry(), rows())


async def test_encrypted_vectors_are_of_one_entry_and_say_nothing(
    redis: Connection, prefix: str
) -> None:
    sealer = TenantSealer(DataKeys(redis, prefix=prefix, masters=MasterKeys(MasterKey(b"m" * 32))))
    await sealer.start()
    store = Entries(redis, prefix=prefix, sealer=sealer)
    kept = AnswerVectors(redis, made_by="m", dim=DIM, prefix=prefix, sealer=sealer)
    one, other = await stored(store, entry()), await stored(store, entry("f2"))
    assert await kept.put(one, rows(2))
    (found,) = await kept.get([one])
    assert found is not None
    assert (found == rows(2)).all()
    value = await command(redis, "GET", f"{prefix}a:f1")
    assert rows(2).astype(np.float16).tobytes() not in value
    assert value[1:33].decode() == one.id  # read in place by scripts
    await command(redis, "SET", f"{prefix}a:f2", value[:1] + other.id.encode() + value[33:])
    assert await kept.get([other]) == [None]
    plain = AnswerVectors(redis, made_by="m", dim=DIM, prefix=prefix)
    assert await plain.get([one]) == [None]
