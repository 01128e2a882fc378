"""Backup and restore: the whole of a store and the ledger's files, in one file.

    cacheserver backup FILE                 while the server runs, or not
    cacheserver restore FILE [--replace]    with the server stopped

The backup of an encrypted store is encrypted, and the tenants' keys are in a separate file,
FILE.keys, so that keys can be destroyed there too. Not in a backup: the index's snapshot (rebuilt
from the store), the models, the settings, the master key and the admin key's file.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from cacheserver.core.command_line import CommandLine, say
from cacheserver.core.errors import SettingsError
from cacheserver.storage.disk import sync_directory

if TYPE_CHECKING:
    from cacheserver.backup.backup_file import Writer
    from cacheserver.config.settings import Settings
    from cacheserver.storage.connection import Connection
    from cacheserver.storage.sealing.master_key import MasterKeys

Say = Callable[[str], None]

_PART: Final = 1 << 20  # of a file, in one record
_FOLDERS: Final = ("ledger",)  # of the data directory, that a backup holds
_DERIVED: Final = ("index.snapshot",)  # that does not fit another store


@dataclass(frozen=True, slots=True)
class Source:
    """Opened backup, with the tenants' wrapped keys."""

    path: Path
    masters: MasterKeys | None
    rows: Mapping[str, bytes]


def add(line: CommandLine) -> None:
    """Add the commands to the parser's."""
    backup = line.commands.add_parser("backup", help="write all that is stored to one file")
    backup.add_argument("file", type=Path, metavar="FILE", help="a new one; none is replaced")
    backup.set_defaults(run=lambda asked: _run(lambda settings: save(settings, asked.file, say)))
    restore = line.commands.add_parser("restore", help="bring back what a backup holds")
    restore.add_argument("file", type=Path, metavar="FILE", help="as `backup` wrote it")
    restore.add_argument(
        "--keys",
        type=Path,
        metavar="KEYS",
        help="the tenants' keys, of an encrypted one; FILE.keys if not named",
    )
    restore.add_argument(
        "--replace", action="store_true", help="in place of what is stored, which is kept aside"
    )
    restore.set_defaults(
        run=lambda asked: _run(
            lambda settings: load(
                settings, asked.file, replace=asked.replace, say=say, keys=asked.keys
            )
        )
    )


def _run(work: Callable[[Settings], Coroutine[Any, Any, None]]) -> int:
    from cacheserver.config import settings as config

    asyncio.run(work(config.load()))
    return 0


async def save(settings: Settings, path: Path, say: Say) -> None:
    """Write a backup to `path`. Raises `SettingsError`, `StoreError`."""
    from cacheserver.backup import backup_file, key_file
    from cacheserver.config import settings as config
    from cacheserver.storage import key_copy
    from cacheserver.storage.connection import SCHEMA
    from cacheserver.storage.sealing import data_keys

    prefix, masters = settings.redis_prefix, config.masters(settings)
    meta = {
        "schema": SCHEMA,
        "prefix": prefix,
        "made_at": round(time.time(), 3),
        # Of a Redis of the operator's, keys are read one after the other while it goes on.
        "one_moment": settings.redis_url is None,
    }
    keys = 0
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
                async for words in key_copy.read_keys(redis, prefix):
                    if words[1] not in apart:
                        keys += words[0] == "DEL"
                        writer.add(*words)
                if held is not None:  # last: no value that was read is under a later one
                    key_file.write(key_file.beside(path), await held.rows())
            # After the store: rows that leave it for a file meanwhile are in both, never in none.
            files = sum(_add_file(writer, settings.data_dir, one) for one in _files(settings))
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
    say(f"{path}: {keys} keys and {files} files of the ledger.")
    if masters is not None:
        say(f"{key_file.beside(path)}: the tenants' keys, without which it cannot be read.")


async def load(
    settings: Settings, path: Path, *, replace: bool, say: Say, keys: Path | None = None
) -> None:
    """Bring back the backup at `path`. Raises `SettingsError`, `StoreError`.

    The file is checked whole before anything is changed.
    """
    from cacheserver.backup import backup_file, key_file
    from cacheserver.config import settings as config
    from cacheserver.storage.connection import SCHEMA

    masters = config.masters(settings)
    meta = await asyncio.to_thread(backup_file.read_meta, path, masters=masters)
    rows: dict[str, bytes] = {}
    if masters is not None and backup_file.is_encrypted(path):
        rows = key_file.read(keys or key_file.beside(path), masters)
    if meta["schema"] > SCHEMA:
        raise SettingsError(f"{path} was made by a newer cacheserver; upgrade this one")
    if meta["prefix"] != settings.redis_prefix:
        raise SettingsError(
            f"{path} has keys that begin with `{meta['prefix']}`; set "
            f"`CACHESERVER_REDIS_PREFIX` to that (it is `{settings.redis_prefix}`)"
        )
    mark = time.strftime("replaced-%Y%m%dT%H%M%SZ-", time.gmtime()) + secrets.token_hex(2)
    restore = _into_redis if settings.redis_url is not None else _into_directory
    source = Source(path, masters, rows)
    kept = await restore(settings, source, replace=replace, mark=mark)
    if kept is not None:
        say(f"What was there before is kept in {kept}.")
    say(f"{path} is restored.")


async def _into_directory(
    settings: Settings, source: Source, *, replace: bool, mark: str
) -> Path | None:
    """Restore into the data directory; where what was there before is kept."""
    from cacheserver.embedded.data_lock import DataLock
    from cacheserver.embedded.store import EmbeddedStore, ask_to_stop

    data = settings.data_dir.resolve()
    store = data / "store"
    lock = DataLock(store)
    await lock.take(lambda: ask_to_stop(store))
    try:
        held = [data / name for name in (*_FOLDERS, *_DERIVED) if (data / name).exists()]
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
            for old in (*held, store):
                old.rename(aside / old.name)
            for name in ("store", *_FOLDERS):
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
    from cacheserver.config import settings as config
    from cacheserver.storage import connection, key_copy
    from cacheserver.storage.connection import RESTORING

    assert settings.redis_url is not None
    url, prefix, data = (
        settings.redis_url.get_secret_value(),
        settings.redis_prefix,
        settings.data_dir,
    )
    kept: Path | None = None
    async with AsyncExitStack() as stack:
        redis = connection.connect(url, tls=config.tls(settings))
        stack.push_async_callback(redis.aclose)
        await connection.check_reachable(redis, url)
        used = [part async for part in key_copy.scan_keys(redis, prefix)]
        held = [data / name for name in (*_FOLDERS, *_DERIVED) if (data / name).exists()]
        if (used or held) and not replace:
            raise SettingsError(
                f"`CACHESERVER_REDIS_URL`: there are keys that begin with `{prefix}`, or files in "
                f"{data}; restore into an empty one, or with `--replace`, which keeps what is "
                "there aside"
            )
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if used or held:
            kept = data / f"{mark}.backup"
            await save(settings, kept, lambda line: None)
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
    from cacheserver.backup import backup_file
    from cacheserver.config import settings as config
    from cacheserver.storage import connection, key_copy
    from cacheserver.storage.connection import RESTORING
    from cacheserver.storage.sealing import data_keys

    def commands() -> Iterator[list[bytes]]:
        mark = f"{settings.redis_prefix}{RESTORING}".encode()
        for record in backup_file.records(source.path, masters=source.masters):
            if record[0] == b"file":
                _write_part(folder, record)
            elif record[0] != b"meta" and record[1] != mark:
                yield record

    redis = connection.connect(url, tls=config.tls(settings), timeout_s=60.0)
    try:
        await key_copy.write_keys(redis, commands())
        await data_keys.restore(redis, source.rows, prefix=settings.redis_prefix)
    finally:
        await redis.aclose()


@asynccontextmanager
async def _source(settings: Settings, folder: Path) -> AsyncIterator[Connection]:
    """Open what to read: of the embedded store a copy as of this moment, else the store itself."""
    from cacheserver.config import settings as config
    from cacheserver.embedded import snapshot
    from cacheserver.embedded import store as embedded
    from cacheserver.storage import connection

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
        redis = connection.connect(url, tls=config.tls(settings), timeout_s=60.0)
        stack.push_async_callback(redis.aclose)
        await connection.check_reachable(redis, url)
        yield redis


def _files(settings: Settings) -> list[Path]:
    """Return the files of the data directory to back up, without incomplete ones."""
    return [
        path
        for name in _FOLDERS
        for path in sorted((settings.data_dir / name).rglob("*"))
        if path.is_file() and path.name.startswith("rows-")
    ]


def _add_file(writer: Writer, data: Path, path: Path) -> bool:
    """Add one file; False for one that is gone since."""
    name = path.relative_to(data).as_posix()
    try:
        with path.open("rb") as file:
            writer.add("file", name, 0, b"")
            offset = 0
            while part := file.read(_PART):
                writer.add("file", name, offset, part)
                offset += len(part)
    except FileNotFoundError:
        return False
    return True


def _write_part(folder: Path, record: list[bytes]) -> None:
    name = PurePosixPath(record[1].decode())
    # A file is not to be trusted with where it writes.
    if name.is_absolute() or ".." in name.parts or name.parts[0] not in _FOLDERS:
        raise SettingsError(f"the backup has a file at {str(name)!r}, which is no place of ours")
    path = folder / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.tell() != int(record[2]):
            raise SettingsError("the backup's files are in no order")
        file.write(record[3])
        file.flush()
        os.fsync(file.fileno())
