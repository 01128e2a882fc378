"""Servers that hold vector sets: one Redis 8, or a cluster of them.

No other module sees redis exceptions: each method raises `StoreError`. `check` raises
`SettingsError` where the operator must act.

The connections are not the store's: a search takes a millisecond of its connection, and what was
sent after it on the same one would wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisClusterException

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.storage import connection
from cacheserver.storage.connection import store_errors
from cacheserver.storage.redis_url import Tls

Word: TypeAlias = str | bytes | float

_SETTING = "`CACHESERVER_INDEX_REDIS_URL`"
_CLUSTER = ("redis+cluster", "rediss+cluster")
_SLOTS = 16_384  # of a cluster
_TIMEOUT_S = 2.0  # of one command; a search waits less (`VectorSets`)
_MOST_CONNECTIONS = 32
_TOO_OLD = (
    "`CACHESERVER_INDEX`: {} has no vector sets, which Redis 8 and later have. Name such a "
    "server or cluster in `CACHESERVER_INDEX_REDIS_URL`, or set `CACHESERVER_INDEX` to `faiss`"
)


class IndexServer(Protocol):
    """Runs commands where a key is."""

    async def run(self, key: str, *words: Word) -> Any:
        """Run one command on the node of `key`; return the reply as it came."""

    async def run_all(self, key: str, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Run commands on the node of `key`, in order and in one round trip."""

    async def check(self) -> None:
        """Check that vector sets can be kept here."""

    async def close(self) -> None: ...


class OneServer:
    """A single Redis 8."""

    def __init__(self, url: str, *, tls: Tls | None = None) -> None:
        """Raises `SettingsError` for an invalid URL."""
        pool = connection.connect(
            url, tls=tls, timeout_s=_TIMEOUT_S, max_connections=_MOST_CONNECTIONS
        ).connection_pool
        self._redis: Any = Redis(connection_pool=pool)  # its methods are not typed
        self._redis.auto_close_connection_pool = True
        self._redis.response_callbacks.clear()

    async def run(self, key: str, *words: Word) -> Any:
        with store_errors():
            return await self._redis.execute_command(*words)

    async def run_all(self, key: str, commands: Sequence[Sequence[Word]]) -> list[Any]:
        with store_errors():
            pipeline = self._redis.pipeline(transaction=False)
            for words in commands:
                pipeline.execute_command(*words)
            replies: list[Any] = await pipeline.execute()
            return replies

    async def check(self) -> None:
        with store_errors():
            found = await self._redis.execute_command("COMMAND", "INFO", "VADD")
            info = await self._redis.execute_command("INFO", "server")
            cluster = await self._redis.execute_command("INFO", "cluster")
        if not any(found):
            raise SettingsError(_TOO_OLD.format(_named(info)))
        if b"cluster_enabled:1" in cluster:
            raise SettingsError(
                f"{_SETTING}: the server is a node of a cluster; write "
                "`redis+cluster://host:port,host:port` with some of its nodes"
            )

    async def close(self) -> None:
        await self._redis.aclose()


class ClusterServer:
    """A cluster of Redis 8. The client learns its nodes from any that answers."""

    def __init__(self, url: str) -> None:
        """Raises `SettingsError` for an invalid URL."""
        self._cluster = RedisCluster(
            **_cluster_arguments(url),
            protocol=2,
            require_full_coverage=False,  # `check` says what is lacking
            decode_responses=False,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            max_connections=_MOST_CONNECTIONS,
        )
        # Replies as they came, but for what redis-py asks for itself.
        parsed = self._cluster.response_callbacks
        for name in [one for one in parsed if not one.startswith(("COMMAND", "CLUSTER"))]:
            del parsed[name]

    async def run(self, key: str, *words: Word) -> Any:
        with _cluster_errors():
            node = await self._node(key)
            return await self._cluster.execute_command(*words, target_nodes=node)

    async def run_all(self, key: str, commands: Sequence[Sequence[Word]]) -> list[Any]:
        # One after the other: a pipeline of redis-py's is sent anew as a whole after a failover.
        return [await self.run(key, *words) for words in commands]

    async def check(self) -> None:
        with _cluster_errors():
            await self._cluster.initialize()
            nodes = self._cluster.get_primaries()
            state = await self._cluster.execute_command("CLUSTER INFO", target_nodes=nodes[0])
            found = [
                await self._cluster.execute_command("COMMAND INFO", "VADD", target_nodes=node)
                for node in nodes
            ]
        if not all(any(one) for one in found):
            raise SettingsError(_TOO_OLD.format("a node of the cluster"))
        if int(state["cluster_slots_assigned"]) != _SLOTS:
            raise SettingsError(
                f"{_SETTING}: not all 16384 slots of the cluster are assigned to a node; see "
                "`redis-cli --cluster check`"
            )

    async def close(self) -> None:
        await self._cluster.aclose()

    async def _node(self, key: str) -> ClusterNode:
        await self._cluster.initialize()
        slot = self._cluster.keyslot(key)
        return self._cluster.nodes_manager.get_node_from_slot(slot)


def open_server(url: str, *, tls: Tls | None = None) -> IndexServer:
    """Return the server at a URL; it connects on first use. Raises `SettingsError`."""
    if urlsplit(url).scheme in _CLUSTER:
        return ClusterServer(url)
    try:
        return OneServer(url, tls=tls)
    except SettingsError as error:  # the names of the store's own setting do not help
        raise SettingsError(str(error).replace("`CACHESERVER_REDIS_URL`", _SETTING)) from None


def _cluster_arguments(url: str) -> dict[str, Any]:
    """Return redis-py's arguments: the nodes, who asks, and whether over TLS."""
    parts = urlsplit(url)
    who, _, nodes = parts.netloc.rpartition("@")
    user, _, password = who.partition(":")
    found = []
    for node in nodes.split(","):
        try:
            one = urlsplit(f"redis://{node}")
            if not one.hostname:
                raise ValueError
            found.append(ClusterNode(one.hostname, one.port or 6379))
        except ValueError:  # its text may hold a part of a password
            raise SettingsError(
                f"{_SETTING}: write a cluster as `redis+cluster://host:port,host:port`"
            ) from None
    given: dict[str, Any] = {"startup_nodes": found, "ssl": parts.scheme == "rediss+cluster"}
    if password:
        given["password"] = unquote(password)
    if user:
        given["username"] = unquote(user)
    return given


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Convert what redis-py raises; of a cluster that is no subclass of its other errors."""
    with store_errors():
        try:
            yield
        except (RedisClusterException, KeyError, IndexError) as error:  # no nodes are known
            raise StoreError(f"the index's cluster failed: {type(error).__name__}") from None


def _named(info: Any) -> str:
    """Name a server by what `INFO server` says."""
    lines = dict(
        line.partition(":")[::2] for line in _bytes(info).decode(errors="replace").split("\r\n")
    )
    if version := lines.get("valkey_version"):
        return f"Valkey {version}"
    return f"Redis {lines.get('redis_version', '')}".strip()


def _bytes(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else str(reply).encode()
