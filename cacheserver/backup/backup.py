"""Backup of the whole store and the ledger's files in one file, while the server runs or not.

The backup of an encrypted store is encrypted, and the tenants' keys are in a separate file,
FILE.keys, so that keys can be destroyed there too. Not in a backup: the index's snapshot (rebuilt
from the store), the models, the settings, the master key and the admin key's file.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cacheserver.backup import backup_file, key_copy
from cacheserver.backup.backup_file import Writer
from cacheserver.config import settings as config
from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal.progress import Progress
from cacheserver.embedded import snapshot
from cacheserver.embedded import store as embedded
from cacheserver.encryption import data_keys, key_file
from cacheserver.encryption.build import read_master_keys
from cacheserver.ledger.fold import LedgerFold, recorded_key
from cacheserver.storage import connection
from cacheserver.storage.connection import SCHEMA, Connection

FOLDERS: Final = ("ledger",)  # of the data directory, that a backup holds
_PART: Final = 1 << 20  # of a file, in one record


@dataclass(frozen=True, slots=True)
class Saved:
    """Contents of a backup."""

    keys: int  # of the store
    files: int  # of the ledger
    keys_file: Path | None  # the tenants' keys, without which an encrypted one cannot be read


async def save(settings: Settings, path: Path, *, progress: Progress | None = None) -> Saved:
    """Write a backup to `path`. Raises `SettingsError`, `StoreError`."""
    prefix, masters = settings.redis_prefix, read_master_keys(settings)
    meta = {
        "schema": SCHEMA,
        "prefix": prefix,
        "made_at": round(time.time(), 3),
        # Of a Redis of the operator's, keys are read one after the other while it goes on.
        "one_moment": settings.redis_url is None,
    }
    keys, progress = 0, progress or Progress(on=False)
    try:
        with backup_file.writing(path, meta, masters=masters) as writer:
            async with _source(settings, path.parent) as redis:
                if masters is None:
                    await data_keys.refuse_sealed(redis, prefix=prefix)
                    held = None
                else:
                    held = data_keys.DataKeys(redis, prefix=prefix, masters=masters)
                    await held.load()  # wrong ones are refused at once
                apart = {f"{prefix}{name}".encode() for name in data_keys.KEYS}
                if not meta["one_moment"]:
                    # Rows that wait for a fold would be in the sums of the backup and wait in it,
                    # or in neither place. Those that come from now on are not in the backup.
                    await LedgerFold(redis, prefix=prefix).run()
                    apart.add(recorded_key(prefix).encode())
                whole = None  # of a Redis of the operator's, which may forbid us to count all keys
                if meta["one_moment"]:
                    whole = int(await connection.command(redis, "DBSIZE"))
                async for words in key_copy.read_keys(redis, prefix):
                    if words[1] not in apart:
                        keys += words[0] == "DEL"
                        writer.add(*words)
                        progress.count("saving", "keys", keys, whole)
                progress.count("saving", "keys", keys, keys)
                if held is not None:  # last: no value that was read is under a later one
                    key_file.write(key_file.beside(path), await held.rows())
            # After the store: rows that leave it for a file meanwhile are in both, never in none.
            files, names = 0, _files(settings)
            for count, one in enumerate(names, 1):
                files += await _add_file(writer, settings.data_dir, one)
                progress.count("saving", "files", count, len(names))
            await asyncio.sleep(0)  # Ctrl-C is heard a last time before the file has its name
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    return Saved(keys, files, None if masters is None else key_file.beside(path))


@asynccontextmanager
async def _source(settings: Settings, folder: Path) -> AsyncIterator[Connection]:
    """Open what to read: of the embedded store a copy as of this moment, else the store itself."""
    async with AsyncExitStack() as stack:
        if settings.redis_url is not None:
            url = settings.redis_url.get_secret_value()
        elif (running := embedded.running_url(settings.data_dir)) is not None:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix=".backup-", dir=folder))
            socket = Path(running.removeprefix("unix://"))
            url = await stack.enter_async_context(snapshot.copy(socket, Path(made)))
        elif (settings.data_dir / "store").exists():
            store = embedded.EmbeddedStore(settings.data_dir)
            url = await stack.enter_async_context(store)
        else:
            raise SettingsError(f"`CACHESERVER_DATA_DIR`: {settings.data_dir} has no store")
        redis = connection.connect(
            url, tls=config.tls(settings), prefix=settings.redis_prefix, timeout_s=60.0
        )
        stack.push_async_callback(redis.aclose)
        await connection.check_reachable(redis, url)
        yield redis


def _files(settings: Settings) -> list[Path]:
    """Return the files of the data directory to back up, without incomplete ones."""
    return [
        path
        for name in FOLDERS
        for path in sorted((settings.data_dir / name).rglob("*"))
        if path.is_file() and path.name.startswith("rows-")
    ]


async def _add_file(writer: Writer, data: Path, path: Path) -> bool:
    """Add one file; False for one that is gone since."""
    name = path.relative_to(data).as_posix()
    try:
        with path.open("rb") as file:
            writer.add("file", name, 0, b"")
            offset = 0
            while part := file.read(_PART):
                writer.add("file", name, offset, part)
                offset += len(part)
                await asyncio.sleep(0)  # Ctrl-C is heard between two parts
    except FileNotFoundError:
        return False
    return True
