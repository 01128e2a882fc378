"""Data keys of tenants, stored in Redis and wrapped by the master key.

    P sealkeys  hash  tenant -> its generations, the latest last; "" -> those of the store itself
    P sealgen   string  a number that changes whenever existing keys are changed

A generation is a data key, which encrypts, and a root, from which the key of digests is derived.
New values are encrypted with the latest. Older generations are kept for existing values and
backups, until the tenant's keys are destroyed. Every method raises `StoreError`.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.encryption.master_key import KEY_BYTES, MasterKeys, WrongMaster
from cacheserver.storage.connection import PREFIX, Connection, command, run_script

KEYS: Final = ("sealkeys", "sealgen")  # not in a backup: destroyed keys must not survive in one
ID_BYTES: Final = 8

# ARGV: P, tenant, expected row, new row. Returns 1 if the row was as expected.
_REPLACE = """
local keys = ARGV[1] .. 'sealkeys'
if redis.call('HGET', keys, ARGV[2]) ~= ARGV[3] then return 0 end
redis.call('HSET', keys, ARGV[2], ARGV[4])
redis.call('INCR', ARGV[1] .. 'sealgen')
return 1
"""


@dataclass(frozen=True, slots=True)
class Generation:
    """Data key and root of one generation. `mark` is the erasure that caused it."""

    id: bytes
    data: bytes = field(repr=False)
    root: bytes = field(repr=False)
    mark: str = ""


class WrongKey(SettingsError):
    """Raised when the configured master keys do not unwrap all keys of a tenant."""

    def __init__(self) -> None:
        super().__init__(
            "`CACHESERVER_ENCRYPTION_KEY_FILE`, `..._COMMAND`: the store is encrypted under "
            "another master key; name that one, as `CACHESERVER_ENCRYPTION_OLD_KEY_FILE` where "
            "keys are being rotated"
        )


class DataKeys:
    """Store of the generations of keys."""

    def __init__(self, redis: Connection, *, prefix: str = PREFIX, masters: MasterKeys) -> None:
        self.masters = masters
        self._redis = redis
        self._prefix = prefix
        self._keys = f"{prefix}sealkeys"
        self._replace = redis.register_script(_REPLACE)

    async def changes(self) -> int | None:
        """Return a number that changes once existing keys are changed or lost."""
        found = await command(self._redis, "GET", f"{self._prefix}sealgen")
        return None if found is None else int(found)

    async def load(self) -> dict[str, list[Generation]]:
        """Return the generations of every tenant. Raises `WrongKey` if a master key is missing."""
        found = await command(self._redis, "HGETALL", self._keys)
        return {tenant.decode(): self._read(tenant.decode(), row) for tenant, row in found.items()}

    async def rows(self) -> dict[str, bytes]:
        """Return the wrapped rows of every tenant. Raises `WrongKey` as `load` does."""
        found = await command(self._redis, "HGETALL", self._keys)
        rows = {tenant.decode(): row for tenant, row in found.items()}
        for tenant, row in rows.items():
            self._read(tenant, row)
        return rows

    async def make(self, tenant: str) -> list[Generation]:
        """Return a tenant's generations; the first one is created if there is none."""
        # A random start: a store that was emptied and has new keys is not mistaken for the old one.
        await command(self._redis, "SETNX", f"{self._prefix}sealgen", secrets.randbits(48))
        made = self._written(tenant, [_new()])
        await command(self._redis, "HSETNX", self._keys, tenant, made)
        row = await command(self._redis, "HGET", self._keys, tenant)
        if row is None:
            raise StoreError("a tenant's key was lost right after it was created")
        return self._read(tenant, row)

    async def put_back(self, held: Mapping[str, Sequence[Generation]]) -> None:
        """Store these keys again for tenants that have none, after the store lost them."""
        for tenant, generations in held.items():
            await command(
                self._redis, "HSETNX", self._keys, tenant, self._written(tenant, generations)
            )
        await command(self._redis, "SETNX", f"{self._prefix}sealgen", secrets.randbits(48))

    async def rotate(self, tenant: str) -> None:
        """Wrap a tenant's keys with the current master key, and add a data key for new writes."""
        await self._change(tenant, lambda held: [*held, replace(_new(), root=held[-1].root)])

    async def supersede(self, tenant: str, mark: str) -> None:
        """Add a generation with a new root, so the existing ones can go. Once for each mark."""

        def change(held: list[Generation]) -> list[Generation]:
            if any(one.mark == mark for one in held):
                return held
            return [*held, replace(_new(), mark=mark)]

        await self._change(tenant, change)

    async def destroy(self, tenant: str, mark: str) -> int:
        """Destroy the keys from before `supersede` with that mark; returns how many."""
        gone = 0

        def change(held: list[Generation]) -> list[Generation]:
            nonlocal gone
            gone = next((at for at, one in enumerate(held) if one.mark == mark), 0)
            return held[gone:]

        await self._change(tenant, change)
        return gone

    async def tenants(self) -> list[str]:
        """Return the owners of keys, the store itself first."""
        return sorted(one.decode() for one in await command(self._redis, "HKEYS", self._keys))

    async def _change(
        self, tenant: str, change: Callable[[list[Generation]], list[Generation]]
    ) -> None:
        while True:  # repeated if another server changed the row meanwhile
            row = await command(self._redis, "HGET", self._keys, tenant)
            if row is None:
                return
            held = self._read(tenant, row)
            changed = change(held)
            if changed == held:
                return
            made = self._written(tenant, changed)
            if await run_script(self._replace, self._prefix, tenant, row, made):
                return

    def _written(self, tenant: str, held: Sequence[Generation]) -> bytes:
        master = self.masters.current
        rows = [
            {
                "id": one.id.hex(),
                "master": master.id,
                "wrapped": base64.b64encode(
                    master.wrap(_about(tenant, one.id), one.data + one.root)
                ).decode(),
                "mark": one.mark,
            }
            for one in held
        ]
        return orjson.dumps(rows)

    def _read(self, tenant: str, row: bytes) -> list[Generation]:
        return unwrap_row(tenant, row, self.masters)


def unwrap_row(tenant: str, row: bytes, masters: MasterKeys) -> list[Generation]:
    """Unwrap the generations of a row. Raises `WrongKey`, or `StoreError` for a damaged row."""
    try:
        return [_generation(tenant, one, masters) for one in orjson.loads(row)]
    except WrongMaster:
        raise WrongKey from None
    except (ValueError, KeyError, TypeError):
        raise StoreError("a tenant's keys cannot be read") from None


def _generation(tenant: str, row: dict[str, Any], masters: MasterKeys) -> Generation:
    id, master = bytes.fromhex(row["id"]), masters.by_id(row["master"])
    if master is None:
        raise WrongMaster
    both = master.unwrap(_about(tenant, id), base64.b64decode(row["wrapped"]))
    return Generation(id, both[:KEY_BYTES], both[KEY_BYTES:], row["mark"])


async def restore(redis: Connection, rows: Mapping[str, bytes], *, prefix: str = PREFIX) -> None:
    """Restore wrapped rows, replacing existing ones. Raises `StoreError`."""
    for tenant, row in rows.items():
        await command(redis, "HSET", f"{prefix}sealkeys", tenant, row)
    if rows:
        await command(redis, "SET", f"{prefix}sealgen", secrets.randbits(48))


async def refuse_sealed(redis: Connection, *, prefix: str = PREFIX) -> None:
    """Raise `SettingsError` if the store has keys: without a master key they are useless."""
    if await command(redis, "EXISTS", f"{prefix}sealkeys"):
        raise SettingsError(
            "`CACHESERVER_ENCRYPTION_KEY_FILE`: the store is encrypted; name the file with its "
            "master key, or the command (`CACHESERVER_ENCRYPTION_KEY_COMMAND`), or give up the "
            "encrypted data (`CACHESERVER_ENCRYPTION_GIVE_UP=true`)"
        )


def _new() -> Generation:
    return Generation(
        secrets.token_bytes(ID_BYTES),
        secrets.token_bytes(KEY_BYTES),
        secrets.token_bytes(KEY_BYTES),
    )


def _about(tenant: str, id: bytes) -> str:
    return f"data key {id.hex()} of {tenant}"
