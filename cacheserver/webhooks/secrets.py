"""The secrets that tenants check the signatures of webhooks with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from cacheserver.webhooks import signing

# Derived from the secret that callers' keys are made pseudonyms with. No key is spelled so: they
# are printable, so nobody's pseudonym is ever this.
_ROOT: Final = "\0webhooks"


class WebhookSecrets:
    """Secrets that webhooks are signed with; `pseudonym` is `Tenants.pseudonym`."""

    def __init__(self, pseudonym: Callable[[str], Awaitable[str]]) -> None:
        self._pseudonym = pseudonym

    async def secret(self, tenant: str, epoch: int) -> str:
        """Return a tenant's secret of an epoch. Raises `Unavailable`."""
        root = await self._pseudonym(_ROOT)
        return signing.derive_secret(root.encode(), tenant, epoch)
