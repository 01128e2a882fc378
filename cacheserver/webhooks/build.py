"""Builds what jobs and alerts post webhooks with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cacheserver.webhooks.safe_post import Poster, Resolve
from cacheserver.webhooks.secrets import WebhookSecrets


@dataclass(frozen=True, slots=True)
class WebhookParts:
    poster: Poster
    secrets: WebhookSecrets


@asynccontextmanager
async def build(
    pseudonym: Callable[[str], Awaitable[str]], resolve: Resolve
) -> AsyncIterator[WebhookParts]:
    """Yield them. `pseudonym` is `Tenants.pseudonym`. Connections are closed on the way out."""
    poster = Poster(resolve=resolve)
    try:
        yield WebhookParts(poster, WebhookSecrets(pseudonym))
    finally:
        await poster.close()
