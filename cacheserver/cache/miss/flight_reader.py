"""The reader of a flight: one request that waits for a fill, its own or another caller's.

Rule: every reader leaves its flight once, and its request is settled once, whoever hangs up when.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from types import TracebackType
from typing import Self

from cacheserver.cache.answer import Answer, Events, Settlement
from cacheserver.cache.filled import Filled
from cacheserver.cache.request import Request
from cacheserver.cache.settlement import Settler, coalesced, priced
from cacheserver.cache.stored_answer import for_similar
from cacheserver.claude import sse
from cacheserver.core import json_text, request_context
from cacheserver.core.errors import UpstreamError
from cacheserver.core.ledger_row import GONE
from cacheserver.core.single_flight import Flight, SingleFlight, Unfinished
from cacheserver.core.types import Bypass, Miss
from cacheserver.storage import deadline

_LAST = b"event: message_stop"


class FlightReader:
    """Reads a fill for one request, and settles the request by it.

    `led`: this request's own fill, so it pays. At the end of a `with` block the reader leaves,
    unless a stream goes on: then it leaves at the end of its events.
    """

    def __init__(
        self,
        request: Request,
        flight: Flight[Filled],
        *,
        led: bool,
        flights: SingleFlight[Filled],
        settler: Settler,
    ) -> None:
        self.request = request
        self.led = led
        self._flight = flight
        self._flights = flights
        self._settler = settler
        self._streaming = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._streaming:
            self._leave()

    async def answer(self) -> Answer:
        """Return the fill's answer; a stream as soon as it has begun. Raises `UpstreamError`."""
        if self.request.query.stream:
            return await self._stream()
        filled = self._readable(await self._flight.result())
        settlement = self._settler.account(self.request.decision, filled, led=self.led)
        headers = self._settler.settle(self.request, settlement)
        await self._settler.recorded(self.request)
        own = self.led and filled.raw is not None
        body = filled.raw if own else sse.with_id(self._message(filled), sse.message_id())
        return Answer(
            self.request.id,
            priced(self.request, settlement),
            {**(filled.headers if self.led else {}), **headers},
            body or b"",
        )

    async def _stream(self) -> Answer:
        """A streamed answer. Its headers leave first, and say what is known by then."""
        await self._flight.opened()
        settlement = self._settlement_so_far()
        headers = self._settler.headers(self.request, settlement)
        self._streaming = True
        return Answer(
            self.request.id,
            settlement,
            {**(self._flight.log.headers or {} if self.led else {}), **headers},
            events=Events(self._events(), unread=self._leave),
        )

    def _settlement_so_far(self) -> Settlement:
        task = self._flight.task
        if task.done() and task.exception() is None:
            return self._settler.account(self.request.decision, task.result(), led=self.led)
        if not self.led:
            return Settlement(coalesced(None), cost=0)
        return Settlement(self.request.decision)

    async def _events(self) -> AsyncGenerator[bytes, None]:
        deadline.share()  # responses are streamed by a task of their own
        flight = self._flight
        try:
            # A follower with a declared question has another prompt: it gets the whole, stripped.
            live = self.led or self.request.query.controls.declared is None
            if live:
                async for event in flight.events():
                    if event.startswith(_LAST) and flight.task.done():
                        await self._settle_stream()
                    yield event if self.led else _with_new_id(event)
            if not (live and flight.log.events):
                filled = self._readable(await flight.result())
                message = json_text.loads(sse.with_id(self._message(filled), sse.message_id()))
                await self._settle_stream()
                for event in sse.replay(message):
                    yield event
        except UpstreamError as error:  # counted as this reader leaves
            if error.worded is not None and not flight.log.error_sent:
                yield sse.error(*error.worded, request_context.request_id())
        finally:
            self._leave()

    async def _settle_stream(self) -> None:
        """Settle a stream whose fill has ended, before its last event leaves."""
        if not self.request.settled:
            self._settle()
        await self._settler.recorded(self.request)

    def _leave(self) -> None:
        """Leave the flight, at the end or before it.

        An unfinished fill goes on for its other readers and for the cache; not if nothing may be
        stored, nor on the key of a caller who is gone.
        """
        request = self.request
        abandon = isinstance(request.decision, Bypass) or request.query.credential is not None
        self._flights.leave(self._flight, abandon=abandon)
        if request.settled:
            return
        if self.led and not self._flight.task.done():
            self._flight.task.add_done_callback(lambda _: self._settle())
        else:
            self._settle()

    def _settle(self) -> None:
        self._settler.settle(self.request, self._settlement())

    def _settlement(self) -> Settlement:
        """The settlement of a stream at its end, or of a request whose caller is gone."""
        task, decision = self._flight.task, self.request.decision
        if not task.done():  # a follower that hung up early
            return Settlement(coalesced(None), cost=0)
        if not task.cancelled() and task.exception() is None:
            return self._settler.account(decision, task.result(), led=self.led)
        error = None if task.cancelled() else task.exception()
        lost: UpstreamError | Unfinished | None = self._flight.log.unfinished
        failed = Settlement(decision, failed=True, cost=0, saved=0, status=500, unstored="failed")
        if error is None:
            failed = replace(failed, status=GONE, unstored="hung-up")
        elif isinstance(error, UpstreamError):
            lost, decision = error, with_reason(decision, error)
            failed = replace(failed, decision=decision, status=error.status)
        elif self.led:
            failed = replace(failed, cost=None, lost=1)
        return failed.with_lost(lost) if lost is not None and self.led else failed

    def _message(self, filled: Filled) -> bytes:
        """The message of a fill for this request: of a declared question, as for another prompt."""
        if self.request.query.controls.declared is None or (self.led and filled.paid):
            return filled.message
        return for_similar(filled.message, declared=True)

    def _readable(self, filled: Filled) -> Filled:
        """The fill if this request may read it: an incomplete message is for its leader only."""
        if self.led or filled.whole:
            return filled
        raise UpstreamError.shaped(
            502, "api_error", "Claude's answer to another caller was no message"
        )


def with_reason(decision: Miss | Bypass, error: UpstreamError) -> Miss | Bypass:
    """The decision of a request that failed, with the reason why Claude was not asked, if so."""
    return decision if error.reason is None else replace(decision, reason=error.reason)


def _with_new_id(event: bytes) -> bytes:
    """The opening event with an id of its own: no two answers share one."""
    if not event.startswith(b"event: message_start"):
        return event
    opening = sse.decode(event)
    if opening is None:
        return event
    message = {**opening["message"], "id": sse.message_id()}
    return sse.encode({**opening, "message": message})
