"""Parts made from settings alone. Each raises `SettingsError` for what an operator must change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from cacheserver.alerts.smtp import MailServer
from cacheserver.claude.circuit_breaker import CircuitBreaker
from cacheserver.claude.upstream import Upstream
from cacheserver.config import settings as config
from cacheserver.config.otel import OtelChoice
from cacheserver.config.settings import Settings, UpstreamChoice
from cacheserver.core.errors import SettingsError, StoreError
from cacheserver.core.types import Bar, Tenant
from cacheserver.index.errors import IndexingError
from cacheserver.index.models import OnnxEmbedder
from cacheserver.observability.metrics import Metrics
from cacheserver.simulated import SimulatedSettings, serve_simulated
from cacheserver.storage import connection
from cacheserver.storage.connection import Connection
from cacheserver.storage.embedded.store import EmbeddedStore
from cacheserver.storage.sealing import data_keys
from cacheserver.storage.sealing.data_keys import DataKeys
from cacheserver.storage.sealing.sealer import Sealer

if TYPE_CHECKING:  # the SDK is an extra, and takes its time to load
    from cacheserver.observability.otel.start import Telemetry

_STORE_WAIT_S = 10.0  # for a user's Redis that starts beside us


def defaults(settings: Settings) -> Tenant:
    """What holds for a tenant that nothing was set for."""
    return Tenant(
        name="default",
        default_ttl_s=settings.default_ttl_s,
        max_ttl_s=settings.max_ttl_s,
        bar=Bar(
            similarity=settings.similarity,
            target=None if settings.similarity is not None else settings.target,
            top_k=settings.top_k,
        ),
    )


def mail(settings: Settings) -> MailServer | None:
    """The operator's mail server, where alerts may go by mail."""
    if settings.smtp_host is None:
        return None
    if settings.smtp_from is None:
        raise SettingsError("`CACHESERVER_SMTP_FROM`: mail needs an address to come from")
    password = settings.smtp_password
    return MailServer(
        settings.smtp_host,
        settings.smtp_from,
        settings.smtp_port,
        settings.smtp_user,
        None if password is None else password.get_secret_value(),
        settings.smtp_security,
    )


def embedder(settings: Settings) -> OnnxEmbedder:
    folder = settings.model_dir or settings.data_dir / "model"
    try:
        return OnnxEmbedder(folder)
    except IndexingError as error:
        raise SettingsError(
            f"`CACHESERVER_MODEL_DIR`: {error}. Make the model once with "
            f"`python -m cacheserver.index.export --to {folder}` (needs the `models` extra)"
        ) from error


async def store(settings: Settings, stack: AsyncExitStack) -> tuple[str, EmbeddedStore | None]:
    """The URL of the store, and the store itself where it is ours, started."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value(), None
    store = EmbeddedStore(settings.data_dir)
    stack.push_async_callback(store.stop)
    return await store.start(), store


async def sealer(redis: Connection, settings: Settings, metrics: Metrics) -> Sealer:
    """Return the sealer, its keys read. Raises `SettingsError` where they do not fit."""
    masters = await asyncio.to_thread(config.masters, settings)
    if masters is None:
        if not settings.encryption_give_up:
            await data_keys.refuse_sealed(redis, prefix=settings.redis_prefix)
        return Sealer(unreadable=metrics.unreadable)
    keys = DataKeys(redis, prefix=settings.redis_prefix, masters=masters)
    found = Sealer(keys, unreadable=metrics.unreadable)
    await found.start()
    return found


async def wait_for_store(redis: Connection, settings: Settings, url: str) -> None:
    """Return once Redis answers and may be used. It may be starting beside us."""
    deadline = time.monotonic() + _STORE_WAIT_S
    while True:
        try:
            await connection.check_reachable(redis, url)
            return await connection.check_server(redis, prefix=settings.redis_prefix)
        except StoreError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


def telemetry(choice: OtelChoice | None, dropped: Callable[[str, int], None]) -> Telemetry | None:
    """OpenTelemetry, where it is asked for; None, and nothing imported, where not."""
    if choice is None:
        return None
    try:
        from cacheserver.observability.otel.start import start
    except ModuleNotFoundError as missing:
        raise SettingsError(
            f"`{choice.asked_by}` asks for OpenTelemetry, and {missing.name} is not installed; "
            "pip install 'cacheserver[server,otel]', or set `OTEL_SDK_DISABLED=true`"
        ) from None
    return start(choice, dropped)


async def upstream(
    settings: Settings,
    choice: UpstreamChoice,
    stack: AsyncExitStack,
    metrics: Metrics,
    make: Callable[..., Upstream] = Upstream,
) -> Upstream:
    key = settings.anthropic_api_key.get_secret_value() if settings.anthropic_api_key else None
    if choice.base_url is None:
        base_url, key = (
            await stack.enter_async_context(serve_simulated(SimulatedSettings())),
            "simulated",
        )
    else:
        base_url = choice.base_url
    upstream = make(
        base_url=base_url,
        api_key=None if settings.credentials == "caller" else key,
        name=choice.name,
        max_concurrent=settings.max_concurrent,
        max_waiting=settings.max_waiting,
        timeout_s=settings.timeout_s,
        retries=settings.retries,
        retry_wait_s=settings.retry_wait_s,
        max_wait_s=settings.max_wait_s,
        breaker=CircuitBreaker(
            share=settings.breaker_share,
            least=settings.breaker_calls,
            open_s=settings.breaker_open_s,
            told=metrics.upstream_event,
        ),
        told=metrics.upstream_event,
    )
    metrics.gauges.watch_upstream(
        in_flight=lambda: upstream.slots.in_flight,
        waiting=lambda: upstream.slots.waiting,
        breaker=lambda: upstream.breaker.state(upstream.clock()),
    )
    stack.push_async_callback(upstream.close)
    return upstream
