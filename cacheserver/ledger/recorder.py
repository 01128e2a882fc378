"""Recorders: build ledger rows of finished requests and of background calls to Claude."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from cacheserver.cache import cacheability
from cacheserver.cache.answer import Settlement
from cacheserver.cache.ports import Claude, Ledger, Pricer
from cacheserver.cache.request import Request
from cacheserver.claude.upstream import Call, Reply, StreamReply
from cacheserver.core import json_text
from cacheserver.core.ledger_row import NOTHING, Bounds, Comparison, Row
from cacheserver.core.money import Price
from cacheserver.core.types import Candidate, Hit, Nanodollars, PlannedCall, Query, Usage
from cacheserver.core.usage import usage_of, word
from cacheserver.ledger import savings
from cacheserver.ledger.comparison import FREE, Comparisons
from cacheserver.ledger.counterfactual import (
    Levers,
    usage_for,
    usage_of_miss,
    usage_without_levers,
)
from cacheserver.ledger.prompt_cache_warmth import PromptCacheWarmth


class LedgerRecorder:
    """Builder of ledger rows. Synchronous and cheap: every hit pays for it."""

    def __init__(self, pricer: Pricer, warmth: PromptCacheWarmth) -> None:
        self._pricer = pricer
        self._warmth = warmth
        self._comparisons = Comparisons(pricer)

    def row(self, request: Request, settlement: Settlement) -> Row:
        """Build the row of a finished request. Raises nothing."""
        query, now = request.query, request.started_at
        decision, outcome = settlement.decision, settlement.outcome
        planned = settlement.planned
        paid = settlement.call is not None
        usage = settlement.usage if paid and settlement.usage is not None else NOTHING
        saved: Mapping[str, Nanodollars] = {}
        compared = None
        if isinstance(decision, Hit) and outcome == decision.kind:
            saved, compared = self._of_hit(request, decision, settlement)
        elif paid and settlement.cost is not None and settlement.model is not None:
            levers = levers_of_call(planned, way=settlement.way, output=usage.output_tokens)
            price = self._price(now)
            saved = savings.call_savings(price, settlement.model, usage, settlement.cost, levers)
            compared = FREE
            if settlement.billed:  # a price of 0 is none at another model
                whole = usage_without_levers(usage, levers)
                compared = self._compare(request, settlement, settlement.model, whole)
            self._warmth.note(query.scope, usage, now)
        return Row(
            id=request.id,
            at=request.started_at,
            tenant=query.tenant.name,
            outcome=outcome,
            reason=decision.reason,
            asked=query.model,
            model=settlement.model,
            baseline=None if planned is None else planned.route.baseline,
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
            verification=0 if request.verified is None else request.verified.cost,
            estimated=settlement.cost if settlement.estimated and not paid else None,
            compared=compared,
        )

    def _of_hit(
        self, request: Request, hit: Hit, settlement: Settlement
    ) -> tuple[Mapping[str, Nanodollars], Comparison | None]:
        """Return what a hit saved by cause, and its comparison; a stale answer has neither."""
        query, now = request.query, request.started_at
        declared = query.controls.declared is not None
        if hit.kind == "coalesced":  # without us, each concurrent request would have paid this
            bill, model, usage = settlement.saved, settlement.model, settlement.usage
            if usage is None or model is None:
                return savings.hit_savings(hit.kind, bill), None
            if declared and settlement.billed:
                usage = usage_for(query, usage, model)
                bill = self._pricer.cost(model, usage, now)
            compared = (
                self._compare(request, settlement, model, usage) if settlement.billed else FREE
            )
            return savings.hit_savings(hit.kind, bill), compared
        match hit.candidate:
            case Candidate(entry=entry) if entry.put_by is not None:
                return savings.hit_savings(hit.kind, 0), FREE  # no call of Claude's is known for it
            case Candidate(entry=entry):
                longer = 0
                if hit.kind == "semantic" and not declared:
                    longer = len(query.text or "") - len(entry.text or "")
                usage = usage_of_miss(
                    usage_for(query, entry.usage, entry.model),
                    warm=self._warmth.warm(query.scope, entry, now),
                    speed=str(query.body.get("speed") or "standard"),
                    batch=settlement.way != "direct",
                    longer_chars=longer,
                    model=entry.model,
                )
                self._warmth.note(query.scope, entry.usage, now)
                cause = "verify" if hit.reason == "verified" else hit.kind
                bill = self._pricer.cost(entry.model, usage, now)
                compared = None
                if hit.kind != "stale":
                    compared = self._compare(request, settlement, entry.model, usage)
                return savings.hit_savings(cause, bill), compared
        return {}, None

    def _compare(
        self, request: Request, settlement: Settlement, model: str, usage: Usage
    ) -> Comparison | None:
        if settlement.way == "queued" and usage.service_tier == "batch":  # by us alone
            usage = replace(usage, service_tier="standard")
        named = request.query.tenant.compare_with
        return self._comparisons.of(model, usage, named, request.started_at)

    def _unknown(self, query: Query, settlement: Settlement, now: float) -> Bounds | None:
        """Return the cost bounds of attempts that were sent and got no complete answer."""
        if not settlement.lost:
            return None
        planned = settlement.planned
        model = query.model if planned is None else planned.route.model
        body = query.raw if planned is None else planned.body
        cap = None if planned is None or planned.cap is None else planned.cap.max_tokens
        tier = "standard" if settlement.way == "direct" else "batch"
        return savings.cost_bounds(
            self._price(now),
            model,
            requested=replace(_requested_usage(query.body), service_tier=tier),
            prompt=settlement.heard,
            body_bytes=len(body),
            max_tokens=cap or query.body.get("max_tokens"),
            opaque=_opaque(query.body),
            attempts=settlement.lost,
        )

    def _price(self, now: float) -> Price:
        return lambda model, usage: self._pricer.cost(model, usage, now)


def levers_of_call(planned: PlannedCall | None, *, way: str = "direct", output: int = 0) -> Levers:
    """Return the levers of a call. `way` "queued" means that we put it into a batch.

    `output`: tokens of its answer; an answer as long as our cap was cut there.
    """
    if planned is None:
        return Levers(queued=way == "queued")
    return Levers(
        baseline=planned.route.baseline,
        planned=planned.plan is not None and bool(planned.plan.marks),
        queued=way == "queued",
        trimmed=0 if planned.trim is None else planned.trim.tokens,
        uncut=planned.cap.longer if planned.cap and output >= planned.cap.max_tokens else None,
    )


def background_row(
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
    """Build the row of a background call: an audit, a judge, a trial, a pre-warming.

    Its bill is `spent` under the name `spend` (one of `SPENDS`), not `cost`: no caller got an
    answer for it.
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
    """Recorder of the cache's own calls to Claude, answered or not."""

    def __init__(self, ledger: Ledger, pricer: Pricer) -> None:
        self._ledger = ledger
        self._pricer = pricer

    def record_reply(self, kind: str, call: Call, reply: Reply, now: float) -> None:
        """Record a call from its reply, or with cost bounds if the reply has no usage."""
        try:
            message = json_text.loads(reply.body)
        except ValueError:
            message = None
        if isinstance(message, dict) and isinstance(message.get("usage"), dict):
            self.spent(kind, call.tenant, message, now)
        else:
            self.lost(kind, call, now, tries=1)

    def spent(self, kind: str, tenant: str, message: Mapping[str, Any], now: float) -> None:
        """Record a call from Claude's message. Never blocks, never fails."""
        usage = usage_of(message)
        bill = self._pricer.bill(message, now) if message.get("usage") else None
        call = word(message.get("id"), f"{kind}_{secrets.token_hex(12)}")
        self._ledger.append(
            background_row(
                kind,
                id=f"{kind}:{call}",
                at=now,
                tenant=tenant,
                model=word(message.get("model"), ""),
                usage=usage,
                cost=None if bill is None else bill.cost,
                call=call,
                prices=None if bill is None else bill.version,
            )
        )

    def lost(self, kind: str, call: Call, now: float, *, tries: int) -> None:
        """Record attempts whose usage never arrived, with cost bounds. Never blocks."""
        body = json_text.loads(call.body)
        model = str(body.get("model") or "")
        row = background_row(
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
        unknown = savings.cost_bounds(
            lambda model, usage: self._pricer.cost(model, usage, now),
            model,
            requested=_requested_usage(body),
            prompt=None,
            body_bytes=len(call.body),
            max_tokens=body.get("max_tokens"),
            opaque=_opaque(body),
            attempts=tries,
        )
        self._ledger.append(replace(row, call=None, unknown=unknown))


# A caller waits for these: they share the rate limits of callers' calls.
_AWAITED = ("classifier", "summary", "verify")


class RecordedClaude:
    """Claude client that records each call as spend of one kind.

    It records before anything else is awaited, so neither a failing store nor a cancelled task
    leaves a bill without a row.
    """

    def __init__(
        self, kind: str, *, claude: Claude, books: SpendRecorder, clock: Callable[[], float]
    ) -> None:
        self._kind = kind
        self._claude = claude
        self._books = books
        self._clock = clock

    async def create(self, call: Call) -> Reply:
        """Send a call and record it. Raises `UpstreamError`."""
        call = replace(call, background=call.background or self._kind not in _AWAITED)
        began = self._clock()
        try:
            reply = await self._claude.create(call)
        finally:
            # If we stop waiting, Claude may still answer, and bill, the attempt.
            if lost := call.tries.unanswered:
                self._books.lost(self._kind, call, self._clock(), tries=lost)
        self._books.record_reply(self._kind, call, reply, began)
        return reply

    def stream(self, call: Call) -> AbstractAsyncContextManager[StreamReply]:
        """Pass-through: background calls never stream."""
        return self._claude.stream(call)


def _requested_usage(body: Mapping[str, Any]) -> Usage:
    """Return the speed and the inference location that were requested."""
    return Usage(
        speed=str(body.get("speed") or "standard"),
        inference_geo=str(body.get("inference_geo") or ""),
    )


def _opaque(body: Mapping[str, Any]) -> bool:
    """Return whether the prompt may have tokens that are not in the body's bytes."""
    reason = cacheability.bypass(body)
    return reason not in (None, "max-tokens-0") or b'"file"' in repr(body).encode()
