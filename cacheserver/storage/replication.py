"""Changes that replicas of the store have before they are acknowledged.

Rule: `WAIT` counts the replicas that have what its own connection wrote, and with it all that was
written before. So a write goes with each `WAIT`.
"""

from __future__ import annotations

from typing import Any, Final

from redis.commands.core import AsyncScript
from redis.typing import EncodableT

from cacheserver.core.errors import NotReplicated
from cacheserver.storage.connection import Connection, command, run_script, store_errors

_REPLICATED_MS: Final = 1_000  # for replicas to have a change; in a network they take some

REPLICAS_DO: Final = (
    "Bring the replicas back: until then purges, erasures, revocations and changed bars are "
    "answered 503 (`CACHESERVER_REDIS_REPLICAS`)."
)


async def run_replicated(redis: Connection, script: AsyncScript, *words: str) -> Any:
    """Run a script and return its reply once `redis.replicas` have what it wrote.

    They have then all that was written before, too. Raises `NotReplicated` and `StoreError`.
    """
    if not redis.replicas:
        return await run_script(script, *words)
    reply, have = await _waited(redis, "EVAL", script.script, 0, *words)
    if have < redis.replicas:
        raise NotReplicated(
            f"the change is made, and {have} of {redis.replicas} replicas have it: it is lost if "
            "the primary dies now. Make it again once the replicas follow"
        )
    return reply


async def run_waiting(
    redis: Connection, *words: str | bytes | float, since: int | None = None
) -> Any:
    """Run a command that writes and return its reply, after a wait for the replicas.

    For what is worth a second, but no refusal: it returns also if they do not follow. `since`: the
    takeovers before what else was written. Raises `NotReplicated` if a replica has taken over since
    then, which may lack that, and `StoreError`.
    """
    if not redis.replicas:
        return await command(redis, *words)
    reply, _ = await _waited(redis, *words)
    if since is not None and redis.recent.takeovers != since:
        raise NotReplicated(
            "a replica of the store has taken over meanwhile, and the change may be lost: see "
            "whether it is there, and else make it again"
        )
    return reply


async def wait_for_replicas(redis: Connection, *, prefix: str, since: int) -> None:
    """Wait for replicas, if there are any, to have what was written. Raises as `run_waiting`."""
    if redis.replicas:
        await run_waiting(redis, "SET", f"{prefix}probe", 1, "PX", 60_000, since=since)


async def lacks_replicas(redis: Connection) -> str | None:
    """Return what is found where fewer replicas follow than must have a change; else None.

    Raises `StoreError`.
    """
    if not redis.replicas:
        return None
    info = await command(redis, "INFO", "replication")
    following = sum(
        isinstance(one, dict) and one.get("state") == "online"
        for name, one in info.items()
        if name.startswith("slave")
    )
    if following >= redis.replicas:
        return None
    return f"{following} of {redis.replicas} replicas follow"


async def _waited(redis: Connection, *words: EncodableT) -> tuple[Any, int]:
    """Return the reply to a command, and how many replicas have what it wrote."""
    with store_errors():
        async with redis.pipeline(transaction=False) as pipe:
            pipe.execute_command(*words)
            pipe.execute_command("WAIT", redis.replicas, _REPLICATED_MS)
            reply, have = await pipe.execute()
    return reply, int(have)
