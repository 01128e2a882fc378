"""A miss, from the second look to the stored entry. Runs once however many wait for it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from cacheserver.cache import answer as answers
from cacheserver.cache import cacheability, erasure_rules
from cacheserver.cache.freshness import fresh
from cacheserver.cache.ports import CallPlanner, Claude, Entries, Escalation, Metrics, Pricer
from cacheserver.cache.stream_limit import Meter
from cacheserver.cache.ttl import lifetime
from cacheserver.claude import sse
from cacheserver.claude.upstream import Call, Reply, StreamReply
from cacheserver.core import json_text
from cacheserver.core.errors import StoreError, UpstreamError
from cacheserver.core.single_flight import EventLog, Unfinished
from cacheserver.core.types import Entry, Nanodollars, PlannedCall, Query, Usage
from cacheserver.core.usage import usage_of

# Claude's error events carry a type, not a status (facts 4): what a caller who did not ask for a
# stream is told.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_QUOTED = 300  # characters of what came in place of a stream: enough for a gateway's sentence


@dataclass(frozen=True, slots=True)
class Filled:
    """What a fill brought home."""

    message: bytes  # without its "id"
    raw: bytes | None  # Claude's own bytes, for the caller who led; None where it was streamed
    headers: Mapping[str, str]
    model: str
    usage: Usage
    cost: Nanodollars | None  # None: unpriced
    prices: str | None  # the version of the prices `cost` was made with
    paid: bool  # False: an answer had landed meanwhile, and `entry` is it
    whole: bool  # False: not a message as we know it; only who led the call gets what came
    entry: Entry | None  # as stored
    unstored: str | None  # why not
    ttl_s: int
    asked: PlannedCall | None = None  # how Claude was asked; None: it was not
    estimated: bool = False  # we ended the stream, and Claude's usage never came
    call: str | None = None  # Claude's id of the message; None: nothing was paid for
    lost: int = 0  # tries that may be billed though their usage never came
    heard: Usage | None = None  # of the last of them, what its `message_start` said


class Filler:
    """Asks Claude and keeps what may be kept."""

    def __init__(
        self,
        *,
        entries: Entries,
        claude: Claude,
        pricer: Pricer,
        metrics: Metrics,
        clock: Callable[[], float],
        call_planner: CallPlanner,
        validation: Escalation,
    ) -> None:
        self._entries = entries
        self._claude = claude
        self._pricer = pricer
        self._metrics = metrics
        self._clock = clock
        self._asker = call_planner
        self._validation = validation

    async def fill(
        self,
        query: Query,
        tape: EventLog,
        *,
        shared: bool,
        again: bool = True,
        vector: Any | None = None,
    ) -> Filled:
        """Return Claude's answer. Raises `UpstreamError`.

        Events go to `tape` as they come where the query streams. `shared` False: nothing is
        looked up and nothing stored; `again` False: stored, but not looked up again. `vector` is
        the question's embedding where it was made.
        """
        if shared and again and (landed := await self._landed(query)) is not None:
            tape.open({})
            return landed
        asked_at = self._clock()
        asked = await self._asker.prepare(query, vector, asked_at)
        held_back = query.stream and self._validation.holds_back(query, asked)
        if held_back:
            asked = replace(asked, body=_unstreamed(asked.body))
        try:
            if query.stream and not held_back:
                filled = await self._stream(query, tape, asked, asked_at, shared=shared)
            else:
                filled = await self._whole(query, tape, asked, asked_at, shared=shared)
                tape.open(_of_stream(filled.headers) if query.stream else filled.headers)
        except UpstreamError as error:
            error.asked = asked
            self._metrics.upstream(error.status, self._clock() - asked_at)
            raise
        self._metrics.upstream(200, self._clock() - asked_at)
        self._metrics.tokens(filled.usage)
        return filled

    async def _whole(
        self, query: Query, tape: EventLog, asked: PlannedCall, asked_at: float, *, shared: bool
    ) -> Filled:
        """Claude's answer in one piece; where it will not do, the next tier's."""
        call = _call(query, asked)
        try:
            async with self._asker.turn(query, asked):
                reply = await self._claude.create(call)
        except asyncio.CancelledError:
            tape.unfinished = Unfinished(asked, call.tries.unanswered)
            raise
        message = _parse(reply.body)
        why = self._validation.verdict(query, asked, message)
        again = None
        if why is not None and not query.cheapest:  # the tier above is what the budget forbids
            again = self._validation.escalate(query, asked, message, why, asked_at)
        if again is not None:
            call = _call(query, again)
            try:
                better = await self._claude.create(call)
            except UpstreamError as error:  # what there is goes out, as it would have
                self._metrics.swallowed("escalate")
                reply = replace(reply, lost=reply.lost + error.lost)
            except asyncio.CancelledError:  # the first answer is billed, and leaves for nobody
                lost = 1 + reply.lost + call.tries.unanswered
                tape.unfinished = Unfinished(asked, lost, usage_of(message))
                raise
            else:
                usage = usage_of(message)
                self._asker.learn(query, asked, message, usage, asked_at)
                self._metrics.tokens(usage)
                self._validation.replaced(query, message, asked_at)
                asked, message = again, _parse(better.body)
                reply = replace(better, lost=reply.lost + better.lost)
        tape.answered = True
        return await self.keep(
            query,
            message,
            asked_at,
            asked=asked,
            reply=reply,
            shared=shared,
        )

    async def _landed(self, query: Query) -> Filled | None:
        """Look again: another fill may have landed between the caller's look and this one."""
        if not query.controls.read:
            return None
        try:
            entry = await self._entries.get(query.fingerprint)
        except StoreError:
            self._metrics.swallowed("look-again")
            return None
        if entry is None or not cacheability.has_content(entry.message):
            return None
        if not fresh(entry, query.controls, self._clock()):
            return None
        return Filled(
            message=entry.message,
            raw=None,
            headers={},
            model=entry.model,
            usage=entry.usage,
            cost=0,
            prices=None,
            paid=False,
            whole=True,
            entry=entry,
            unstored=None,
            ttl_s=round(entry.expires_at - entry.created_at),
        )

    async def _stream(
        self,
        query: Query,
        tape: EventLog,
        asked: PlannedCall,
        asked_at: float,
        *,
        shared: bool,
    ) -> Filled:
        fold, meter, cut = sse.Fold(), self._meter(query, asked, asked_at), False
        call = _call(query, asked)
        try:
            async with AsyncExitStack() as stack:
                async with self._asker.turn(query, asked):
                    reply = await stack.enter_async_context(self._claude.stream(call))
                if reply.whole is not None:
                    return await self._no_stream(query, reply, tape, asked, asked_at, shared=shared)
                tape.open({**reply.headers, **answers.told(asked)})
                try:
                    async for raw in reply.events():
                        if (event := sse.decode(raw)) is not None:
                            fold.feed(event)
                        if fold.complete:
                            break  # kept first, told after: who sees the end can ask again and hit
                        tape.write(raw)
                        if event is not None and meter is not None and meter.over(event):
                            cut = True
                            break
                except UpstreamError as error:
                    raise _unfinished(error, reply, fold) from error
                tape.answered = fold.complete or cut
        except asyncio.CancelledError:
            heard = usage_of(fold.message) if fold.message else None
            tape.unfinished = Unfinished(asked, call.tries.unanswered, heard)
            raise
        if fold.error is not None:  # Claude's own event, already on the tape
            tape.error_sent = True
            kind = str(fold.error.get("type", "api_error"))
            message = str(fold.error.get("message", ""))
            told = UpstreamError.shaped(_STATUS.get(kind, 500), kind, message)
            raise _unfinished(told, reply, fold)
        if cut and meter is not None:
            return await self._cut_short(query, fold, meter, tape, asked, asked_at)
        if not fold.message or not (fold.complete or fold.broken):
            early = UpstreamError.shaped(502, "api_error", "Claude's stream ended too soon")
            raise _unfinished(early, reply, fold)
        filled = await self.keep(
            query,
            fold.message,
            asked_at,
            asked=asked,
            reply=reply,
            shared=shared,
            doubt=_doubt(fold),
        )
        if fold.complete:
            tape.write(raw)
        return filled

    async def _no_stream(
        self,
        query: Query,
        reply: StreamReply,
        tape: EventLog,
        asked: PlannedCall,
        asked_at: float,
        *,
        shared: bool,
    ) -> Filled:
        """An answer that came in one piece though a stream was asked for.

        A message is streamed by us; anything else is an error, in the words that came.
        """
        body = reply.whole or b""
        message = _parse(body)
        if message.get("type") != "message":
            raise _instead_of_stream(message, body, reply)
        tape.answered = True
        filled = await self.keep(
            query,
            message,
            asked_at,
            asked=asked,
            reply=reply,
            shared=shared,
        )
        tape.open(_of_stream(filled.headers))
        return filled

    def _meter(self, query: Query, asked: PlannedCall, asked_at: float) -> Meter | None:
        """What watches a stream's price, where the tenant set a limit."""
        usd = query.tenant.lengths.stream_usd
        if usd is None or "output-cap" in query.controls.off:
            return None
        model = asked.route.model
        return Meter(
            round(usd * 1_000_000_000),
            lambda tokens: self._pricer.cost(model, Usage(output_tokens=tokens), asked_at),
        )

    async def _cut_short(
        self,
        query: Query,
        fold: sse.Fold,
        meter: Meter,
        tape: EventLog,
        asked: PlannedCall,
        asked_at: float,
    ) -> Filled:
        """End a stream that ran past the tenant's limit, as `max_tokens` would have."""
        for event in meter.ending(dict(fold.message)):
            fold.feed(event)
        filled = await self.keep(
            query, fold.message, asked_at, asked=asked, shared=False, doubt="cost-cap"
        )
        for raw in meter.events({}):
            tape.write(raw)
        heard = replace(filled.usage, output_tokens=1)
        return replace(
            filled,
            unstored="cost-cap",
            whole=True,
            estimated=True,
            call=None,
            lost=filled.lost + 1,
            heard=heard,
        )

    async def keep(
        self,
        query: Query,
        message: Mapping[str, Any],
        asked_at: float,
        *,
        asked: PlannedCall,
        reply: Reply | StreamReply | None = None,
        shared: bool = True,
        doubt: str | None = None,
    ) -> Filled:
        """Price an answer of Claude's and store it where it may be. Raises nothing.

        `message` is as it came; `reply` what brought it, None where it was a batch's. `doubt` is
        why it may be no whole message. One that is not what was asked for is not stored either.
        """
        usage = usage_of(message)
        model = str(message.get("model") or asked.route.model)
        if doubt is None:
            self._asker.learn(query, asked, message, usage, asked_at)
        bill = self._pricer.bill(message, asked_at) if message.get("usage") else None
        ttl_s = lifetime(query.controls, query.tenant) if shared else 0
        if query.ttl_cap_s is not None:
            ttl_s = min(ttl_s, query.ttl_cap_s)
        entry = None
        unstored = doubt or cacheability.unstorable(message)
        if unstored is None and (why := self._validation.verdict(query, asked, message)):
            unstored = f"invalid-{why}"
        if not shared:
            unstored = "bypass"
        elif ttl_s == 0:
            unstored = unstored or "ttl-0"
        elif query.cheapest:  # once there is money again, the model asked for is to answer
            unstored = unstored or "budget"
        bare = sse.without_id(message)
        if unstored is None:
            now = self._clock()
            entry = Entry(
                id=f"{int(now * 1000):012x}{secrets.token_hex(10)}",
                tenant=query.tenant.name,
                namespace=query.controls.namespace,
                fingerprint=query.fingerprint,
                scope=query.scope,
                text=query.text,
                model=model,
                message=bare,
                usage=usage,
                cost=None if bill is None else bill.cost,
                tags=query.controls.tags,
                created_at=now,
                expires_at=now + ttl_s,
                actor=query.actor,
                made_up=cacheability.made_up(message),
                conversation=erasure_rules.mark_of(query),
            )
            unstored = await self._put(entry, query, asked_at)
        return Filled(
            message=bare,
            raw=reply.body if isinstance(reply, Reply) else None,
            headers={**({} if reply is None else reply.headers), **answers.told(asked)},
            model=model,
            usage=usage,
            cost=None if bill is None else bill.cost,
            prices=None if bill is None else bill.version,
            paid=True,
            whole=doubt is None and message.get("type") == "message",
            entry=entry if unstored is None else None,
            unstored=unstored,
            ttl_s=ttl_s,
            asked=asked,
            call=str(message.get("id") or "") if "usage" in message else None,
            lost=0 if reply is None else reply.lost,
        )

    async def _put(self, entry: Entry, query: Query, asked_at: float) -> str | None:
        """Store an entry; return why it was not."""
        try:
            kept = await self._entries.put(entry, keep_s=query.tenant.stale_s, asked_at=asked_at)
        except StoreError:
            self._metrics.swallowed("put")
            return "degraded"
        return None if kept else "refused"


def _call(query: Query, asked: PlannedCall) -> Call:
    return Call(
        asked.body,
        query.headers,
        query.credential,
        tenant=query.tenant.name,
        background=query.background,
    )


def _of_stream(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer in one piece, as those of the stream that is made of it."""
    return {name: value for name, value in headers.items() if name != "content-type"}


def _instead_of_stream(
    message: Mapping[str, Any], body: bytes, reply: StreamReply
) -> UpstreamError:
    """The error that came, or that something came which is none."""
    error = message.get("error")
    if message.get("type") == "error" and isinstance(error, dict):
        status = _STATUS.get(str(error.get("type")), 502)
        told = UpstreamError(status, body, reply.headers)
        told.lost = reply.lost
        return told
    text = " ".join(body[: 4 * _QUOTED].decode(errors="replace").split())[:_QUOTED]
    kind = reply.headers.get("content-type", "no type")
    told = UpstreamError.shaped(
        502, "api_error", f"Claude answered 200 with {kind} where a stream was asked for: {text}"
    )
    told.headers = {**reply.headers, **told.headers}
    told.lost = reply.lost + 1
    return told


def _parse(body: bytes) -> Mapping[str, Any]:
    """Claude's message; an empty one where the body is none, which is then not stored."""
    try:
        message = json_text.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _unfinished(error: UpstreamError, reply: StreamReply, fold: sse.Fold) -> UpstreamError:
    """The error of a stream that began and did not end: what it cost never came."""
    error.lost = reply.lost + 1
    error.heard = usage_of(fold.message) if fold.message else None
    return error


def _unstreamed(body: bytes) -> bytes:
    """The same call, answered in one piece."""
    return json_text.dumps({**json_text.loads(body), "stream": False})


def _doubt(fold: sse.Fold) -> str | None:
    return None if fold.complete else fold.broken or "incomplete"
