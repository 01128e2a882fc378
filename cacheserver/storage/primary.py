"""The primary of a store with replicas: found, followed, and left when another takes over.

Rule: Sentinels are believed only if most of them answer, and are asked again every second: a server
that is cut off with an old primary stops using it. A node of a cluster that is cut off stops by
itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias
from weakref import WeakSet

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as ConnectionLost

from cacheserver.core.single_flight import end
from cacheserver.storage import primary_views
from cacheserver.storage.closed_connections import close_at_once, known
from cacheserver.storage.node_url import Address, NodeUrl
from cacheserver.storage.primary_views import Unsettled, View

logger = logging.getLogger(__name__)

_ANSWER_S: Final = 1.0  # of one Sentinel or node
_FRESH_S: Final = 0.05  # what was found is found again for so long: many connections open at once
_WATCH_S: Final = 1.0
_WATCHES: Final = 2  # that failed, after which the primary is no longer trusted
_MOST: Final = 9  # asked at once
_GRACE_S: Final = 0.05  # for the others once most have answered: one of them may know better

# Replies of a node that is not the one to ask: it was not, or is no longer, the primary.
ELSEWHERE: Final = (MovedError, ReadOnlyError, ClusterDownError, MasterDownError)
# Replies while a slot is moved key by key: scripts find some of their keys only.
_MOVING: Final = (AskError, TryAgainError)
_MOVING_TEXT: Final = "non local key"

Ask: TypeAlias = Callable[["Redis", Address], Awaitable[View]]


def is_elsewhere(error: BaseException, connection: AbstractConnection) -> bool:
    """Return whether a reply says that another server is to be asked. If so, it will be found."""
    found = isinstance(error, (*ELSEWHERE, *_MOVING)) or (
        isinstance(error, ResponseError) and _MOVING_TEXT in str(error)
    )
    if found and isinstance(connection, ToPrimary):
        connection.primary.doubt()
    return found


class Primary:
    """Finder of the primary that `url` leads to, and keeper of the connections to it."""

    def __init__(self, url: NodeUrl, arguments: dict[str, Any], *, prefix: str) -> None:
        """`arguments` are redis-py's for the files of TLS."""
        self.address: Address | None = None  # as of the last look
        self.generation = 0  # counts how often the data became those of another server
        self.history = b""  # Redis' name for what the primary has replicated, and its ancestors
        self._url = url
        self._arguments = arguments
        self._slot = primary_views.slot_of(prefix)
        self._asked: dict[Address, Any] = {}  # clients; their methods are not typed
        self._known: tuple[Address, ...] = url.hosts
        self._connections: WeakSet[AbstractConnection] = WeakSet()
        self._looking: asyncio.Task[Address] | None = None
        self._looked_at = float("-inf")
        self._watching: asyncio.Task[None] | None = None

    @property
    def clustered(self) -> bool:
        return self._url.kind == "cluster"

    async def locate(self) -> Address:
        """Return where the primary is now. Raises `NoPrimary`."""
        if self.address is not None and time.monotonic() - self._looked_at < _FRESH_S:
            return self.address
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="store:locate")
            self._looking.add_done_callback(self._looked)
        # Who leaves does not end the look of others.
        return await asyncio.shield(self._looking)

    def use(self, connection: AbstractConnection) -> None:
        """Keep a connection that was opened, to close it when another primary takes over."""
        self._connections.add(connection)
        if self._watching is None and not self.clustered:
            self._watching = asyncio.create_task(self._watch(), name="store:sentinels")

    def follow(self, history: bytes) -> None:
        """Note the history that a connection leads to, and close those to another one."""
        if history != self.history:
            self.generation += bool(self.history)  # the first is where this server begins
            self.history = history
            for one in list(self._connections):
                if isinstance(one, ToPrimary) and one.history not in (b"", history):
                    one.abort()

    def doubt(self) -> None:
        """Note that a server said that it is not the one to ask."""
        self._looked_at = float("-inf")

    async def close(self) -> None:
        """Stop watching, and close what was asked. May be called twice."""
        try:
            for task in (self._watching, self._looking):
                if task is not None:
                    await end(task)
            for client in list(self._asked.values()):
                await client.aclose()
        finally:
            self.abort()

    def abort(self) -> None:
        """Do what `close` does without waiting for it."""
        for task in (self._watching, self._looking):
            if task is not None:
                task.cancel()
        self._watching = None
        clients, self._asked = self._asked, {}
        for client in clients.values():
            close_at_once(client.connection_pool)

    def _looked(self, task: asyncio.Task[Address]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # seen: all who waited may have left

    async def _look(self) -> Address:
        views, problem = await self._views()
        if not views:
            raise NoPrimary(problem)
        needed = 1 if self.clustered else max(one.voters for one in views) // 2 + 1
        if len(views) < needed:
            total = max(one.voters for one in views)
            raise NoPrimary(Unsettled(f"{len(views)} of {total} Sentinels answer, too few"))
        if any(one.moving for one in views):
            raise NoPrimary(Unsettled("the slot of our keys is being moved to another node"))
        found = primary_views.newest(views)
        self._known = tuple(dict.fromkeys((*self._known, *found.others)))
        self._looked_at = time.monotonic()
        if found.primary != self.address:
            self.address = found.primary
            self._leave(found.primary)
        return found.primary

    async def _views(self) -> tuple[list[View], Unsettled]:
        """Ask all at once. Return the answers, one of each voter, soon after most have answered."""
        tasks = {
            asyncio.create_task(self._ask(one), name="store:ask") for one in self._known[:_MOST]
        }
        views: dict[str, View] = {}
        problem = Unsettled("none of its hosts answers")
        left, waits = tasks, False
        try:
            async with asyncio.timeout(_ANSWER_S) as limit:
                while left:
                    done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        match task.result():
                            case View() as view:
                                views[view.voter] = view
                            case Unsettled() as found:
                                problem = found
                    if len(views) > len(tasks) // 2 and not waits:
                        waits = True
                        limit.reschedule(asyncio.get_running_loop().time() + _GRACE_S)
        except TimeoutError:
            pass
        finally:
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)
        return list(views.values()), problem

    async def _ask(self, at: Address) -> View | Unsettled | None:
        """Ask one; None if it does not answer."""
        client = self._asked.get(at)
        if client is None:
            client = self._asked[at] = self._client(at)
        try:
            if self.clustered:
                return await self._ask_node(client, at)
            return await self._ask_sentinel(client)
        except Unsettled as error:
            return error
        except (ResponseError, AuthenticationError) as error:
            return _refusal(error, self._url)
        except (RedisError, OSError, TimeoutError, ValueError, KeyError, IndexError):
            return None

    async def _ask_node(self, client: Any, at: Address) -> View:
        nodes = await client.execute_command("CLUSTER", "NODES")
        return primary_views.of_node(nodes, slot=self._slot, asked=at, by_name=self._url.tls)

    async def _ask_sentinel(self, client: Any) -> View:
        name = self._url.service
        pipeline = client.pipeline(transaction=False)
        pipeline.execute_command("SENTINEL", "MYID")
        pipeline.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        pipeline.execute_command("SENTINEL", "MASTER", name)
        pipeline.execute_command("SENTINEL", "SENTINELS", name)
        return primary_views.of_sentinel(*await pipeline.execute())

    def _client(self, at: Address) -> Any:
        client: Any = Redis.from_url(
            self._url.voter_url(at),
            protocol=2,
            decode_responses=True,
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            retry=Retry(NoBackoff(), 0),
            **self._arguments,
        )
        pool = client.connection_pool
        pool.connection_class = known(pool.connection_class)
        client.response_callbacks.clear()
        return client

    async def _watch(self) -> None:
        failed = 0
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                await self.locate()
                failed = 0
            except Exception as error:  # the task boundary: it is asked again
                failed += 1
                if not isinstance(error, NoPrimary):
                    logger.error("asking for the primary failed: %s", type(error).__name__)
            if failed == _WATCHES:
                self.address = None
                self._leave(None)

    def _leave(self, address: Address | None) -> None:
        """Close the connections that are not to `address`."""
        for one in list(self._connections):
            if isinstance(one, ToPrimary) and one.address != address:
                one.abort()


class NoPrimary(ConnectionLost):
    """Raised when there is no primary to connect to, or nobody who says where it is."""

    def __init__(self, found: Unsettled) -> None:
        super().__init__(found.why)
        self.why, self.passing = found.why, found.passing


class ToPrimary(AbstractConnection):
    """Connection to the primary, wherever it is when it is opened."""

    host: str
    port: int

    def __init__(self, *, primary: Primary, **options: Any) -> None:
        super().__init__(**options)
        self.primary = primary
        self.history = b""
        self._opened: asyncio.Transport | None = None

    @property
    def address(self) -> Address:
        return self.host, self.port

    def abort(self) -> None:
        if self._opened is not None:
            self._opened.abort()

    async def _connect(self) -> None:
        self.history = b""
        self.host, self.port = await self.primary.locate()
        await super()._connect()  # type: ignore[safe-super, no-untyped-call]
        writer = self._writer
        assert writer is not None
        self._opened = writer.transport  # type: ignore[assignment]
        self.primary.use(self)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.send_command("INFO", "replication", check_health=False)
        found = await self.read_response()
        if b"role:master" not in found:
            raise NoPrimary(Unsettled("the server that should be the primary is a replica"))
        self.history = found.partition(b"master_replid:")[2].split(maxsplit=1)[0]
        self.primary.follow(self.history)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except RedisError as error:
            if is_elsewhere(error, self):
                await self.disconnect(nowait=True)
            raise


class _Plain(ToPrimary, Connection):
    pass


class _OverTls(ToPrimary, SSLConnection):
    pass


def connection_class(url: NodeUrl) -> type[AbstractConnection]:
    return _OverTls if url.tls else _Plain


def _refusal(error: RedisError, url: NodeUrl) -> Unsettled | None:
    """Explain what a Sentinel or a node refuses; None if it may answer later."""
    text = str(error)
    if "No such master" in text:
        why = f"the Sentinels know no service `{url.service}`; see `SENTINEL MASTERS`"
        return Unsettled(why, passing=False)
    if "unknown command" in text and url.kind == "sentinel":
        why = "there is no Sentinel, but a Redis; name the ports of the Sentinels (26379)"
        return Unsettled(why, passing=False)
    if "cluster support disabled" in text:
        return Unsettled("the server is no node of a cluster; use redis://", passing=False)
    if "NOAUTH" in text or "WRONGPASS" in text or "invalid" in text:
        whose = "the Sentinels" if url.kind == "sentinel" else "the nodes"
        why = f"{whose} do not accept the name and password (`sentinel_password` for Sentinels)"
        return Unsettled(why, passing=False)
    if "NOPERM" in text or "no permissions" in text:
        return Unsettled(
            "the user may not ask where the primary is: docs/running.md", passing=False
        )
    return None
