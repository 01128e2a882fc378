"""Parts that the commands about keys share: the store, the audit trail, times, printed keys.

Rule: a change is in the audit trail before it is made.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cacheserver.core.command_line import print_done, say
from cacheserver.tenants import key_times

if TYPE_CHECKING:  # imported as a command runs
    from cacheserver.config.settings import Settings
    from cacheserver.peers.peers import Told
    from cacheserver.storage.connection import Connection

ONCE: Final = "It is kept hashed and not shown again."


def print_new(args: argparse.Namespace, key: Mapping[str, object], plain: str, about: str) -> None:
    """Print a key that was made: alone on stdout, or with all of it as the API returns it."""
    print_done(args, {**key, "key": plain}, plain)
    if not args.json:
        say(about)


def moment(text: str | None) -> float | None:
    return None if text is None else key_times.moment("expires", text, time.time())


def shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")


async def record(
    redis: Connection,
    settings: Settings,
    change: str,
    args: argparse.Namespace,
    *,
    tenant: str | None = None,
) -> None:
    """Record a change in the audit trail. Who made it is the user of this machine."""
    from cacheserver.tenants.audit_trail import AuditTrail, by_command

    target = {
        name: str(value)[:200]
        for name in ("id", "name", "role")
        if (value := getattr(args, name, None)) is not None
    }
    record = by_command(change, tenant=tenant, target=target)
    await AuditTrail(redis, prefix=settings.redis_prefix).add(record)


def everywhere(redis: Connection, settings: Settings) -> Told:
    """Return what waits until the servers on this store have applied a change."""
    from cacheserver.peers.peers import Peers, uncounted

    return Peers(redis, uncounted, prefix=settings.redis_prefix).everywhere


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """Yield the store of a server that runs, else of one for the moment. Raises `StoreError`."""
    from cacheserver.config import settings as config
    from cacheserver.embedded import command_connection, store
    from cacheserver.peers import build as peers

    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    unserved = url is None and store.running_url(settings.data_dir) is None
    async with command_connection.open_connection(
        url,
        data_dir=settings.data_dir,
        prefix=settings.redis_prefix,
        tls=config.tls(settings),
        replicas=settings.redis_replicas,
    ) as redis:
        await peers.agree(redis, prefix=settings.redis_prefix)
        yield redis
    if unserved:  # a key in another store than the server's is one that the server does not know
        say(
            f"No server runs on the data in {settings.data_dir}. These are the keys of one that is "
            "started with this `CACHESERVER_DATA_DIR`."
        )
