"""Connection to Redis or Valkey, and the checks that a server must pass.

No other package sees a redis exception: `store_errors` converts them. Commands are never retried
here: a script that ran and whose reply was lost would run twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as TimedOut

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.storage import closed_connections, node_url, primary, redis_url, unreachable
from cacheserver.storage.deadline import StoreHealth
from cacheserver.storage.primary import NoPrimary, Primary
from cacheserver.storage.primary_views import SLOTS
from cacheserver.storage.recent_changes import RecentChanges
from cacheserver.storage.redis_url import Tls
from cacheserver.storage.shared_connection import SharedConnection

_SCRIPTS = ("EVALSHA", "EVAL")


class Client(Redis):
    """Redis client whose commands respect the deadline of the request (`storage.deadline`)."""

    def __init__(
        self,
        *,
        connection_pool: BlockingConnectionPool,
        primary: Primary | None = None,
        script_key: str | None = None,
        replicas: int = 0,
    ) -> None:
        """`primary` leads the pool's connections; None: the pool's URL does.

        `replicas` is how many must have a change before it is acknowledged (`replication`).

        `script_key` is declared by each script, so that a node of a cluster that does not serve its
        slot refuses it before it runs.
        """
        super().__init__(connection_pool=connection_pool)
        self.auto_close_connection_pool = True
        self.primary = primary
        self.replicas = replicas
        self.recent = RecentChanges(primary)
        self.health = StoreHealth(self._probe)
        self._script_key = script_key
        timeout_s = connection_pool.connection_kwargs["socket_timeout"]
        self._shared = SharedConnection(connection_pool, timeout_s=timeout_s)

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        if self._script_key is not None:
            words = _declared(words, self._script_key)
        async with self.health.bounded():
            reply = await self._shared.run(words)
        options.pop("keys", None)  # for a cache of redis-py's
        convert = self.response_callbacks.get(words[0])
        return reply if convert is None else convert(reply, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        found = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        found.health = self.health
        found.script_key = self._script_key
        return found

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections, whether or not it is cancelled. May be called twice."""
        try:
            await self.health.close()
            await self._shared.close()
            if self.primary is not None:
                await self.primary.close()
            await super().aclose(close_connection_pool)
        finally:
            self._shared.abort()
            if self.primary is not None:
                self.primary.abort()
            closed_connections.close_at_once(self.connection_pool)

    async def dedicated(self) -> AbstractConnection:
        """Open a connection for commands that block. The caller disconnects it.

        Raises `StoreError`.
        """
        connection = self._unconnected()
        with store_errors():
            await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    def _unconnected(self) -> AbstractConnection:
        pool = self.connection_pool
        made: AbstractConnection = pool.connection_class(**pool.connection_kwargs)
        return made

    async def _probe(self) -> None:
        """Send a PING over a new connection. A refusal counts as an answer."""
        connection = self._unconnected()
        try:
            await connection.send_command("PING", check_health=False)
            await connection.read_response()
        except TIMEOUTS:
            raise TimeoutError from None
        except FAILURES:
            return
        finally:
            await connection.disconnect(nowait=True)


class _Pipeline(Pipeline):
    health: StoreHealth
    script_key: str | None

    def execute_command(self, *words: Any, **options: Any) -> Any:
        if self.script_key is not None:
            words = _declared(words, self.script_key)
        return super().execute_command(*words, **options)

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        async with self.health.bounded():
            found: list[Any] = await super().execute(raise_on_error)
            return found


def _declared(words: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    """Return a script's command with a key, if it declares none."""
    if words[0] in _SCRIPTS and words[2] == 0:
        return (*words[:2], 1, key, *words[3:])
    return words


Connection: TypeAlias = Client

PREFIX = "cs1:"  # of every key; 1 is the layout version, so two layouts can coexist
SCHEMA = 1
RESTORING = "restoring"  # a key that exists while a backup is being restored
OLDEST = (6, 2)  # SET ... PXAT, GETDEL and effect replication of scripts; Valkey reports 7.2


def connect(
    url: str,
    *,
    tls: Tls | None = None,
    prefix: str = PREFIX,
    replicas: int | None = None,
    timeout_s: float = 2.0,
    max_connections: int = 32,
) -> Connection:
    """Return a client for `url`. It connects on first use; `aclose` closes it.

    `tls` names the files for `rediss`. `prefix`, of all keys, says which node of a cluster is
    theirs. `replicas` must have a change before it is acknowledged; None: one, where there are
    replicas by the URL. `timeout_s` is short: a request that waits longer would have been faster
    as a miss. Raises `SettingsError` for an invalid URL or file.
    """
    redis_url.check_url(url)
    files = redis_url.tls_arguments(tls) if tls is not None and redis_url.speaks_tls(url) else {}
    nodes = node_url.parse(url) if node_url.names_nodes(url) else None
    try:
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url if nodes is None else nodes.server_url(nodes.hosts[0]),
            protocol=2,  # RESP3 changes reply shapes and not every Redis-compatible server has it
            decode_responses=False,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            max_connections=max_connections,
            timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            **files,
        )
    except ValueError:  # its text may contain a part of the URL
        raise SettingsError("`CACHESERVER_REDIS_URL`: it cannot be read") from None
    if nodes is None:
        pool.connection_class = closed_connections.known(pool.connection_class)
        return Client(connection_pool=pool, replicas=replicas or 0)
    found = Primary(nodes, files, prefix=prefix)
    pool.connection_class = closed_connections.known(primary.connection_class(nodes))
    pool.connection_kwargs["primary"] = found
    key = f"{prefix}schema" if found.clustered else None  # it always exists
    replicas = 1 if replicas is None else replicas
    return Client(connection_pool=pool, primary=found, script_key=key, replicas=replicas)


async def check_reachable(redis: Connection, url: str) -> None:
    """Check that the server on `url` answers.

    Raises `SettingsError` if the operator must act, and `StoreError` if waiting may help. Both
    messages name the server and the reason.
    """
    try:
        await redis.execute_command("INFO")
    except (*FAILURES, TypeError, ValueError) as error:
        found = unreachable.explain_error(error, url)
        kind = StoreError if found.passing else SettingsError
        raise kind(unreachable.message(url, found)) from None


# Exceptions of redis-py for a failing store, and for one that is too slow.
FAILURES = (RedisError, OSError, TimeoutError)
TIMEOUTS = (TimeoutError, TimedOut)


def as_store_error(error: BaseException) -> StoreError:
    """Convert an error of the client. Raise the result `from None`.

    The message has the exception's name and the server's error code only: a pipeline's error
    repeats the command, and with it a user's question.
    """
    if isinstance(error.__cause__, NoPrimary):
        return StoreError(f"the store failed: {error.__cause__.why}")
    words = str(error).split(maxsplit=1) if isinstance(error, ResponseError) else []
    code = f" {words[0]}" if words and words[0].isupper() else ""
    return StoreError(f"the store failed: {type(error).__name__}{code}")


@contextmanager
def store_errors() -> Iterator[None]:
    """Convert exceptions of the client to `StoreError`."""
    try:
        yield
    except FAILURES as error:
        raise as_store_error(error) from None


async def command(redis: Connection, *words: str | bytes | float) -> Any:
    """Run one command and return the reply as redis-py decodes it. Raises `StoreError`."""
    with store_errors():
        # redis-py types every reply as bytes or str, whatever `decode_responses` says
        return await redis.execute_command(*words)


async def read_values(redis: Connection, keys: Sequence[str]) -> list[bytes | None]:
    """Return the values of `keys` in their order, None for one that is not there.

    Raises `StoreError`.
    """
    found: list[bytes | None] = await command(redis, "MGET", *keys) if keys else []
    return found


async def run_script(script: AsyncScript, *words: str | bytes | float) -> Any:
    """Run a registered script and return its reply. Raises `StoreError`."""
    with store_errors():
        try:  # without the layers of redis-py, which cost as much as sending it
            return await script.registered_client.execute_command("EVALSHA", script.sha, 0, *words)
        except NoScriptError:
            return await script(args=words)


async def check_server(redis: Connection, *, prefix: str = PREFIX) -> None:
    """Check that a server keeps and reads our data, and set the schema version if it is new.

    Raises `SettingsError` if the operator must act and `StoreError` if the server is away.
    """
    info: dict[str, Any] = await command(redis, "INFO")
    if info.get("role") == "slave":
        raise SettingsError(
            "`CACHESERVER_REDIS_URL`: the server is a replica, which takes no writes; name its "
            "primary, or its Sentinels (redis+sentinel://host:port,host:port/service)"
        )
    if info.get("cluster_enabled"):
        await _check_cluster(redis)
    await command(redis, "SETNX", f"{prefix}schema", SCHEMA)
    stored = await command(redis, "GET", f"{prefix}schema")
    half_restored = await command(redis, "EXISTS", f"{prefix}{RESTORING}")
    version = str(info.get("redis_version", "0"))
    if _numbers(version) < OLDEST:
        raise SettingsError(
            f"`CACHESERVER_REDIS_URL`: the server is Redis {version}; 6.2 or later, or Valkey, "
            "is needed"
        )
    if half_restored:
        raise SettingsError(
            "`CACHESERVER_REDIS_URL`: a restore into it was begun and not ended; run `cacheserver "
            "restore FILE --replace` again"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys-"):
        raise SettingsError(
            f"`CACHESERVER_REDIS_URL`: the server's maxmemory-policy is {policy}, which may drop "
            "API keys and accounts; set it to noeviction and bound the answers with "
            "`CACHESERVER_MAX_BYTES`"
        )
    if stored is not None and int(stored) > SCHEMA:
        raise SettingsError(
            f"`CACHESERVER_REDIS_URL`: the data were written by a newer cacheserver (schema "
            f"{int(stored)}, this one reads {SCHEMA}); upgrade, or point it at another database"
        )


async def _check_cluster(redis: Connection) -> None:
    if redis.primary is None or not redis.primary.clustered:
        raise SettingsError(
            "`CACHESERVER_REDIS_URL`: the server is a node of a cluster; write "
            "redis+cluster://host:port,host:port with some of its nodes"
        )
    state = await command(redis, "CLUSTER INFO")
    if int(state["cluster_slots_assigned"]) != SLOTS:
        raise SettingsError(
            f"`CACHESERVER_REDIS_URL`: {state['cluster_slots_assigned']} of the cluster's {SLOTS} "
            "slots are assigned to a node; see `redis-cli --cluster check` and `--cluster fix`"
        )
    if state["cluster_state"] != "ok":
        raise StoreError("the cluster is down: too few of its nodes are")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
