"""Verdicts of verification in Redis: yes or no, by question, stored question and answer.

A yes is an alias: the next asker of the question is served without a call. Verdicts live as long as
the entry that they are about; how many there are is bounded by the day's cap on calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from cacheserver.core import json_text
from cacheserver.core.keyed_digests import keyed
from cacheserver.core.types import Entry, Query
from cacheserver.storage.connection import PREFIX, Connection, command
from cacheserver.storage.json_values import tenant_key
from cacheserver.verification import prompt


class Verdicts:
    """Memory of verdicts. Failures raise `StoreError`."""

    def __init__(self, redis: Connection, *, model: str, prefix: str = PREFIX) -> None:
        self._redis = redis
        self._model = model
        self._prefix = prefix

    async def recall(self, query: Query, entries: Sequence[Entry]) -> Mapping[str, bool]:
        """Return the verdicts that are known, by entry id."""
        if not entries:
            return {}
        keys = [self._key(query, entry) for entry in entries]
        values = await command(self._redis, "MGET", *keys)
        return {
            entry.id: value == b"1"
            for entry, value in zip(entries, values, strict=True)
            if value is not None
        }

    async def remember(self, query: Query, entry: Entry, *, yes: bool, now: float) -> None:
        """Remember a verdict for the rest of the entry's life."""
        life_s = int(entry.expires_at - now)
        if life_s > 0:
            await command(self._redis, "SET", self._key(query, entry), int(yes), "EX", life_s)

    async def forget(self, query: Query, entry: Entry) -> None:
        """Forget a verdict that was found wrong."""
        await command(self._redis, "DEL", self._key(query, entry))

    def _key(self, query: Query, entry: Entry) -> str:
        digest = keyed(query.tenant, verdict_digest(query, entry, self._model))
        return f"{self._prefix}verdict:{tenant_key(query.tenant.name)}:{digest}"


def verdict_digest(query: Query, entry: Entry, model: str) -> str:
    """Return the digest that names a verdict: of the model, the scope, both questions, the answer.

    The entry's id is in it: the same answer, stored again later, may no longer be true. So is the
    task that the model reads, where the scope leaves parts of it out.
    """
    digest = hashlib.sha256(query.scope.encode())
    task = ""
    if query.controls.declared is not None or query.tenant.caching.ignore_in_scope:
        task = json_text.dumps(prompt.task_of(query.body)).decode("utf-8", "replace")
    asked_of = f"{prompt.VERSION}/{model}"
    for part in (query.text or "", entry.text or "", entry.id, asked_of, task):
        written = part.encode("utf-8", "surrogatepass")
        digest.update(len(written).to_bytes(8, "big") + written)
    digest.update(entry.message)
    return digest.hexdigest()[:40]
