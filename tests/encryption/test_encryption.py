"""Encryption at rest: nothing that was asked or answered stands in plain anywhere on a disk."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from cacheserver.backup import backup as backups
from cacheserver.backup import key_copy, restore
from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.encryption import master_key
from cacheserver.encryption.data_keys import DataKeys
from cacheserver.encryption.master_key import MasterKeys
from cacheserver.encryption.sealer import TenantSealer
from cacheserver.erasure.key_kinds import REGISTRY
from cacheserver.erasure.store_file import rewrite_file
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.key_scan import scan_keys
from cacheserver.storage.sealer import MARK
from tests.batches.house import QUICK, BatchHouse
from tests.erasure.helpers import (
    ADMIN,
    PIECES,
    PREFIX,
    echo,
    fill,
    found,
    in_files,
    in_store,
    marker,
    store_of,
)
from tests.house import MODEL, House, came_from

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
    told = await house.http.put(
        "/admin/v1/routing/acme/gold/extraction", content=gold, headers=ADMIN
    )
    assert told.status_code < 300, told.text
    warm = {"name": "desk", "model": MODEL, "system": f"You are {WARM}."}
    told = await house.http.put(
        "/admin/v1/tenants/acme", json={"caching": {"prewarm": [warm]}}, headers=ADMIN
    )
    assert told.status_code < 300, told.text
    await house.parts.conversations.turns.put_summary("acme", "0" * 64, f"About {GOLD}.", keep_s=60)
    return ids


# Kinds of keys whose values are sealed as a whole; an entry's id stands in front.
SEALED = {
    *("answers", "vectors", "answer_vectors", "decisions", "reviews", "turns", "summaries"),
    *("job_results", "gold_sets", "settings"),
}


async def values(redis: Connection) -> dict[str, list[bytes]]:
    """Return what is stored of each of these kinds."""
    found: dict[str, list[bytes]] = {}
    async for words in key_copy.read_keys(redis, PREFIX):
        verb, key, *rest = words
        assert isinstance(key, bytes)
        kind = REGISTRY.find(key[len(PREFIX) :].decode())
        if verb in ("SET", "RPUSH", "HSET") and kind is not None and kind[0].name in SEALED:
            raw = rest[1::2] if verb == "HSET" else rest
            found.setdefault(kind[0].name, []).extend(one for one in raw if isinstance(one, bytes))
    return found


@pytest.mark.parametrize("on", [True, False], ids=["encrypted", "plain"])
async def test_nothing_of_the_content_stands_in_plain_anywhere(
    tmp_path: Path, key_file: Path, on: bool
) -> None:
    data = tmp_path / "data"
    given: dict[str, Any] = {"encryption_key_file": key_file} if on else {}
    async with House.open(data, claude=echo, pace=QUICK, **given) as house:
        key = await house.key("acme")
        await fill_all(house, key)
        await house.parts.decision_log.flush()
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
                stored = await values(redis)
                assert stored.keys() | {"answer_vectors"} == SEALED  # once answers are compared
                for kind, each in stored.items():
                    if kind == "decisions":  # after a copy of their rows
                        each = [value.partition(b"\n")[2] for value in each]
                    assert all((MARK in value[:40]) is on for value in each), kind
                await command(redis, "BGSAVE")
                assert await rewrite_file(redis) == "rewritten"
        finally:
            await redis.aclose()


ASKED, ALIKE = "Where is zqxbreadvbk made?", "where is zqxbreadvbk made"


async def unreadable(house: House) -> dict[str, float]:
    page = (await house.http.get("/metrics", headers=ADMIN)).text
    lines = (line for line in page.splitlines() if line.startswith("cacheserver_unreadable_total{"))
    counts = {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}
    return {reason: count for reason, count in counts.items() if count}


@asynccontextmanager
async def store(house_data: Path) -> AsyncIterator[Connection]:
    redis = await store_of(house_data)
    try:
        yield redis
    finally:
        await redis.aclose()


async def test_what_was_encrypted_is_served_after_a_restart_and_by_similarity(
    tmp_path: Path, key_file: Path
) -> None:
    data = tmp_path / "data"
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        assert came_from(await house.ask(ASKED))[0] == "miss"
        await house.parts.decision_log.flush()
    command_ = f"cat '{key_file}'"  # the same key, from elsewhere
    async with House.open(data, upstream="simulated", encryption_key_command=command_) as house:
        again = await house.ask(ALIKE)
        assert came_from(again)[0] == "semantic"
        assert came_from(await house.ask(ASKED))[0] == "exact"
        told = await house.http.get(f"/v1/decisions/{again.headers['x-cache-decision']}")
        assert told.status_code == 200
        assert await unreadable(house) == {}


async def test_a_wrong_or_missing_key_is_refused_by_name_and_nothing_is_changed(
    tmp_path: Path, key_file: Path
) -> None:
    data = tmp_path / "data"
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        await house.ask(ASKED)
    other = new_key(tmp_path / "other")
    for wrong, said in (
        (other, r"`CACHESERVER_ENCRYPTION_KEY_FILE`.* another master key"),
        (None, "`CACHESERVER_ENCRYPTION_KEY_FILE`: the store is encrypted"),
    ):
        before = in_files(data / "store" / "appendonlydir")
        with pytest.raises(SettingsError, match=said):
            async with House.open(data, upstream="simulated", encryption_key_file=wrong):
                pass
        assert in_files(data / "store" / "appendonlydir") == before
    async with House.open(data, upstream="simulated", encryption_give_up=True) as house:
        assert came_from(await house.ask(ASKED))[0] == "miss"
        assert set(await unreadable(house)) == {"off"}
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        assert came_from(await house.ask(ASKED))[0] == "exact"  # as it was stored in plain


async def test_the_old_master_key_is_another_one(tmp_path: Path, key_file: Path) -> None:
    with pytest.raises(SettingsError, match=r"CACHESERVER_ENCRYPTION_OLD_KEY_FILE.*the same key"):
        async with House.open(
            tmp_path / "data",
            upstream="simulated",
            encryption_key_file=key_file,
            encryption_old_key_file=key_file,
        ):
            raise AssertionError("it started")


async def test_a_store_from_before_is_read_and_what_is_new_is_encrypted(
    tmp_path: Path, key_file: Path
) -> None:
    data = tmp_path / "data"
    async with House.open(data, upstream="simulated") as house:
        await house.ask(ASKED)
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        assert came_from(await house.ask(ASKED))[0] == "exact"
        assert came_from(await house.ask(ALIKE))[0] == "semantic"
        await house.ask(f"What is {marker('ann', 'message')}?")
        assert found(in_files(data), "ann") == set()
        assert ASKED.encode() in in_files(data)


async def test_values_that_change_places_are_misses_and_counted(
    tmp_path: Path, key_file: Path
) -> None:
    data = tmp_path / "data"
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        one, two = await house.key("acme"), await house.key("other")
        for key in (one, two):
            assert came_from(await house.ask(ASKED, key=key))[0] == "miss"
        async with store(data) as redis:
            names = [name async for page in scan_keys(redis, f"{PREFIX}e:") for name in page]
            assert len(names) == 2
            values = await command(redis, "MGET", *names)
            assert all(value[33:].startswith(MARK) for value in values)
            await command(redis, "MSET", names[0], values[1], names[1], values[0])
            for key in (one, two):
                assert came_from(await house.ask(ASKED, key=key))[0] == "miss"
            assert (await unreadable(house))["changed"] >= 2
            # A vector in an answer's place, and an answer under another id.
            (name, _) = await anext(scan_keys(redis, f"{PREFIX}v:"))
            vector, answer = await command(redis, "MGET", name, name.replace(b"v:", b"e:"))
            for wrong in (vector, answer[:1] + b"0" * 32 + answer[33:], answer[:-1]):
                await command(redis, "SET", name.replace(b"v:", b"e:"), wrong, "XX", "KEEPTTL")
                assert "miss" in {
                    came_from(await house.ask(ASKED, key=key))[0] for key in (one, two)
                }


async def run(words: Sequence[str | Path]) -> str:
    """Return what a command says."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe)
    out, said = await child.communicate()
    assert child.returncode == 0, said
    return (out + said).decode()


def cli(data: Path, *words: str | Path, **variables: str | Path) -> list[str | Path]:
    given = {"data_dir": data, **variables}
    assigned = [f"CACHESERVER_{name.upper()}={value}" for name, value in given.items()]
    return ["env", *assigned, sys.executable, "-m", "cacheserver.cli", *words]


async def test_a_rotation_that_is_killed_leaves_all_readable_and_goes_on(
    tmp_path: Path, key_file: Path
) -> None:
    data, new = tmp_path / "data", new_key(tmp_path / "new")
    masters = MasterKeys(*(master_key.from_file(path, setting="") for path in (new, key_file)))
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        await house.ask(ASKED)
        async with store(data) as redis:
            old = DataKeys(redis, prefix=PREFIX, masters=MasterKeys(masters.old or masters.current))
            for place in range(400):
                await old.make(f"t{place}")
            named = {"encryption_key_file": new, "encryption_old_key_file": key_file}
            rotate = cli(data, "encryption", "rotate", **named)
            begun = await old.changes()
            child = await asyncio.create_subprocess_exec(*rotate, stderr=asyncio.subprocess.PIPE)
            async with asyncio.timeout(60):
                while await old.changes() == begun:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            child.kill()
            await child.communicate()
            for half in (
                masters,
                MasterKeys(master_key.from_file(key_file, setting=""), masters.current),
            ):
                await TenantSealer(DataKeys(redis, prefix=PREFIX, masters=half)).start()
            ids = {row["master"] for row in await rows(redis)}
            assert ids == {master.id for master in (masters.current, masters.old) if master}
            assert came_from(await house.ask(ASKED))[0] == "exact"  # who runs goes on
        assert "402 keys are wrapped by the current master key" in await run(rotate)
    async with House.open(data, upstream="simulated", encryption_key_file=new) as house:
        assert came_from(await house.ask(ASKED))[0] == "exact"
        async with store(data) as redis:
            assert {row["master"] for row in await rows(redis)} == {masters.current.id}
    with pytest.raises(SettingsError):
        async with House.open(data, upstream="simulated", encryption_key_file=key_file):
            pass


async def rows(redis: Connection) -> list[dict[str, Any]]:
    found = await command(redis, "HGETALL", f"{PREFIX}sealkeys")
    return [row for each in found.values() for row in orjson.loads(each)]


async def test_an_erased_tenants_keys_are_destroyed_and_its_backups_say_nothing(
    tmp_path: Path, key_file: Path
) -> None:
    data = tmp_path / "data"
    chosen = Settings(data_dir=data, encryption_key_file=key_file)
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        gone, kept = await house.key("gone"), await house.key("kept")
        for key in (gone, kept):
            await house.ask(ASKED, key=key)
        await house.parts.decision_log.flush()
        backup = tmp_path / "backup"
        await backups.save(chosen, backup)
        assert await holds(backup, backup.with_name("backup.keys")) == {b""}
        erased = await house.http.post(
            "/v1/erase", json={"tenant": "gone"}, headers={"x-api-key": gone}
        )
        assert erased.json()["keys"] == "destroyed with the last pass"
        assert came_from(await house.ask(ASKED, key=gone))[0] == "miss"
        house.clock.ahead_s = erased.json()["again_at"] - house.clock() + 1
        assert await house.parts.eraser.look() == 1
        house.clock.ahead_s = 0
        assert came_from(await house.ask(ASKED, key=gone))[0] == "exact"  # stored since
        written = cli(data, "encryption", "keys", tmp_path / "later", encryption_key_file=key_file)
        assert "3 keys" in await run(written)
    again = Settings(data_dir=tmp_path / "again", encryption_key_file=key_file)
    await restore.load(again, backup, replace=False, keys=tmp_path / "later")
    async with House.open(
        again.data_dir, upstream="simulated", encryption_key_file=key_file
    ) as house:
        assert came_from(await house.ask(ASKED, key=kept))[0] == "exact"
        assert came_from(await house.ask(ASKED, key=gone))[0] == "miss"
        assert "key" in await unreadable(house)


async def holds(*paths: Path) -> set[bytes]:
    """Which of what was asked stands in these files."""
    whole = b"".join(path.read_bytes() for path in paths)
    return {text for text in (b"", ASKED.encode(), b"zqxbread", b"acme") if text in whole}


async def test_a_backup_is_encrypted_and_restored_with_its_key_and_no_other(
    tmp_path: Path, key_file: Path
) -> None:
    data = tmp_path / "data"
    chosen = Settings(data_dir=data, encryption_key_file=key_file)
    backup = tmp_path / "backup"
    async with House.open(data, upstream="simulated", encryption_key_file=key_file) as house:
        key = await house.key("acme")
        for n in range(50):
            await house.ask(f"{ASKED} {n} {secrets.token_hex(20_000)}", key=key)
        await house.ask(ASKED, key=key)
        with pytest.raises(SettingsError, match="the store is encrypted"):
            await backups.save(Settings(data_dir=data), backup)
        assert not backup.exists()
        await backups.save(chosen, backup)
    assert await holds(backup) == {b""}
    empty = tmp_path / "empty"
    for wrong, match in (
        (None, r"CACHESERVER_ENCRYPTION_KEY_FILE.* is encrypted; name the master key"),
        (new_key(tmp_path / "x"), "is encrypted under another master key"),
    ):
        settings = Settings(data_dir=empty, encryption_key_file=wrong)
        with pytest.raises(SettingsError, match=match):
            await restore.load(settings, backup, replace=False)
    whole = backup.read_bytes()
    for cut in (whole[:-1], whole[: -len(whole) // 3], whole[:-3] + b"xyz"):
        backup.write_bytes(cut)
        with pytest.raises(SettingsError, match="damaged or was cut"):
            await restore.load(
                Settings(data_dir=empty, encryption_key_file=key_file),
                backup,
                replace=False,
            )
    backup.write_bytes(whole)
    assert not (empty / "store").exists()
    there = Settings(data_dir=empty, encryption_key_file=key_file)
    backup.with_name("backup.keys").rename(tmp_path / "keys")
    with pytest.raises(SettingsError, match="--keys"):
        await restore.load(there, backup, replace=False)
    await restore.load(there, backup, replace=False, keys=tmp_path / "keys")
    async with House.open(empty, upstream="simulated", encryption_key_file=key_file) as house:
        assert came_from(await house.ask(ASKED, key=key))[0] == "exact"


# What an erasure has to open to know whether it is covered, and what goes unread.
OPENED = ("answers", "decisions", "jobs", "reviews", "turns")
SELECTORS: tuple[dict[str, str], ...] = (
    {"entry_id": "?"},
    {"conversation": "talk-ann", "namespace": "space-ann"},
    {"actor": "ann@example.com"},
    {"tag": "tag/ann"},
    {"tenant": "acme"},
)


async def test_an_erasure_removes_of_what_is_encrypted_what_it_removes_of_what_is_plain(
    tmp_path: Path, key_file: Path
) -> None:
    removed: list[list[Any]] = []
    for place, key_of in enumerate((None, key_file)):
        data = tmp_path / str(place)
        async with House.open(data, claude=echo, pace=QUICK, encryption_key_file=key_of) as house:
            key = await house.key("acme")
            told: list[Any] = []
            for selector in SELECTORS:
                ids = await fill(house, "ann", key)
                await house.parts.decision_log.flush()
                await house.parts.ledger.flush()
                chosen = {
                    **selector,
                    **({"entry_id": ids["entry"]} if "entry_id" in selector else {}),
                }
                for _ in range(2):
                    reply = await house.http.post(
                        "/v1/erase", json=chosen, headers={"x-api-key": key}
                    )
                    gone = reply.json()["removed"]
                    # Lists go with their last member, and vectors with another pass's, uncounted.
                    told.append({kind: gone.get(kind) for kind in OPENED})
                assert set(told[-1].values()) == {None}
            removed.append(told)
            assert await unreadable(house) == {}
    assert removed[0] == removed[1]
    assert None not in removed[0][-2].values()


@pytest.mark.parametrize("on", [True, False], ids=["encrypted", "plain"])
async def test_work_under_way_is_encrypted_too_and_ends(
    tmp_path: Path, key_file: Path, on: bool
) -> None:
    data = tmp_path / "data"
    secrets_of = {piece: marker("ann", piece) for piece in ("batch", "job", "check", "header")}
    headers = {"anthropic-beta": secrets_of["header"]}
    given: dict[str, Any] = {"encryption_key_file": key_file} if on else {}
    async with BatchHouse.start(data, batch_s=60, claude=echo, **given) as house:
        check = {"lacks": [secrets_of["check"]]}
        asked = {"prompt": f"Say {secrets_of['job']}.", "when": "batch", "deadline": 7_200}
        made = await house.http.post("/v1/query", json={**asked, "check": check}, headers=headers)
        assert made.status_code == 202, made.text
        messages = [{"role": "user", "content": f"Say {secrets_of['batch']}."}]
        params = {"model": MODEL, "max_tokens": 100, "messages": messages}
        batch = await house.http.post(
            "/v1/messages/batches",
            json={"requests": [{"custom_id": "one", "params": params}]},
            headers=headers,
        )
        assert batch.status_code == 200, batch.text
        async with asyncio.timeout(20):
            while not house.sent:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with store(data) as redis:
            whole = await in_store(redis)
            names = [key[len(PREFIX) :] async for page in scan_keys(redis, PREFIX) for key in page]
            for kind in (b"bt:in:", b"bt:ask:", b"bt:job:", b"bt:ship:", b"bt:pools"):
                assert any(name.startswith(kind) for name in names), kind
            shown = {piece for piece, text in secrets_of.items() if text.encode() in whole}
            assert shown == (set() if on else set(secrets_of))
        house.clock.ahead_s = 61
        assert (await house.ended(batch.json()["id"]))["counts"]["succeeded"] == 1


async def test_keys_are_kept_until_the_last_batch_of_an_erased_tenant_is_booked(
    tmp_path: Path, key_file: Path
) -> None:
    data = tmp_path / "data"
    async with BatchHouse.start(
        data, batch_s=5_000, claude=echo, encryption_key_file=key_file
    ) as house:
        key = await house.key("acme")
        headers = {"x-api-key": key}
        params = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi."}]}
        made = await house.http.post(
            "/v1/messages/batches",
            json={"requests": [{"custom_id": "one", "params": params}]},
            headers=headers,
        )
        async with asyncio.timeout(20):
            while not house.sent:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        erased = await house.http.post("/v1/erase", json={"tenant": "acme"}, headers=headers)

        async def generations() -> int:
            async with store(data) as redis:
                row = await command(redis, "HGET", f"{PREFIX}sealkeys", "acme")
                return len(orjson.loads(row))

        house.clock.ahead_s = erased.json()["again_at"] - house.clock() + 1
        assert await house.parts.eraser.look() == 1
        assert await generations() == 2
        house.clock.ahead_s = 5_100
        await house.ended(made.json()["id"], key=key)
        await house.parts.ledger.flush()
        used = (await house.http.get("/v1/usage", headers=headers)).json()["totals"]
        assert used["requests"] == 1
        assert float(used["cost_usd"]) > 0
        house.clock.ahead_s = 10_000
        assert await house.parts.eraser.look() == 1
        assert await generations() == 1
        assert await house.parts.eraser.look() == 0
