"""The contract of `Sealer` and of the keys behind it, on every engine at hand."""

from __future__ import annotations

import base64
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.encryption import master_key
from cacheserver.encryption.data_key_cipher import OVERHEAD_BYTES
from cacheserver.encryption.data_keys import DataKeys, Generation, WrongKey
from cacheserver.encryption.master_key import MasterKey, MasterKeys
from cacheserver.encryption.sealer import TenantSealer
from cacheserver.storage.connection import Connection, command
from cacheserver.storage.sealer import MARK, STORE, PlainSealer, Unsealed

ONE, OTHER = MasterKey(b"1" * 32), MasterKey(b"2" * 32)


async def sealer(
    redis: Connection, prefix: str, masters: MasterKeys, told: Counter[str] | None = None
) -> TenantSealer:
    counts = Counter[str]() if told is None else told
    made = TenantSealer(
        DataKeys(redis, prefix=prefix, masters=masters),
        unreadable=lambda reason: counts.update([reason]),
    )
    await made.start()
    return made


def known(*tenants: str) -> TenantSealer:
    """A sealer with keys of these tenants in memory, and no store."""
    made = TenantSealer(DataKeys.__new__(DataKeys))
    for tenant in tenants:
        made.learn(tenant, [Generation(os.urandom(8), os.urandom(32), os.urandom(32))])
    return made


KNOWN = known("acme", "acme:1", "b", "")
names = st.sampled_from(["acme", "acme:1", "b", ""])
words = st.text(alphabet="ab:1", max_size=6)
kinds = st.sampled_from(["answers", "answer", "turns"])


@given(kinds, names, words, st.binary(max_size=200))
def test_what_was_sealed_opens_and_shows_nothing(
    kind: str, tenant: str, name: str, plain: bytes
) -> None:
    value = KNOWN.seal(kind, tenant, name, plain)
    assert KNOWN.open(kind, tenant, name, value) == plain == KNOWN.open(kind, None, name, value)
    assert len(value) == len(plain) + OVERHEAD_BYTES
    assert KNOWN.seal(kind, tenant, name, plain) != value
    assert len(plain) < 6 or plain not in value


@given(kinds, names, words, kinds, names, words)
def test_a_value_opens_where_it_was_sealed_for_and_nowhere_else(
    kind: str, tenant: str, name: str, kind2: str, tenant2: str, name2: str
) -> None:
    assume((kind, tenant, name) != (kind2, tenant2, name2))
    value = KNOWN.seal(kind, tenant, name, b"secret")
    with pytest.raises(Unsealed) as refused:
        KNOWN.open(kind2, tenant2, name2, value)
    assert refused.value.reason == "changed"


@given(st.binary(max_size=60), st.data())
def test_no_changed_byte_and_no_cut_goes_unseen(plain: bytes, data: st.DataObject) -> None:
    value = bytearray(KNOWN.seal("answers", "b", "n", plain))
    at = data.draw(st.integers(len(MARK), len(value) - 1))
    cut = bytes(value[:at])
    value[at] ^= data.draw(st.integers(1, 255))
    for wrong in (bytes(value), cut):
        with pytest.raises(Unsealed):
            KNOWN.open("answers", "b", "n", wrong)


@given(st.text() | st.binary().filter(lambda value: not value.startswith(MARK)))
def test_a_plain_value_and_any_text_is_read_as_it_is(value: str | bytes) -> None:
    plain = value.encode() if isinstance(value, str) else value
    assert KNOWN.open("answers", "b", "n", plain) == plain


def test_without_keys_what_is_written_is_plain_and_what_is_sealed_is_absent() -> None:
    told = Counter[str]()
    off = PlainSealer(unreadable=lambda reason: told.update([reason]))
    assert off.seal("answers", "b", "n", b"plain") == b"plain"
    value = KNOWN.seal("answers", "b", "n", b"secret")
    assert off.opened("answers", "b", "n", value) is None
    assert off.opened("answers", "b", "n", None) is None
    assert told == {"off": 1}


async def test_a_second_server_reads_what_the_first_one_wrote(
    redis: Connection, prefix: str
) -> None:
    one = await sealer(redis, prefix, MasterKeys(ONE))
    two = await sealer(redis, prefix, MasterKeys(ONE))
    await one.ready("acme")
    await two.ready("acme", "late")
    for tenant in (STORE, "acme"):
        assert two.open("turns", tenant, "n", one.seal("turns", tenant, "n", b"x")) == b"x"
        assert one.digest(tenant, b"x") == two.digest(tenant, b"x") != one.digest(tenant, b"y")
    assert one.digest("acme", b"x") != one.digest(STORE, b"x")
    told = Counter[str]()
    one.unreadable = lambda reason: told.update([reason])
    value = two.seal("turns", "late", "n", b"x")
    assert one.opened("turns", "late", "n", value) is None
    assert told == {"key": 1}
    await one.know([None, b"plain", value])
    assert one.opened("turns", "late", "n", value) == b"x"


async def test_a_key_that_nobody_has_is_not_looked_for_at_every_value(
    redis: Connection, prefix: str
) -> None:
    one = await sealer(redis, prefix, MasterKeys(ONE))
    strange, now = KNOWN.seal("turns", "acme", "n", b"x"), 100.0
    one._clock = lambda: now

    async def looks() -> int:
        stats = await command(redis, "INFO", "commandstats")
        before = stats["cmdstat_hgetall"]["calls"]
        await one.know([strange[:5], b"12345" + strange], at=5)
        stats = await command(redis, "INFO", "commandstats")
        return int(stats["cmdstat_hgetall"]["calls"] - before)

    assert [await looks(), await looks()] == [1, 0]
    now += 1
    assert [await looks(), await looks()] == [1, 0]


async def test_nothing_is_sealed_before_the_key_is_kept(redis: Connection, prefix: str) -> None:
    one = await sealer(redis, prefix, MasterKeys(ONE))
    with pytest.raises(StoreError):
        one.seal("turns", "acme", "n", b"x")
    with pytest.raises(StoreError):
        one.digest("acme", b"x")
    await one.ready("acme")
    (row,) = orjson.loads(await command(redis, "HGET", f"{prefix}sealkeys", "acme"))
    (generation,) = (await one.keys.load())["acme"]
    for key in (generation.data, generation.root):
        assert key not in base64.b64decode(row["wrapped"])
        assert key.hex() not in repr(generation)


async def test_another_master_key_is_refused_and_writes_nothing(
    redis: Connection, prefix: str
) -> None:
    one = await sealer(redis, prefix, MasterKeys(ONE))
    await one.ready("acme")
    before = await command(redis, "HGETALL", f"{prefix}sealkeys")
    with pytest.raises(WrongKey):
        await sealer(redis, prefix, MasterKeys(OTHER))
    found = MasterKey(OTHER.key)
    found.__dict__["id"] = ONE.id  # another key that is said to be the right one
    with pytest.raises(WrongKey):
        await sealer(redis, prefix, MasterKeys(found))
    assert await command(redis, "HGETALL", f"{prefix}sealkeys") == before
    # One tenant's keys in another one's place.
    await command(redis, "HSET", f"{prefix}sealkeys", "other", before[b"acme"])
    with pytest.raises(WrongKey):
        await sealer(redis, prefix, MasterKeys(ONE))


async def test_after_a_rotation_all_is_read_and_digests_stay(
    redis: Connection, prefix: str
) -> None:
    one = await sealer(redis, prefix, MasterKeys(ONE))
    await one.ready("acme")
    value, digest = one.seal("turns", "acme", "n", b"x"), one.digest("acme", b"x")
    both = DataKeys(redis, prefix=prefix, masters=MasterKeys(OTHER, old=ONE))
    for tenant in await both.tenants():
        # Cut off here, the old and the new master key read all of it, named both.
        assert (await sealer(redis, prefix, MasterKeys(ONE, old=OTHER))).open(
            "turns", "acme", "n", value
        ) == b"x"
        await both.rotate(tenant)
    new = await sealer(redis, prefix, MasterKeys(OTHER))
    assert new.open("turns", "acme", "n", value) == b"x"
    assert new.digest("acme", b"x") == digest
    later = new.seal("turns", "acme", "n", b"y")
    assert later[len(MARK) :][:8] != value[len(MARK) :][:8]
    with pytest.raises(WrongKey):
        await sealer(redis, prefix, MasterKeys(ONE))
    with pytest.raises(StoreError):  # one that runs stays up, and reads what it knows
        await one.refresh()
    assert one.open("turns", "acme", "n", value) == b"x"


async def test_destroyed_keys_open_nothing_any_more_and_later_ones_do(
    redis: Connection, prefix: str
) -> None:
    one = await sealer(redis, prefix, MasterKeys(ONE))
    two = await sealer(redis, prefix, MasterKeys(ONE))
    await one.ready("acme", "other")
    before, others = one.seal("turns", "acme", "n", b"x"), one.seal("turns", "other", "n", b"x")
    digest = one.digest("acme", b"x")
    for _ in range(2):  # a pass that broke off is made again
        await one.keys.supersede("acme", "erasure-1")
    await one.keys.supersede("nobody", "erasure-1")
    generations = {tenant: len(held) for tenant, held in (await one.keys.load()).items()}
    assert sorted(generations.values()) == [1, 1, 2]
    assert generations["acme"] == 2
    await one.refresh()
    assert one.open("turns", "acme", "n", before) == b"x"  # until the second pass
    between = one.seal("turns", "acme", "n", b"y")
    assert await one.keys.destroy("acme", "erasure-1") == 1
    assert await one.keys.destroy("acme", "erasure-1") == 0
    assert await one.keys.destroy("nobody", "erasure-1") == 0
    for server in (one, two):
        await server.refresh()
        assert server.opened("turns", "acme", "n", before) is None
        assert server.opened("turns", "acme", "n", between) == b"y"
        assert server.opened("turns", "other", "n", others) == b"x"
        assert server.digest("acme", b"x") != digest


async def test_a_store_that_was_emptied_gets_its_keys_back(redis: Connection, prefix: str) -> None:
    servers = [await sealer(redis, prefix, MasterKeys(ONE)) for _ in range(2)]
    for place, one in enumerate(servers):
        await one.ready(f"t{place}")
    await command(redis, "DEL", f"{prefix}sealkeys", f"{prefix}sealgen")
    # Written before anybody has noticed: it is acknowledged like all else.
    values = [one.seal("turns", f"t{place}", "n", b"x") for place, one in enumerate(servers)]
    for one in servers:
        await one.refresh()
    again = await sealer(redis, prefix, MasterKeys(ONE))
    for one in (again, servers[1]):
        assert one.open("turns", "t1", "n", values[1]) == b"x"
    assert servers[0].open("turns", "t0", "n", values[0]) == b"x"
    assert again.open("turns", "t0", "n", values[0]) == b"x"


def kept(path: Path, text: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_a_master_key_is_hex_or_base64_in_a_file_or_printed_by_a_command(tmp_path: Path) -> None:
    key = secrets.token_bytes(32)
    for text in (key.hex().encode(), base64.b64encode(key) + b"\n", key.hex().upper().encode()):
        path = kept(tmp_path / "key", text)
        assert master_key.from_file(path, setting="S").key == key
        assert master_key.from_command(f"cat '{path}'", setting="S").key == key
    assert key.hex() not in repr(MasterKeys(MasterKey(key)))


@pytest.mark.parametrize("text", [b"", b"hunter2", b"ab" * 31, b"ab" * 33, b"\xff" * 32, b"=" * 44])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, text: bytes) -> None:
    path = kept(tmp_path / "key", text)
    reads: list[Callable[[], MasterKey]] = [
        lambda: master_key.from_file(path, setting="S"),
        lambda: master_key.from_command(f"cat {path}", setting="S"),
    ]
    for read in reads:
        with pytest.raises(SettingsError, match=r"`S`: .* is not a key: .*openssl rand") as refused:
            read()
        assert "hunter2" not in str(refused.value)


def test_a_key_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    for mode in (stat.S_IROTH, stat.S_IWOTH):
        path = kept(tmp_path / "key", b"ab" * 32, 0o600 | mode)
        with pytest.raises(SettingsError, match="`S`: everybody may read"):
            master_key.from_file(path, setting="S")
    with pytest.raises(SettingsError, match=r"`S`: .*: No such file"):
        master_key.from_file(tmp_path / "none", setting="S")


@pytest.mark.parametrize(
    ("command_", "said"),
    [
        ("", "not a command"),
        ("'", "not a command"),
        ("/nowhere/x", "No such"),
        ("false", "status 1"),
    ],
)
def test_a_command_that_fails_is_named(command_: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"`S`: .*{said}"):
        master_key.from_command(command_, setting="S")
