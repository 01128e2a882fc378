"""Opens the connection to Claude, with its slots, retries and circuit breaker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from cacheserver.claude.circuit_breaker import CircuitBreaker
from cacheserver.claude.platforms.rules import Cloud
from cacheserver.claude.upstream import Upstream


class Gauges(Protocol):
    def watch_upstream(
        self,
        *,
        in_flight: Callable[[], int],
        waiting: Callable[[], int],
        breaker: Callable[[], str],
    ) -> None: ...


class Metrics(Protocol):
    @property
    def gauges(self) -> Gauges: ...
    def upstream_event(self, event: str) -> None: ...


@dataclass(frozen=True, slots=True)
class ClaudeOptions:
    """Options of the upstream; without `api_key`, callers bring their own."""

    base_url: str
    api_key: str | None
    name: str
    max_concurrent: int
    max_waiting: int
    timeout_s: float
    retries: int
    retry_wait_s: float
    max_wait_s: float
    breaker_share: float
    breaker_calls: int
    breaker_open_s: float
    cloud: Cloud | None = None  # None: Anthropic's own API


@asynccontextmanager
async def build(
    options: ClaudeOptions, metrics: Metrics, wrap: Callable[..., Upstream] | None = None
) -> AsyncIterator[Upstream]:
    """Yield Claude. `wrap` is made in place of `Upstream`, with the same arguments."""
    upstream = (wrap or Upstream)(
        base_url=options.base_url,
        api_key=options.api_key,
        name=options.name,
        cloud=options.cloud,
        max_concurrent=options.max_concurrent,
        max_waiting=options.max_waiting,
        timeout_s=options.timeout_s,
        retries=options.retries,
        retry_wait_s=options.retry_wait_s,
        max_wait_s=options.max_wait_s,
        breaker=CircuitBreaker(
            share=options.breaker_share,
            least=options.breaker_calls,
            open_s=options.breaker_open_s,
            on_event=metrics.upstream_event,
        ),
        on_event=metrics.upstream_event,
    )
    metrics.gauges.watch_upstream(
        in_flight=lambda: upstream.slots.in_flight,
        waiting=lambda: upstream.slots.waiting,
        breaker=lambda: upstream.breaker.state(upstream.clock()),
    )
    try:
        yield upstream
    finally:
        await upstream.close()
