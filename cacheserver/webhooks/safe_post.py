"""POST requests to addresses that callers chose, without access to internal networks.

Rule: the name is resolved once, and the connection goes to the address that was checked, so DNS
rebinding does not work. Redirects are not followed, and only the status of a response is read: its
length is up to the other side.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property

import httpx2

from cacheserver.core.errors import BadRequest
from cacheserver.core.rules.batching import BatchRules
from cacheserver.webhooks import signing
from cacheserver.webhooks.signing import Target

# For the whole request, from the name to the status. A receiver with more work should reply first.
_TIMEOUT_S = 10.0

# The addresses of a host. Raises `OSError`.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Resolve a host to its addresses. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Poster:
    """Sender of small JSON bodies. A tenant's webhook rules say where they may go."""

    def __init__(
        self, *, resolve: Resolve = resolve, context: ssl.SSLContext | None = None
    ) -> None:
        self._resolve = resolve
        self._context = context

    @cached_property
    def _client(self) -> httpx2.AsyncClient:
        """The client, made for the first post: reading the certificates takes some 40 ms."""
        return httpx2.AsyncClient(
            timeout=_TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context() if self._context is None else self._context,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def check(self, field: str, url: object, rules: BatchRules) -> str:
        """Return a URL if it may be posted to now. Raises `BadRequest` naming `field`."""
        target, _ = await self._checked(field, url, rules)
        return target.url

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], rules: BatchRules
    ) -> str | None:
        """Send a body. Returns None for a 2xx status, else the error."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                target, address = await self._checked("url", url, rules)
                sending = self._client.stream(
                    "POST",
                    _pinned(target, address),
                    content=body,
                    headers={
                        "content-type": "application/json",
                        "host": _authority(target),
                        **headers,
                    },
                    # The certificate must be for the name, not for the address.
                    extensions={"sni_hostname": target.host},
                )
                async with sending as reply:
                    return None if reply.is_success else f"status-{reply.status_code}"
        except BadRequest:
            return "address-refused"
        except TimeoutError:
            return "timeout"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return type(error).__name__

    async def close(self) -> None:
        if "_client" in vars(self):
            await self._client.aclose()

    async def _checked(self, field: str, url: object, rules: BatchRules) -> tuple[Target, str]:
        target = signing.read_target(field, url, rules)
        try:
            addresses = await self._resolve(target.host, target.port)
        except OSError:
            addresses = ()
        if not signing.all_allowed(target, addresses, rules):
            raise signing.refusal(field)
        return target, addresses[0]


def _authority(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == (443 if target.secure else 80) else f"{host}:{target.port}"


def _pinned(target: Target, address: str) -> str:
    at = f"[{address}]" if ":" in address else address
    return f"{'https' if target.secure else 'http'}://{at}:{target.port}{target.path}"
