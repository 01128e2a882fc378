"""Deferred questions and batches, synchronous and asynchronous."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any, Literal, Protocol, Unpack

import httpx2

from cacheserver.client import http as wire
from cacheserver.client.calls import Call, path
from cacheserver.client.operations import BatchCalls, batch_results
from cacheserver.client.types import ConnectionFailed, Job, Options

Progress = Callable[[Job], object]


class Send(Protocol):
    """Sends a call. Raises a `ClientError`."""

    def __call__(self, call: Call, *, stream: bool = False) -> httpx2.Response: ...


class AsyncSend(Protocol):
    """`Send`, for asyncio."""

    async def __call__(self, call: Call, *, stream: bool = False) -> httpx2.Response: ...


class Jobs:
    """Questions that may wait: until a deadline, or for a batch at half the price."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def create(
        self,
        prompt: str | None = None,
        *,
        when: Literal["now", "batch"] | None = None,
        deadline: float | str | None = None,
        webhook: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Leave a question to be answered: by `deadline`, or with `when="batch"` in a batch.

        `deadline` is in seconds from now, or an ISO 8601 time. `webhook` is called at the end.
        """
        return self._job(
            wire.later(prompt, when=when, deadline=deadline, webhook=webhook, **options)
        )

    def get(self, id: str) -> Job:
        """Return how far a job is, with its `result` once it has ended."""
        return self._job(Call("GET", path("/v1/jobs", id)))

    def cancel(self, id: str) -> Job:
        """Cancel a job. An answer that Claude has begun may still arrive."""
        return self._job(Call("DELETE", path("/v1/jobs", id)))

    def events(self, id: str) -> Iterator[Job]:
        """Iterate over the states of a job as its items end; the last one has ended."""
        decoder = wire.EventDecoder()
        call = Call("GET", path("/v1/jobs", id, "events"))
        with closing(self._send(call, stream=True)) as response:
            try:
                for chunk in response.iter_bytes():
                    yield from map(wire.job, decoder.feed(chunk))
            except httpx2.RequestError as error:
                raise _cut() from error

    def wait(self, id: str, *, on_progress: Progress = lambda job: None) -> Job:
        """Wait until a job has ended, and return it. Lost connections are made again."""
        while True:
            try:
                for job in self.events(id):
                    on_progress(job)
                    if job.ended:
                        return job
            except ConnectionFailed as failed:
                if not failed.begun:
                    raise
            if (job := self.get(id)).ended:
                return job

    def _job(self, call: Call) -> Job:
        response = self._send(call)
        return wire.read_job(response.status_code, response.headers, response.content)


class AsyncJobs:
    """`Jobs`, for asyncio."""

    def __init__(self, send: AsyncSend) -> None:
        self._send = send

    async def create(
        self,
        prompt: str | None = None,
        *,
        when: Literal["now", "batch"] | None = None,
        deadline: float | str | None = None,
        webhook: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Leave a question to be answered: by `deadline`, or with `when="batch"` in a batch.

        `deadline` is in seconds from now, or an ISO 8601 time. `webhook` is called at the end.
        """
        return await self._job(
            wire.later(prompt, when=when, deadline=deadline, webhook=webhook, **options)
        )

    async def get(self, id: str) -> Job:
        """Return how far a job is, with its `result` once it has ended."""
        return await self._job(Call("GET", path("/v1/jobs", id)))

    async def cancel(self, id: str) -> Job:
        """Cancel a job. An answer that Claude has begun may still arrive."""
        return await self._job(Call("DELETE", path("/v1/jobs", id)))

    async def events(self, id: str) -> AsyncGenerator[Job, None]:
        """Iterate over the states of a job as its items end; the last one has ended."""
        decoder = wire.EventDecoder()
        response = await self._send(Call("GET", path("/v1/jobs", id, "events")), stream=True)
        try:
            async for chunk in response.aiter_bytes():
                for event in decoder.feed(chunk):
                    yield wire.job(event)
        except httpx2.RequestError as error:
            raise _cut() from error
        finally:
            await response.aclose()

    async def wait(self, id: str, *, on_progress: Progress = lambda job: None) -> Job:
        """Wait until a job has ended, and return it. Lost connections are made again."""
        while True:
            try:
                async with aclosing(self.events(id)) as events:
                    async for job in events:
                        on_progress(job)
                        if job.ended:
                            return job
            except ConnectionFailed as failed:
                if not failed.begun:
                    raise
            if (job := await self.get(id)).ended:
                return job

    async def _job(self, call: Call) -> Job:
        response = await self._send(call)
        return wire.read_job(response.status_code, response.headers, response.content)


class Batches(BatchCalls[dict[str, Any], str]):
    """Message Batches, each item through the cache."""

    def __init__(
        self,
        ask: Callable[[Call], dict[str, Any]],
        read: Callable[[Call], str],
        lines: Callable[[Call], Iterator[str]],
    ) -> None:
        super().__init__(ask, read)
        self._lines = lines

    def results(self, id: str) -> Iterator[dict[str, Any]]:
        """Iterate over the results of a batch: `custom_id`, `result`."""
        return map(json.loads, self._lines(batch_results(id)))


class AsyncBatches(BatchCalls[Awaitable[dict[str, Any]], Awaitable[str]]):
    """`Batches`, for asyncio."""

    def __init__(
        self,
        ask: Callable[[Call], Awaitable[dict[str, Any]]],
        read: Callable[[Call], Awaitable[str]],
        lines: Callable[[Call], AsyncIterator[str]],
    ) -> None:
        super().__init__(ask, read)
        self._lines = lines

    async def results(self, id: str) -> AsyncIterator[dict[str, Any]]:
        """Iterate over the results of a batch: `custom_id`, `result`."""
        async for line in self._lines(batch_results(id)):
            yield json.loads(line)


def _cut() -> ConnectionFailed:
    return ConnectionFailed("the events of the job ended before it did", begun=True)
