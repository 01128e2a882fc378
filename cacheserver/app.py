"""The ASGI application, and the process that serves it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from cacheserver import config, wire
from cacheserver.api import admin, errors, messages, ops, query
from cacheserver.api.deps import Gate
from cacheserver.api.edge import Edge
from cacheserver.config import Settings


def create_app(settings: Settings, *, clock: Callable[[], float] = time.time) -> FastAPI:
    """The application; its parts start and stop with its lifespan. `clock` is Unix time."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with wire.build(settings, clock=clock) as parts:
            gate = Gate(
                parts.tenants,
                credentials=settings.credentials,
                admin_key=config.admin_key(settings),
            )
            app.state.edge = Edge(parts, gate, settings.max_body_bytes)
            yield

    app = FastAPI(
        title="cacheserver",
        description="A semantic response cache for Claude. `/v1/messages` is the Anthropic API.",
        lifespan=lifespan,
        redoc_url=None,
    )
    errors.install(app)
    app.add_middleware(errors.Stamp, simulated=settings.upstream == "simulated")
    # The hot paths are plain routes: FastAPI's parsing costs 25 us a request (facts, engines Q3).
    app.add_route("/v1/messages", messages.create, methods=["POST"])
    app.add_route("/v1/messages/count_tokens", messages.forward, methods=["POST"])
    app.add_route("/v1/models", messages.forward, methods=["GET"])
    app.add_route("/v1/models/{id:path}", messages.forward, methods=["GET"])
    for router in (query.router, ops.router, admin.router):
        app.include_router(router)
    return app
