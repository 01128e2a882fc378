"""Webhooks at the end of a job: signed, retried, and never sent into our network."""

from __future__ import annotations

import asyncio
import logging

from cacheserver.batches.context import BatchContext
from cacheserver.batches.jobs import Job
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError
from cacheserver.core.rules.batching import BatchRules
from cacheserver.core.single_flight import end
from cacheserver.webhooks import signing
from cacheserver.webhooks.safe_post import Poster
from cacheserver.webhooks.secrets import WebhookSecrets

logger = logging.getLogger(__name__)

_AT_ONCE = 16


class Webhooks:
    """Sends the webhooks of jobs that have ended."""

    def __init__(self, context: BatchContext, poster: Poster) -> None:
        self._context = context
        self._poster = poster
        self._secrets = WebhookSecrets(context.tenants.pseudonym)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def check(self, url: object, rules: BatchRules, *, field: str) -> str:
        """Return the URL if a webhook may be sent there. Raises `BadRequest` naming `field`."""
        return await self._poster.check(field, url, rules)

    async def start(self) -> None:
        """Start the webhooks that are due and not under way."""
        for id in await self._context.work.hooks_due(self._context.clock()):
            if len(self._running) >= _AT_ONCE:
                return
            if id not in self._running:
                task = asyncio.create_task(self._tell(id), name=f"webhook:{id}")
                self._running[id] = task

    async def close(self) -> None:
        for task in list(self._running.values()):
            await end(task)

    async def _tell(self, id: str) -> None:
        context = self._context
        try:
            job = await context.jobs.find(id)
            if job is None or job.webhook is None:
                await context.work.note_webhook(id, attempts=0, state=None, again=None)
                return
            sent = await self._post(job, job.webhook)
            attempts = job.attempts + 1
            waits = context.pace.hook_waits_s
            state, again = "sent" if sent else None, None
            if not sent and attempts <= len(waits):
                again = context.clock() + waits[attempts - 1]
            elif not sent:
                state = "failed"
                context.count(job.tenant, "webhooks_failed")
            await context.work.note_webhook(id, attempts=attempts, state=state, again=again)
        except StoreError:
            context.metrics.swallowed("webhook")
        except Exception as error:  # the task boundary: the next round tries again
            context.metrics.swallowed("webhook")
            logger.error("a webhook failed: %s", type(error).__name__)
        finally:
            self._running.pop(id, None)

    async def _post(self, job: Job, url: str) -> bool:
        """Return whether the receiver answered 2xx. The tenant's current rules hold."""
        context = self._context
        rules = (await context.tenants.get(job.tenant)).batching
        body = json_text.dumps(_event(job))
        at = int(context.clock())
        signature = signing.sign(
            await self._secrets.secret(job.tenant, rules.webhook_epoch), f"evt_{job.id}", at, body
        )
        return await self._poster.post(url, body, signature, rules) is None


def _event(job: Job) -> dict[str, object]:
    """The event: that a job ended and how, without any question or answer."""
    return {
        "type": "job.ended",
        "timestamp": job.ended_at,
        "data": {"id": job.id, "kind": job.kind, "counts": dict(job.counts or {})},
    }
