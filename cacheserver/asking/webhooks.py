"""A job's end, told to the address its caller gave: signed, tried again, never to our own network.

Rule: the name is resolved once and the connection goes to an address that was checked, so a name
that leads elsewhere a moment later leads nobody in. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

import httpx2

from cacheserver import jsontext
from cacheserver.asking.batch_desk import Desk
from cacheserver.errors import BadRequest, StoreError
from cacheserver.flight import end
from cacheserver.policy import webhooks
from cacheserver.policy.webhooks import Target
from cacheserver.rules.batching import BatchRules
from cacheserver.stores.jobs import Job

logger = logging.getLogger(__name__)

_TIMEOUT_S = 10.0  # whoever has more to do than that answers first and works then
_AT_ONCE = 16

# Derived from the secret that callers' keys are made pseudonyms with. No key is spelled so: they
# are printable, so nobody's pseudonym is ever this.
_ROOT = "\0webhooks"

# The addresses of a host. Raises `OSError`.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses a host has now. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Webhooks:
    """Tells jobs' ends."""

    def __init__(
        self,
        desk: Desk,
        *,
        resolve: Resolve = resolve,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._desk = desk
        self._resolve = resolve
        self._client = httpx2.AsyncClient(
            timeout=_TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
            verify=ssl.create_default_context() if context is None else context,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        self._running: dict[str, asyncio.Task[None]] = {}

    async def check(self, url: object, rules: BatchRules, *, field: str) -> str:
        """The URL, if a webhook may go there now. Raises `BadRequest` naming `field`."""
        target = webhooks.read_target(field, url, rules)
        try:
            addresses = await self._resolve(target.host, target.port)
        except OSError:
            raise BadRequest(field, "names a host that is not known") from None
        if not webhooks.allowed(target, addresses, rules):
            raise BadRequest(field, "names an address that webhooks may not go to")
        return target.url

    async def secret(self, tenant: str, epoch: int) -> str:
        """What a tenant checks its webhooks' signatures with. Raises `Unavailable`."""
        root = await self._desk.tenants.pseudonym(_ROOT)
        return webhooks.secret(root.encode(), tenant, epoch)

    async def start(self) -> None:
        """Begin with those that are due and not under way."""
        for id in await self._desk.work.hooks_due(self._desk.clock()):
            if len(self._running) >= _AT_ONCE:
                return
            if id not in self._running:
                task = asyncio.create_task(self._tell(id), name=f"webhook:{id}")
                self._running[id] = task

    async def close(self) -> None:
        for task in list(self._running.values()):
            await end(task)
        await self._client.aclose()

    async def _tell(self, id: str) -> None:
        desk = self._desk
        try:
            job = await desk.jobs.find(id)
            if job is None or job.webhook is None:
                await desk.work.hook_told(id, attempts=0, told=None, again=None)
                return
            sent = await self._post(job, job.webhook)
            attempts = job.attempts + 1
            waits = desk.pace.hook_waits_s
            told, again = "sent" if sent else None, None
            if not sent and attempts <= len(waits):
                again = desk.clock() + waits[attempts - 1]
            elif not sent:
                told = "failed"
                desk.count(job.tenant, "webhooks_failed")
            await desk.work.hook_told(id, attempts=attempts, told=told, again=again)
        except StoreError:
            desk.metrics.swallowed("webhook")
        except Exception as error:  # the task boundary: it is due again in the next round
            desk.metrics.swallowed("webhook")
            logger.error("a webhook failed: %s", type(error).__name__)
        finally:
            self._running.pop(id, None)

    async def _post(self, job: Job, url: str) -> bool:
        """Whether the other side said 2xx. The rules are those of now, not of when it was asked."""
        desk = self._desk
        rules = (await desk.tenants.get(job.tenant)).batching
        try:
            target = webhooks.read_target("webhook", url, rules)
            addresses = await self._resolve(target.host, target.port)
        except (BadRequest, OSError):
            return False
        if not webhooks.allowed(target, addresses, rules):
            return False
        body = jsontext.dumps(_event(job))
        at = int(desk.clock())
        signature = webhooks.signed(
            await self.secret(job.tenant, rules.webhook_epoch), f"evt_{job.id}", at, body
        )
        headers = {"content-type": "application/json", "host": _authority(target), **signature}
        try:
            reply = await self._client.post(
                _pinned(target, addresses[0]),
                content=body,
                headers=headers,
                # The certificate must be the name's: the address only says where to go.
                extensions={"sni_hostname": target.host},
            )
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return False
        return reply.is_success


def _event(job: Job) -> dict[str, object]:
    """What is told: that it ended and how, never what was asked or answered."""
    return {
        "type": "job.ended",
        "timestamp": job.ended_at,
        "data": {"id": job.id, "kind": job.kind, "counts": dict(job.counts or {})},
    }


def _authority(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == (443 if target.secure else 80) else f"{host}:{target.port}"


def _pinned(target: Target, address: str) -> str:
    at = f"[{address}]" if ":" in address else address
    return f"{'https' if target.secure else 'http'}://{at}:{target.port}{target.path}"
