"""Checks of what a server loads: its store, its keys and its model."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cacheserver.core.errors import CacheServerError
from cacheserver.core.terminal.counts import counted
from cacheserver.doctor.check import Check, failed, ok, skipped, warning

if TYPE_CHECKING:  # imported as a check runs, for the base install has none of it
    from cacheserver.config.settings import Settings
    from cacheserver.storage.connection import Connection

_PROBE: Final = "How do I reset my password?"
_SLOW_MS: Final = 50  # of a write to the store: it takes under one on the same machine
_APART_S: Final = 5.0  # clocks: lifetimes, limits and budgets of several servers are told by them


async def check_store(settings: Settings) -> list[Check]:
    """Check the store, the clock and the keys that it holds."""
    from cacheserver.config import settings as config
    from cacheserver.embedded import command_connection, store

    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    if url is None and store.running_url(settings.data_dir) is None and _is_empty(settings):
        why = f"{settings.data_dir} has no data yet; the first start makes it"
        return [skipped("store", why), _keys(settings, 0, 0)]
    where = "embedded" if url is None else "CACHESERVER_REDIS_URL"
    try:
        async with command_connection.open_connection(
            url,
            data_dir=settings.data_dir,
            prefix=settings.redis_prefix,
            tls=config.tls(settings),
            replicas=settings.redis_replicas,
        ) as redis:
            return [
                *await _check_redis(redis, settings, where),
                await _check_servers(redis, settings),
                await _check_keys(redis, settings),
            ]
    except CacheServerError as error:
        do = "start it, or correct `CACHESERVER_REDIS_URL`"
        if url is None:
            do = "`cacheserver repair` if its files are damaged; docs/operating.md#damage"
        left = "the store could not be asked"
        return [failed("store", str(error), do), skipped("keys", left)]


def _is_empty(settings: Settings) -> bool:
    folder = settings.data_dir
    return not folder.is_dir() or not any(folder.iterdir())


async def _check_redis(redis: Connection, settings: Settings, where: str) -> list[Check]:
    from cacheserver.storage.connection import command
    from cacheserver.storage.replication import REPLICAS_DO, lacks_replicas

    began = time.perf_counter()
    await command(redis, "SET", f"{settings.redis_prefix}probe", 1, "PX", 60_000)
    write_ms = (time.perf_counter() - began) * 1_000
    info = await command(redis, "INFO", "server")
    version = info.get("valkey_version") or info.get("redis_version")
    found = f"{where}: version {version}, a write took {write_ms:.1f} ms"
    seconds, microseconds = await command(redis, "TIME")
    apart = abs(time.time() - (int(seconds) + int(microseconds) / 1e6))
    slow = "move the store nearer, or look at its disk; each miss waits for it"
    if (lacking := await lacks_replicas(redis)) is not None:
        return [
            warning("store", f"{found}; {lacking}", REPLICAS_DO),
            check_clock("the store's", apart),
        ]
    return [
        ok("store", found) if write_ms < _SLOW_MS else warning("store", found, slow),
        check_clock("the store's", apart),
    ]


async def _check_servers(redis: Connection, settings: Settings) -> Check:
    """Check that the servers on the store agree, and would with these settings."""
    from cacheserver.config.agreement import must_agree
    from cacheserver.peers.roster import differences, live_servers

    live = [
        one.about
        for one in await live_servers(redis, settings.redis_prefix)
        if one.about is not None
    ]
    if wrong := differences(must_agree(settings), [(one.place, one.must) for one in live]):
        name, mine, theirs, place = wrong[0]
        do = f"give both the same `{name}`, or stop that server: this one would not start"
        return failed("servers", f"`{name}` is {mine} here and {theirs} on {place}", do)
    for one in live[1:]:
        if wrong := differences(live[0].should, [(one.place, one.should)]):
            name, here, there, place = wrong[0]
            do = "give all servers the same; ignore it while they are replaced one after another"
            found = f"`{name}` is {here} on {live[0].place} and {there} on {place}"
            return warning("servers", found, do)
    return ok("servers", f"{len(live)} on this store" if live else "none runs on this store")


def check_clock(whose: str, apart_s: float) -> Check:
    found = f"{apart_s:.1f} s from {whose}"
    if apart_s < _APART_S:
        return ok("clock", found)
    return warning("clock", found, "synchronise the clocks (chrony, systemd-timesyncd)")


async def _check_keys(redis: Connection, settings: Settings) -> Check:
    from cacheserver.core.types import Tenant
    from cacheserver.tenants.admin_keys import AdminKeys
    from cacheserver.tenants.store import Tenants

    tenants = Tenants(redis, prefix=settings.redis_prefix, defaults=Tenant(name="default"))
    admins = await AdminKeys(redis, prefix=settings.redis_prefix).list()
    return _keys(settings, len(await tenants.list_keys()), len(admins))


def _keys(settings: Settings, count: int, admins: int) -> Check:
    from cacheserver.config import settings as config

    found = f"{counted(count, 'tenant key')}, {counted(admins, 'named admin key')}"
    if not count and settings.host not in ("127.0.0.1", "localhost", "::1"):
        return failed(
            "keys",
            f"no key, and {settings.host} is open to others",
            "create one: `cacheserver key create --tenant NAME`",
        )
    if not admins and config.admin_key(settings) is None:
        return warning(
            "keys",
            f"{found}, and `CACHESERVER_ADMIN_KEY` is not set",
            "set `CACHESERVER_ADMIN_KEY_FILE`, or `cacheserver admin-key create --name YOU "
            "--role all`: without one the admin page and API are closed",
        )
    return ok("keys", found)


async def check_model(settings: Settings) -> Check:
    """Check that the model is the one that was exported, and embeds."""
    from cacheserver.config.embedder_settings import MINILM
    from cacheserver.config.settings import is_url
    from cacheserver.embedding import build
    from cacheserver.embedding.exported import minilm_folder
    from cacheserver.index.errors import IndexingError
    from cacheserver.index.models import MANIFEST

    chosen = settings.embedder
    if chosen == MINILM and minilm_folder(settings.model_dir, settings.data_dir) is None:
        found = f"there is none in {settings.data_dir / 'model'}: only equal requests are hits"
        return warning("model", found, "make it with `scripts/setup`; see docs/embedders.md")
    if chosen != MINILM and not is_url(chosen) and not (Path(chosen) / MANIFEST).is_file():
        return skipped("model", f"{chosen}: its export is made or checked by the next start")
    try:
        embedding = await asyncio.to_thread(build.load, settings)
        try:
            began = time.perf_counter()
            await asyncio.to_thread(embedding.embedder.embed, [_PROBE])
            took_ms = (time.perf_counter() - began) * 1_000
        finally:
            build.close(embedding)
    except (CacheServerError, IndexingError) as error:
        return failed("model", str(error), "make it with `scripts/setup`; see docs/embedders.md")
    return ok("model", f"{embedding.embedder.id}: a question took {took_ms:.0f} ms")
