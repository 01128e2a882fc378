"""Builds the sealer of the store from the master keys that the settings name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cacheserver.config.settings import Settings
from cacheserver.config.sources import variable
from cacheserver.core.errors import SettingsError
from cacheserver.encryption import data_keys, master_key
from cacheserver.encryption.data_keys import DataKeys
from cacheserver.encryption.master_key import MasterKey, MasterKeys
from cacheserver.storage.build import SealerBuilder
from cacheserver.storage.connection import Connection
from cacheserver.storage.sealer import PlainSealer, Sealer


def build(settings: Settings, unreadable: Callable[[str], object]) -> SealerBuilder:
    """Return the function that `storage` calls with its connection, before anything is read.

    It raises `SettingsError` if the master keys do not fit the store, `StoreError`. `unreadable`
    is called with the reason when a value cannot be opened.
    """
    prefix = settings.redis_prefix

    async def build_sealer(redis: Connection) -> Sealer:
        masters = await asyncio.to_thread(read_master_keys, settings)  # may run a command
        if masters is None:
            if not settings.encryption_give_up:
                await data_keys.refuse_sealed(redis, prefix=prefix)
            return PlainSealer(unreadable)
        from cacheserver.encryption.sealer import TenantSealer

        keys = DataKeys(redis, prefix=prefix, masters=masters)
        sealer = TenantSealer(keys, unreadable=unreadable)
        await sealer.start()
        return sealer

    return build_sealer


def read_master_keys(settings: Settings) -> MasterKeys | None:
    """Read the master keys from their files or commands. None if nothing is to be encrypted.

    Blocks while a command runs. Raises `SettingsError` if a key cannot be read.
    """

    def read(name: str) -> MasterKey | None:
        file, command = (getattr(settings, f"{name}_{source}") for source in ("file", "command"))
        if file is not None:
            return master_key.from_file(file, setting=variable(f"{name}_file"))
        if command is not None:
            return master_key.from_command(command, setting=variable(f"{name}_command"))
        return None

    current = read("encryption_key")
    if current is None:
        return None
    old = read("encryption_old_key")
    if old is not None and old.id == current.id:
        raise SettingsError(
            f"`{variable('encryption_old_key_file')}`: it is the same key as the current one; "
            "make a new one for that (`openssl rand -hex 32`)"
        )
    return MasterKeys(current, old)
