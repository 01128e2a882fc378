"""Answers of Claude's, from a call or a batch: priced, and stored if they may be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cacheserver.cache import answer as answers
from cacheserver.cache import cacheability
from cacheserver.cache.conversation_mark import mark_of
from cacheserver.cache.filled import Filled
from cacheserver.cache.ports import CallPlanner, Entries, Escalation, Metrics, Pricer
from cacheserver.cache.store.stored_entry import new_id
from cacheserver.cache.ttl import lifetime
from cacheserver.claude import sse
from cacheserver.claude.upstream import Reply, StreamReply
from cacheserver.core.errors import StoreError
from cacheserver.core.types import Entry, Nanodollars, PlannedCall, Query, Usage
from cacheserver.core.usage import usage_of, word

# How far back it is known which answers were stored here. From a request's look-up to its call to
# Claude it takes 10 ms; one that took longer looks again.
STORED_S = 0.25


class AnswerStore:
    """Prices and stores Claude's answers."""

    def __init__(
        self,
        *,
        entries: Entries,
        pricer: Pricer,
        metrics: Metrics,
        clock: Callable[[], float],
        call_planner: CallPlanner,
        validation: Escalation,
    ) -> None:
        self._entries = entries
        self._pricer = pricer
        self._metrics = metrics
        self._clock = clock
        self._call_planner = call_planner
        self._validation = validation
        self._stored: OrderedDict[str, float] = OrderedDict()  # when, by fingerprint

    def may_be_stored(self, fingerprint: str, since: float) -> bool:
        """Return whether an answer may have been stored since `since`; False: not by this server.

        Another server's is found by who led the call before (`SharedCalls`).
        """
        now = self._clock()
        return not 0 <= now - since < STORED_S or fingerprint in self._stored

    async def store(
        self,
        query: Query,
        message: Mapping[str, Any],
        asked_at: float,
        *,
        planned: PlannedCall,
        reply: Reply | StreamReply | None = None,
        shared: bool = True,
        doubt: str | None = None,
        embed: bool = True,
        storing: Callable[[Filled], None] = lambda _: None,
    ) -> Filled:
        """Price an answer, have the levers learn from it, store it if it may be. Raises nothing.

        `message` is Claude's; `reply` is the response it came in, None for one of a batch. `doubt`
        is why it may not be a complete message. An answer that fails validation is not stored.
        `embed` False: the embedder has failed this request before. `storing` is called before an
        answer is stored, with the result if it will be.
        """
        usage = usage_of(message)
        model = word(message.get("model"), planned.route.model)
        if doubt is None:
            self._call_planner.learn(query, planned, message, usage, asked_at)
        bill = self._pricer.bill(message, asked_at) if message.get("usage") else None
        ttl_s = lifetime(query.controls, query.tenant, query.model) if shared else 0
        if query.ttl_cap_s is not None:
            ttl_s = min(ttl_s, query.ttl_cap_s)
        unstored = doubt or cacheability.unstorable(message)
        if unstored is None and (why := self._validation.verdict(query, planned, message)):
            unstored = f"invalid-{why}"
        if not shared:
            unstored = "bypass"
        elif ttl_s == 0:
            unstored = unstored or "ttl-0"
        elif query.cheapest:  # once there is budget again, the model asked for is to answer
            unstored = unstored or "budget"
        bare, cost, entry = sse.without_id(message), None if bill is None else bill.cost, None
        if unstored is None:
            entry = self._entry(query, message, bare, model, usage, cost, ttl_s)
        filled = Filled(
            message=bare,
            raw=reply.body if isinstance(reply, Reply) else None,
            headers={**({} if reply is None else reply.headers), **answers.lever_headers(planned)},
            model=model,
            usage=usage,
            cost=cost,
            prices=None if bill is None else bill.version,
            paid=True,
            whole=doubt is None and message.get("type") == "message",
            entry=entry,
            unstored=unstored,
            ttl_s=ttl_s,
            planned=planned,
            call=word(message.get("id"), "") if "usage" in message else None,
            lost=0 if reply is None else reply.lost,
            billed=bill is None or bill.billed,
        )
        if entry is None:
            return filled
        storing(filled)
        why = await self._put(entry, query, asked_at, embed)
        return filled if why is None else replace(filled, entry=None, unstored=why)

    def _entry(
        self,
        query: Query,
        message: Mapping[str, Any],
        bare: bytes,
        model: str,
        usage: Usage,
        cost: Nanodollars | None,
        ttl_s: int,
    ) -> Entry:
        now = self._clock()
        return Entry(
            id=new_id(now),
            tenant=query.tenant.name,
            namespace=query.controls.namespace,
            fingerprint=query.fingerprint,
            scope=query.scope,
            text=query.text,
            model=model,
            message=bare,
            usage=usage,
            cost=cost,
            tags=query.controls.tags,
            created_at=now,
            expires_at=now + ttl_s,
            actor=query.actor,
            made_up=cacheability.made_up(message),
            conversation=mark_of(query),
        )

    async def _put(self, entry: Entry, query: Query, asked_at: float, embed: bool) -> str | None:
        """Store an entry; return why it was not stored."""
        if query.received_at is not None:  # a removal since then covers it
            asked_at = min(asked_at, query.received_at)
        try:
            stored = await self._entries.put(
                entry, keep_s=query.tenant.stale_s, asked_at=asked_at, embed=embed
            )
        except StoreError:
            self._metrics.swallowed("put")
            return "degraded"
        self._note(entry.fingerprint)
        return None if stored else "refused"

    def _note(self, fingerprint: str) -> None:
        now = self._clock()
        self._stored[fingerprint] = now
        self._stored.move_to_end(fingerprint)
        while now - next(iter(self._stored.values())) > STORED_S:
            self._stored.popitem(last=False)
