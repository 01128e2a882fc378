"""Servers that hold vector sets: one Redis 8, or a cluster of them.

No other module sees redis exceptions: each method raises `StoreError`. `check` raises
`SettingsError` where the operator must act.

The connections are not the store's: a search takes a millisecond of its connection, and what was
sent after it on the same one would wait.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.exceptions import RedisClusterException

from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.storage import connection, node_url, redis_url
from cacheserver.storage.connection import store_errors
from cacheserver.storage.primary_views import SLOTS
from cacheserver.storage.redis_url import Tls

Word: TypeAlias = str | bytes | float

_SETTING = "`CACHESERVER_INDEX_REDIS_URL`"
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
    """A single Redis 8, or the primary that Sentinels know."""

    def __init__(self, url: str, *, tls: Tls | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        """Raises `SettingsError` for an invalid URL."""
        self._client = connection.connect(
            url, tls=tls, timeout_s=timeout_s, max_connections=_MOST_CONNECTIONS
        )
        pool = self._client.connection_pool
        self._redis: Any = Redis(connection_pool=pool)  # its methods are not typed
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
        await self._client.aclose()


class ClusterServer:
    """A cluster of Redis 8. The client learns its nodes from any that answers."""

    def __init__(self, url: str, *, tls: Tls | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        """Raises `SettingsError` for an invalid URL."""
        self._cluster = RedisCluster(
            **_cluster_arguments(url, tls),
            protocol=2,
            require_full_coverage=False,  # `check` says what is lacking
            decode_responses=False,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        self._timeout_s = timeout_s
        # By node. redis-py would refuse a command beyond its own limit instead of letting it wait.
        self._room = defaultdict[str, asyncio.Semaphore](
            lambda: asyncio.Semaphore(_MOST_CONNECTIONS)
        )
        # Replies as they came, but for what redis-py asks for itself.
        parsed = self._cluster.response_callbacks
        for name in [one for one in parsed if not one.startswith(("COMMAND", "CLUSTER"))]:
            del parsed[name]

    async def run(self, key: str, *words: Word) -> Any:
        with _cluster_errors():
            node = await self._node(key)
            room = self._room[node.name]
            async with asyncio.timeout(self._timeout_s):
                await room.acquire()
            try:
                return await self._cluster.execute_command(*words, target_nodes=node)
            except AttributeError:  # redis-py is sent to a node (ASK) that it does not know
                self._cluster._initialize = True  # the next command learns the nodes again
                raise StoreError("the index's cluster has a new node") from None
            finally:
                room.release()

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
        if int(state["cluster_slots_assigned"]) != SLOTS:
            raise SettingsError(
                f"{_SETTING}: not all 16384 slots of the cluster are assigned to a node; see "
                "`redis-cli --cluster check`"
            )

    async def close(self) -> None:
        try:
            await self._cluster.aclose()
        finally:  # as for the pools of `storage.closed_connections`
            nodes = self._cluster.nodes_manager
            for node in (*nodes.startup_nodes.values(), *nodes.nodes_cache.values()):
                for one in node._connections:
                    one._close()  # type: ignore[no-untyped-call]

    async def _node(self, key: str) -> ClusterNode:
        await self._cluster.initialize()
        for node in self._cluster.nodes_manager.nodes_cache.values():
            if not isinstance(node._free, _LastUsedFirst):
                node._free = _LastUsedFirst(node._free)
        slot = self._cluster.keyslot(key)
        return self._cluster.nodes_manager.get_node_from_slot(slot)


class _LastUsedFirst(deque[Connection]):
    """Free connections of a node. redis-py takes the one that it used the longest ago, and so sends
    `ASKING` on another than the command that it is for, which the node then refuses.
    """

    def popleft(self) -> Connection:
        return self.pop()


def open_server(url: str, *, tls: Tls | None = None, timeout_s: float = _TIMEOUT_S) -> IndexServer:
    """Return the server at a URL; it connects on first use. Raises `SettingsError`.

    `timeout_s`: how long a command may take.
    """
    try:
        if url.partition("://")[0] in node_url.CLUSTER:
            return ClusterServer(url, tls=tls, timeout_s=timeout_s)
        return OneServer(url, tls=tls, timeout_s=timeout_s)
    except SettingsError as error:  # the names of the store's own setting do not help
        raise SettingsError(str(error).replace("`CACHESERVER_REDIS_URL`", _SETTING)) from None


def _cluster_arguments(url: str, tls: Tls | None) -> dict[str, Any]:
    """Return redis-py's arguments: the nodes, who asks, and whether over TLS."""
    redis_url.check_url(url)
    nodes = node_url.parse(url)
    files = redis_url.tls_arguments(tls) if tls is not None and nodes.tls else {}
    who = urlsplit(nodes.voter_url(nodes.hosts[0]))
    return {
        "startup_nodes": [ClusterNode(*one) for one in nodes.hosts],
        "ssl": nodes.tls,
        "username": unquote(who.username) if who.username else None,
        "password": unquote(who.password) if who.password else None,
        **files,
    }


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
