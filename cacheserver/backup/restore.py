"""Restore of a backup: into an empty store, or in place of what is stored, which is kept aside."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from cacheserver.backup import backup_file, key_copy
from cacheserver.backup.backup import FOLDERS, save
from cacheserver.config import settings as config
from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.core.terminal.progress import Progress
from cacheserver.embedded.data_lock import DataLock
from cacheserver.embedded.store import EmbeddedStore, ask_to_stop
from cacheserver.encryption import data_keys, key_file
from cacheserver.encryption.build import read_master_keys
from cacheserver.encryption.master_key import MasterKeys
from cacheserver.storage import connection
from cacheserver.storage.connection import RESTORING, SCHEMA
from cacheserver.storage.disk import sync_directory
from cacheserver.storage.key_scan import scan_keys
from cacheserver.storage.primary_views import untagged
from cacheserver.tenants.audit_trail import AuditTrail, by_command

_DERIVED: Final = "index*.snapshot"  # of each worker; they do not fit another store


# Told where what was there before is kept, before any of it is changed; None: nothing was there.
Begin = Callable[[Path | None], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Opened backup, with the tenants' wrapped keys."""

    path: Path
    masters: MasterKeys | None
    rows: Mapping[str, bytes]
    records: int
    progress: Progress
    begin: Begin
    prefix: str  # of its keys


async def load(
    settings: Settings,
    path: Path,
    *,
    replace: bool,
    keys: Path | None = None,
    progress: Progress | None = None,
    begin: Begin = lambda kept: None,
) -> Path | None:
    """Bring back the backup at `path`; where what was there before is kept.

    The file is checked whole before anything is changed. Raises `SettingsError`, `StoreError`.
    """
    masters, progress = read_master_keys(settings), progress or Progress(on=False)
    meta, records = await _check(path, masters, progress)
    rows: dict[str, bytes] = {}
    if masters is not None and backup_file.is_encrypted(path):
        rows = key_file.read(keys or key_file.beside(path), masters)
    if meta["schema"] > SCHEMA:
        raise SettingsError(f"{path} was made by a newer cacheserver; upgrade this one")
    # A cluster needs braces around it, another server does not.
    if untagged(meta["prefix"]) != untagged(settings.redis_prefix):
        raise SettingsError(
            f"{path} has keys that begin with `{meta['prefix']}`; set "
            f"`CACHESERVER_REDIS_PREFIX` to that (it is `{settings.redis_prefix}`)"
        )
    mark = time.strftime("replaced-%Y%m%dT%H%M%SZ-", time.gmtime()) + secrets.token_hex(2)
    restore = _into_redis if settings.redis_url is not None else _into_directory
    source = Source(path, masters, rows, records, progress, begin, meta["prefix"])
    return await restore(settings, source, replace=replace, mark=mark)


async def _check(
    path: Path, masters: MasterKeys | None, progress: Progress
) -> tuple[dict[str, Any], int]:
    """Read the whole file; what it is a backup of, and the number of its records."""
    records, stopped = 0, threading.Event()

    def checked(count: int) -> None:
        nonlocal records
        records = count
        progress.count("checking", "records", count, None)
        if stopped.is_set():  # of a large file nobody waits for the rest
            raise SettingsError(f"{path} was not read to its end")

    try:
        meta = await asyncio.to_thread(
            backup_file.read_meta, path, masters=masters, checked=checked
        )
    finally:
        stopped.set()
    return meta, records


async def _into_directory(
    settings: Settings, source: Source, *, replace: bool, mark: str
) -> Path | None:
    """Restore into the data directory; where what was there before is kept."""
    data = settings.data_dir.resolve()
    store = data / "store"
    lock = DataLock(store)
    await lock.take(lambda: ask_to_stop(store))
    try:
        held = [*(data / name for name in FOLDERS if (data / name).exists()), *data.glob(_DERIVED)]
        used = any((store / name).exists() for name in ("appendonlydir", "appendonly.aof"))
        if (used or held) and not replace:
            raise SettingsError(
                f"`CACHESERVER_DATA_DIR`: {data} has a store already; restore into an empty "
                "directory, or with `--replace`, which keeps what is there aside"
            )
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=data) as made:
            async with EmbeddedStore(Path(made)) as url:
                await _fill(settings, url, source, Path(made))
            aside = data / mark
            aside.mkdir(mode=0o700)
            source.begin(aside if used or held else None)
            for old in (*held, store):
                old.rename(aside / old.name)
            for name in ("store", *FOLDERS):
                if (Path(made) / name).exists():
                    (Path(made) / name).rename(data / name)
            sync_directory(data)
        if not used and not held:
            shutil.rmtree(aside)  # there was nothing but the locks
            return None
        return aside
    finally:
        lock.release()


async def _into_redis(
    settings: Settings, source: Source, *, replace: bool, mark: str
) -> Path | None:
    """Restore into the operator's Redis; where a backup of what was there before is kept."""
    assert settings.redis_url is not None
    url, prefix, data = (
        settings.redis_url.get_secret_value(),
        settings.redis_prefix,
        settings.data_dir,
    )
    kept: Path | None = None
    async with AsyncExitStack() as stack:
        redis = connection.connect(url, tls=config.tls(settings), prefix=prefix)
        stack.push_async_callback(redis.aclose)
        await connection.check_reachable(redis, url)
        used = [part async for part in scan_keys(redis, prefix)]
        held = [*(data / name for name in FOLDERS if (data / name).exists()), *data.glob(_DERIVED)]
        if (used or held) and not replace:
            raise SettingsError(
                f"`CACHESERVER_REDIS_URL`: there are keys that begin with `{prefix}`, or files in "
                f"{data}; restore into an empty one, or with `--replace`, which keeps what is "
                "there aside"
            )
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if used or held:
            kept = data / f"{mark}.backup"
            await save(settings, kept, progress=source.progress)
        source.begin(kept)
        await connection.command(redis, "SET", f"{prefix}{RESTORING}", 1)
        for part in used:
            gone = [key for key in part if key != f"{prefix}{RESTORING}".encode()]
            if gone:
                await connection.command(redis, "UNLINK", *gone)
        for old in held:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        await _fill(settings, url, source, data)
        await connection.command(redis, "DEL", f"{prefix}{RESTORING}")
    return kept


async def _fill(settings: Settings, url: str, source: Source, folder: Path) -> None:
    """Bring a backup's keys to the store at `url`, and its files into `folder`."""

    def commands() -> Iterator[list[bytes]]:
        before, after = source.prefix.encode(), settings.redis_prefix.encode()
        mark = before + RESTORING.encode()
        records = backup_file.records(source.path, masters=source.masters)
        for count, record in enumerate(records, 1):
            source.progress.count("restoring", "records", count, source.records)
            if record[0] == b"file":
                _write_part(folder, record)
            elif record[0] != b"meta" and record[1] != mark:
                record[1] = after + record[1].removeprefix(before)
                yield record

    redis = connection.connect(
        url, tls=config.tls(settings), prefix=settings.redis_prefix, timeout_s=60.0
    )
    try:
        await key_copy.write_keys(redis, commands())
        await data_keys.restore(redis, source.rows, prefix=settings.redis_prefix)
        record = by_command("restore", target={"file": source.path.name[:200]})
        await AuditTrail(redis, prefix=settings.redis_prefix).add(record)
    finally:
        await redis.aclose()


def _write_part(folder: Path, record: list[bytes]) -> None:
    name = PurePosixPath(record[1].decode())
    # A file is not to be trusted with where it writes.
    if name.is_absolute() or ".." in name.parts or name.parts[0] not in FOLDERS:
        raise SettingsError(f"the backup has a file at {str(name)!r}, which is no place of ours")
    path = folder / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.tell() != int(record[2]):
            raise SettingsError("the backup's files are in no order")
        file.write(record[3])
        file.flush()
        os.fsync(file.fileno())
