"""Builds what shows a server from outside: OpenTelemetry's export, and the sampled gauges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cacheserver.config.otel import OtelChoice
from cacheserver.config.settings import Settings
from cacheserver.core.errors import SettingsError
from cacheserver.core.types import Tenant
from cacheserver.observability.gauge_sampler import GaugeSampler, GaugeSource, SizeGauges, Tenants
from cacheserver.observability.metrics import Metrics
from cacheserver.observability.store_sizes import StoreSizes
from cacheserver.storage.build import Store

if TYPE_CHECKING:  # the SDK is an extra, and takes its time to load
    from cacheserver.observability.otel.start import Telemetry


@asynccontextmanager
async def telemetry(
    choice: OtelChoice | None, dropped: Callable[[str, int], None]
) -> AsyncIterator[Telemetry | None]:
    """Export to OpenTelemetry; None, and nothing imported, if nobody asked for it."""
    if choice is None:
        yield None
        return
    try:
        from cacheserver.observability.otel.start import start
    except ModuleNotFoundError as missing:
        raise SettingsError(
            f"`{choice.source}` asks for OpenTelemetry, and {missing.name} is not installed; "
            "install cacheserver's extra `otel`, or set `OTEL_SDK_DISABLED=true`"
        ) from None
    started = start(choice, dropped)
    try:
        yield started
    finally:
        await started.close()


def store_sizes(store: Store) -> StoreSizes:
    """Return the reader of what each kind of data takes."""
    return StoreSizes(store.redis, prefix=store.prefix, limits={})


def size_limits(settings: Settings) -> dict[str, int | None]:
    """Return what each kind of data may take, in bytes; None: no limit."""
    return {
        "answers": settings.max_bytes,
        "decisions": settings.max_decision_bytes,
        "ledger": settings.max_ledger_bytes,
        "jobs": settings.max_job_bytes,
        "labels": settings.max_label_bytes,
    }


@asynccontextmanager
async def gauges(
    sizes: StoreSizes,
    sources: Sequence[GaugeSource],
    tenants: Tenants,
    open_tenant: Tenant,
    metrics: Metrics,
) -> AsyncIterator[GaugeSampler]:
    """Sample the store's sizes and `sources` until the block ends."""
    sampler = GaugeSampler(
        [SizeGauges(sizes, metrics.gauges), *sources],
        tenants=tenants,
        open_tenant=open_tenant,
        metrics=metrics,
    )
    sampler.start()
    try:
        yield sampler
    finally:
        await sampler.close()
