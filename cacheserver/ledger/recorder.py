"""A settled request as a row of the ledger: its decision, what its call cost, what it saved."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from cacheserver.cache import cacheability
from cacheserver.cache.answer import Settlement, Ticket
from cacheserver.cache.ports import Claude, Ledger, Pricer
from cacheserver.claude.upstream import Call, Reply, StreamReply
from cacheserver.core import json_text
from cacheserver.core.ledger_row import NOTHING, Bounds, Row
from cacheserver.core.money import Price
from cacheserver.core.types import Candidate, Decision, Hit, Nanodollars, PlannedCall, Query, Usage
from cacheserver.core.usage import usage_of
from cacheserver.ledger import savings
from cacheserver.ledger.counterfactual import Levers, missed
from cacheserver.ledger.warmth import PromptCacheWarmth


class Recorder:
    """Makes rows. Everything here is synchronous and cheap: hits pay for it too."""

    def __init__(self, pricer: Pricer, warmth: PromptCacheWarmth) -> None:
        self._pricer = pricer
        self._warmth = warmth

    def row(
        self,
        query: Query,
        ticket: Ticket,
        decision: Decision,
        settlement: Settlement,
        *,
        outcome: str,
    ) -> Row:
        """The row of a request that has ended. Raises nothing."""
        now, asked = ticket.started_at, settlement.asked
        paid = settlement.call is not None
        usage = settlement.usage if paid and settlement.usage is not None else NOTHING
        saved: Mapping[str, Nanodollars] = {}
        if isinstance(decision, Hit) and outcome == decision.kind:
            saved = self._of_hit(query, decision, settlement, now)
        elif paid and settlement.cost is not None and settlement.model is not None:
            levers = levers_of(asked, way=settlement.way, output=usage.output_tokens)
            price = self._price(now)
            saved = savings.of_call(price, settlement.model, usage, settlement.cost, levers)
            self._warmth.note(query.scope, usage, now)
        return Row(
            id=ticket.id,
            at=ticket.started_at,
            tenant=query.tenant.name,
            outcome=outcome,
            reason=decision.reason,
            asked=query.model,
            model=settlement.model,
            baseline=None if asked is None else asked.route.baseline,
            key_id=query.key_id,
            task=query.controls.task,
            tags=query.controls.tags,
            conversation=query.conversation,
            usage=usage,
            cost=settlement.cost if paid else None if settlement.lost else 0,
            saved=saved,
            prices=settlement.prices,
            call=settlement.call,
            status=settlement.status,
            unknown=self._unknown(query, settlement, now),
            stream=query.stream,
            batch_eligible=cacheability.batchable(query.body),
            batched=settlement.way != "direct" and paid,
        )

    def _of_hit(
        self, query: Query, hit: Hit, settlement: Settlement, now: float
    ) -> Mapping[str, Nanodollars]:
        if hit.kind == "coalesced":  # asked together: what one paid, the other would have paid
            return savings.of_hit(hit.kind, settlement.saved)
        match hit.candidate:
            case Candidate(entry=entry):
                longer = 0
                if hit.kind == "semantic":
                    longer = len(query.text or "") - len(entry.text or "")
                usage = missed(
                    entry.usage,
                    warm=self._warmth.warm(query.scope, entry, now),
                    speed=str(query.body.get("speed") or "standard"),
                    batch=settlement.way != "direct",
                    longer_chars=longer,
                    model=entry.model,
                )
                self._warmth.note(query.scope, entry.usage, now)
                return savings.of_hit(hit.kind, self._pricer.cost(entry.model, usage, now))
        return {}

    def _unknown(self, query: Query, settlement: Settlement, now: float) -> Bounds | None:
        """What may be billed for tries that were sent and not answered to the end."""
        if not settlement.lost:
            return None
        asked = settlement.asked
        model = query.model if asked is None else asked.route.model
        body = query.raw if asked is None else asked.body
        cap = None if asked is None or asked.cap is None else asked.cap.max_tokens
        tier = "standard" if settlement.way == "direct" else "batch"
        return savings.bounds(
            self._price(now),
            model,
            asked=replace(_asked(query.body), service_tier=tier),
            prompt=settlement.heard,
            body_bytes=len(body),
            max_tokens=cap or query.body.get("max_tokens"),
            opaque=_opaque(query.body),
            attempts=settlement.lost,
        )

    def _price(self, now: float) -> Price:
        return lambda model, usage: self._pricer.cost(model, usage, now)


def levers_of(asked: PlannedCall | None, *, way: str = "direct", output: int = 0) -> Levers:
    """What was done to a call, as the saving needs it. `way` "queued": we put it into a batch.

    `output`: tokens of its answer; one as long as our cap was cut there.
    """
    if asked is None:
        return Levers(queued=way == "queued")
    return Levers(
        baseline=asked.route.baseline,
        planned=asked.plan is not None and bool(asked.plan.marks),
        queued=way == "queued",
        trimmed=0 if asked.trim is None else asked.trim.tokens,
        uncut=asked.cap.longer if asked.cap and output >= asked.cap.max_tokens else None,
    )


def background(
    spend: str,
    *,
    id: str,
    at: float,
    tenant: str,
    model: str,
    usage: Usage,
    cost: Nanodollars | None,
    call: str | None,
    prices: str | None,
) -> Row:
    """The row of a call that nobody waits for: an audit, a judge, a trial, a pre-warming.

    Its bill is `spent` under `spend` (of `SPENDS`), not `cost`: no answer left for it.
    """
    return Row(
        id=id,
        at=at,
        tenant=tenant,
        outcome="background",
        reason=spend,
        asked=model,
        model=model,
        usage=usage,
        cost=None if cost is None else 0,
        spent={} if cost is None else {spend: cost},
        prices=prices,
        call=call or id,
    )


class SpendRecorder:
    """Writes down the calls that nobody waits for, and those among them that got no answer."""

    def __init__(self, ledger: Ledger, pricer: Pricer) -> None:
        self._ledger = ledger
        self._pricer = pricer

    def answered(self, kind: str, call: Call, reply: Reply, now: float) -> None:
        """Enter a call by what came back; with bounds, where that says of no tokens."""
        try:
            message = json_text.loads(reply.body)
        except ValueError:
            message = None
        if isinstance(message, dict) and isinstance(message.get("usage"), dict):
            self.spent(kind, call.tenant, message, now)
        else:
            self.lost(kind, call, now, tries=1)

    def spent(self, kind: str, tenant: str, message: Mapping[str, Any], now: float) -> None:
        """Enter one call, by Claude's own message. Never blocks, never fails."""
        usage = usage_of(message)
        bill = self._pricer.bill(message, now) if message.get("usage") else None
        call = str(message.get("id") or "") or f"{kind}_{secrets.token_hex(12)}"
        self._ledger.put(
            background(
                kind,
                id=f"{kind}:{call}",
                at=now,
                tenant=tenant,
                model=str(message.get("model") or ""),
                usage=usage,
                cost=None if bill is None else bill.cost,
                call=call,
                prices=None if bill is None else bill.version,
            )
        )

    def lost(self, kind: str, call: Call, now: float, *, tries: int) -> None:
        """Enter tries whose usage never came, with what they may cost. Never blocks."""
        body = json_text.loads(call.body)
        model = str(body.get("model") or "")
        row = background(
            kind,
            id=f"{kind}:lost:{secrets.token_hex(12)}",
            at=now,
            tenant=call.tenant,
            model=model,
            usage=NOTHING,
            cost=None,
            call=None,
            prices=None,
        )
        unknown = savings.bounds(
            lambda model, usage: self._pricer.cost(model, usage, now),
            model,
            asked=_asked(body),
            prompt=None,
            body_bytes=len(call.body),
            max_tokens=body.get("max_tokens"),
            opaque=_opaque(body),
            attempts=tries,
        )
        self._ledger.put(replace(row, call=None, unknown=unknown))


# Before the answer that a caller waits for: they go with the callers' calls.
_AWAITED = ("classifier", "summary")


class RecordedClaude:
    """Claude for one kind of such work: each call is written down, before anything is waited for.

    So no failure of the store, nor an end of the work, can come between a bill and its row.
    """

    def __init__(
        self, kind: str, *, claude: Claude, books: SpendRecorder, clock: Callable[[], float]
    ) -> None:
        self._kind = kind
        self._claude = claude
        self._books = books
        self._clock = clock

    async def create(self, call: Call) -> Reply:
        """As Claude's own. Raises `UpstreamError`."""
        call = replace(call, background=self._kind not in _AWAITED)
        began = self._clock()
        try:
            reply = await self._claude.create(call)
        finally:
            # Where we stop waiting, what is under way may be answered all the same.
            if lost := call.tries.unanswered:
                self._books.lost(self._kind, call, self._clock(), tries=lost)
        self._books.answered(self._kind, call, reply, began)
        return reply

    def stream(self, call: Call) -> AbstractAsyncContextManager[StreamReply]:
        """As Claude's own; nothing behind the answers streams."""
        return self._claude.stream(call)


def _asked(body: Mapping[str, Any]) -> Usage:
    """How fast and where it was asked for."""
    return Usage(
        speed=str(body.get("speed") or "standard"),
        inference_geo=str(body.get("inference_geo") or ""),
    )


def _opaque(body: Mapping[str, Any]) -> bool:
    """Whether the prompt may hold tokens that are not in the body's bytes."""
    reason = cacheability.bypass(body)
    return reason not in (None, "max-tokens-0") or b'"file"' in repr(body).encode()
