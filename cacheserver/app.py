"""The ASGI application, and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI

from cacheserver import bootstrap
from cacheserver.api import docs_page, errors, openapi, routes, simulated_label
from cacheserver.api.access_log import AccessLog
from cacheserver.api.admin_access import Admins
from cacheserver.api.components import Components
from cacheserver.api.dependencies import Gate
from cacheserver.api.page_session import PageAccess
from cacheserver.api.recent_queries import RecentQueries
from cacheserver.api.resources.operations.checks import all_checks
from cacheserver.api.server import address
from cacheserver.api.server.connections import Connections
from cacheserver.api.server.cors import Cors
from cacheserver.api.server.first_worker import FromOtherWorkers, ToFirstWorker
from cacheserver.api.server.limits import Limits, within_files
from cacheserver.api.server.protocol import ServerConfig
from cacheserver.api.slowdown import Slowdown
from cacheserver.api.state import AppState
from cacheserver.config import settings as config
from cacheserver.config.otel import otel
from cacheserver.config.settings import Settings
from cacheserver.core.request_context import Observer
from cacheserver.core.single_flight import end
from cacheserver.observability import logs
from cacheserver.observability.live_feed import LiveFeed
from cacheserver.observability.merged_metrics import Families
from cacheserver.observability.server_counts import CHECKS, FAMILIES, ServerCounts, Worker
from cacheserver.storage.build import StoreServer
from cacheserver.tenants.admin_keys import AdminKeys
from cacheserver.tenants.audit_trail import AuditTrail
from cacheserver.tenants.page_sessions import PageSessions

logger = logging.getLogger(__name__)

# How long streams may go on after SIGTERM: what orchestrators wait by default before they kill.
DRAIN_S = 25
# A connection nobody uses is the client's to close: httpx (and so the anthropic SDK) keeps one for
# 5 s, load balancers for 60. Closed here first, a request that is just being sent on it is lost.
KEEP_ALIVE_S = 75
_YOUNG_OBJECTS = 10_000  # about 1 MB


def create_app(
    parts: Components,
    settings: Settings,
    *,
    slowdown: Slowdown | None = None,
    gate: Gate | None = None,
    worker: Worker | None = None,
) -> FastAPI:
    """The application over parts that run already. `gate` admits callers in place of keys.

    `worker`: this process is one of several of a command.
    """
    limits = parts.capabilities.budgets
    gate = gate or Gate(
        parts.tenants,
        credentials=settings.credentials,
        admin_key=config.admin_key(settings),
        limits=None if limits is None else limits.rate_limits,
        slowdown=slowdown,
        origins=settings.cors_origins,
        peers=parts.host.peers,
    )
    app = FastAPI(
        title="cacheserver",
        description="A semantic response cache for Claude. `/v1/messages` is the Anthropic API.",
        docs_url=None,  # ours asks no other host
        redoc_url=None,
        redirect_slashes=False,  # another path is another path
        # Its own spans hold paths and queries, and those may hold what somebody typed.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    admins = _admins(parts, config.admin_key(settings))
    recent = RecentQueries(settings.hot_bytes // 2)
    parts.host.answers.memories.append(recent.forget)
    parts.metrics.gauges.watch_memory("requests", lambda: recent.size)
    parts.metrics.gauges.watch_memory("answers", lambda: parts.entries.entries.hot.size)
    counts = ServerCounts(parts.metrics, worker)
    state = AppState(
        parts,
        gate,
        settings.max_body_bytes,
        settings.store_wait_s,
        recent,
        admins,
        live=LiveFeed(counts.snapshot, parts.clock),
        counts=counts,
        worker=worker,
        simulated=settings.upstream == "simulated",
    )
    app.state.app_state = state
    observers = list(parts.observers)
    _follow_settings(parts, state, observers)
    errors.install(
        app,
        slowdown=gate.slowdown,
        failed=parts.metrics.refused,
        observers=observers,
        hot=routes.HOT,
        admins=admins,
        gate=gate,
    )
    if settings.upstream == "simulated":
        app.add_middleware(simulated_label.Simulated)
    if settings.cors_origins:
        app.add_middleware(Cors, origins=settings.cors_origins)
    routes.install(app, parts.off)
    openapi.install(app, [route for one in routes.RESOURCES for route in one.routes], off=parts.off)
    docs_page.install(app)
    return app


def _admins(parts: Components, admin_key: str | None) -> Admins:
    """The named admin keys, the page's sessions and the audit trail, in the server's store."""
    store, swallowed = parts.host.store, parts.metrics.swallowed
    peers = parts.host.peers
    keys = AdminKeys(
        store.redis,
        prefix=store.prefix,
        now=parts.clock,
        swallowed=swallowed,
        told=peers.everywhere,
    )

    async def forget(_: Sequence[str]) -> None:
        keys.forget()

    async def anew() -> None:
        if not store.redis.recent.unsure:  # else nothing can be read; it is called again then
            keys.forget()

    peers.listen("adminkeys", forget, anew=anew)
    page = PageAccess(
        PageSessions(store.redis, prefix=store.prefix, now=parts.clock),
        admin_keys=keys,
        keys=parts.tenants,
        admin_key=admin_key,
    )
    trail = AuditTrail(store.redis, prefix=store.prefix)
    return Admins(keys, trail, page, parts.clock, swallowed, peers.trust)


async def run(
    settings: Settings,
    store: StoreServer,
    listener: socket.socket,
    *,
    announce: Callable[[str], None],
    worker: Worker | None = None,
) -> None:
    """Build the server over the store and serve on `listener`, as `serving.serve` says.

    A `worker` listens once all of its command are ready.
    """
    number = 0 if worker is None else worker.number
    async with bootstrap.build(settings, server=store, otel=otel(), worker=number) as parts:
        app = create_app(parts, settings, worker=worker)
        await app.state.app_state.gate.refuse_open_bind(settings.host)
        connections = Connections(limits_of(settings), parts.metrics.connection_closed)
        parts.metrics.gauges.watch_connections(lambda: len(connections))
        sockets = [listener]
        if worker is not None:
            _join_workers(app, worker, sockets)
        server = _Server(ServerConfig(app, connections, timeout_graceful_shutdown=DRAIN_S))
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, server.handle_exit, signum, None)
        lines = list(_greeting(settings, parts, listener))
        if worker is not None and not await worker.ready(lines, parts.entries.restored):
            return
        address.listen(listener)  # who reads the address may connect at once
        for line in lines:
            announce(line)
        loading = asyncio.create_task(_load(parts), name="upstream:load")
        collect_rarely()
        try:
            await server.serve(sockets=sockets)
        finally:
            await end(loading)
    if worker is not None:
        worker.ended(app.state.app_state.counts.own())


def _join_workers(app: FastAPI, worker: Worker, sockets: list[socket.socket]) -> None:
    """Answer what other workers ask this one; let the first answer what only one can."""
    state: AppState = app.state.app_state
    if worker.number == 0:
        inner = socket.socket(socket.AF_UNIX)
        worker.place.unlink(missing_ok=True)  # of one that was killed
        inner.bind(str(worker.place))
        inner.listen()
        sockets.append(inner)
        app.add_middleware(FromOtherWorkers)
    else:
        app.add_middleware(ToFirstWorker, place=worker.place)

    async def families() -> Families:
        return state.counts.own()

    async def checks() -> list[dict[str, Any]]:
        return await all_checks(state.parts)

    worker.reply(FAMILIES, families)
    worker.reply(CHECKS, checks)


def collect_rarely() -> None:
    """Make collections of garbage cheap for a process whose parts are built.

    What was imported and built stays to the end: a collection that looked through it would stop all
    requests for 150 ms. A young generation of 700 objects, the default, is full of requests under
    way: with 64 clients half of it survives, and full collections are soon due.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
    gc.enable()


async def _load(parts: Components) -> None:
    """Import what only calls to Claude need, once similar questions are found."""
    await parts.entries.restored.wait()
    await parts.upstream.load()
    gc.freeze()  # the SDK too stays to the end: 40 MB that a collection would look through


def limits_of(settings: Settings) -> Limits:
    """The bounds of connections, as set."""
    return Limits(
        connections=within_files(settings.max_connections),
        per_address=settings.max_connections_per_address,
        head_s=settings.header_timeout_s,
        body_s=settings.body_timeout_s,
        reader_s=settings.reader_timeout_s,
        keep_alive_s=KEEP_ALIVE_S,
    )


def _follow_settings(parts: Components, state: AppState, observers: list[Observer]) -> None:
    """Put live settings of the application into force, now and whenever one changes.

    `observers` are those of requests: an empty list costs nothing.
    """
    access_log = AccessLog()
    level = parts.live.settings.base.log_level  # set by the command, as logging is

    def use(settings: Settings) -> None:
        nonlocal level
        state.max_body_bytes, state.store_wait_s = settings.max_body_bytes, settings.store_wait_s
        wanted = settings.access_log
        logged = wanted == "on" or (wanted == "auto" and settings.log_format == "json")
        observers[:] = [*parts.observers, *((access_log,) if logged else ())]
        if settings.log_level != level:
            level = settings.log_level
            logs.set_level(level)

    parts.live.settings.listen(use)


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn raises them again, and the store would stay behind."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _greeting(settings: Settings, parts: Components, listener: socket.socket) -> Iterator[str]:
    """Yield the lines that a user reads at the start."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    yield f"Listening on http://{shown}:{port}"
    yield f"Admin page: http://{shown}:{port}/admin"
    for repair in parts.repairs:
        yield f"The store was repaired: {repair}"
    if settings.upstream == "simulated":
        yield "A SIMULATED Claude answers. Its answers are made up (x-upstream: simulated)."
    else:
        choice = config.resolve_upstream(settings)
        keys = "the callers' own keys" if settings.credentials == "caller" else "the server's key"
        if choice.cloud is not None:
            keys = "this machine's credentials"
        yield f"Misses are sent to {choice.base_url}, with {keys}."
