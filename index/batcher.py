"""Batches calls of one embedding model: texts wait while it is busy, then go together.

Rule: the event loop never waits for the model, and the model only for work. There is no delay to
collect a batch; a batch is what queued up while the last one ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeAlias

from cacheserver.index.errors import (
    Closed,
    EmbedderFailed,
    IndexingError,
    QueueFull,
    Unreadable,
)
from cacheserver.index.models import Embedder, Vectors

Outcome: TypeAlias = Vectors | IndexingError

logger = logging.getLogger(__name__)


class Batcher:
    """Embeds for one event loop, in one worker thread. After `close`, calls raise `Closed`."""

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int = 8,
        max_waiting: int = 1_024,
        memo: int = 2_048,
        nice: int = 0,
    ) -> None:
        """`max_batch`: texts a model call; every one waits for its whole batch, so this bounds
        what a text in a crowd waits beyond its turn to a few milliseconds.
        `max_waiting`: different texts queued; a full queue is about a second of work.
        `memo`: texts whose vectors are kept (1.5 kB each); 0 for none.
        `nice`: how far the worker thread stands back for others, up to 19; for work that nobody
        waits for, with a batcher of its own. Linux only, elsewhere it is ignored.
        """
        self._embedder = embedder
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._memo_size = memo
        self._memo: OrderedDict[str, Vectors] = OrderedDict()
        self._queue: deque[str] = deque()
        self._askers: dict[str, list[asyncio.Future[Vectors]]] = {}  # of queued and running texts
        self._busy = False
        # A queue of our own: an executor's futures take twice the time. A daemon, so that an
        # interpreter that ends without `close` does not wait for it.
        self._batches = SimpleQueue[tuple[asyncio.AbstractEventLoop, Sequence[str]] | None]()
        self._worker = threading.Thread(
            target=self._work, args=(nice,), name="embedder", daemon=True
        )
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def idle(self) -> bool:
        """Return whether no text is queued or with the model."""
        return not self._askers

    async def embed(self, text: str) -> Vectors:
        """Return the text's unit vector; it is shared, so read-only.

        Raises `Unreadable`, `EmbedderFailed`, `QueueFull` or `Closed`.
        """
        if self._closed:
            raise Closed("the batcher is closed")
        if (stored := self._memo.get(text)) is not None:
            self._memo.move_to_end(text)
            return stored
        waiter: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        if text in self._askers:  # queued or with the model already, for another
            self._askers[text].append(waiter)
            return await waiter
        if len(self._queue) >= self._max_waiting:
            raise QueueFull(f"{self._max_waiting} texts are waiting for the embedder")
        self._queue.append(text)
        self._askers[text] = [waiter]
        self._next()
        return await waiter

    def recall(self, text: str) -> Vectors | None:
        """Return the vector of a text that was embedded lately, without any waiting."""
        return self._memo.get(text)

    def forget(self) -> None:
        """Drop the texts that were embedded lately, and their vectors."""
        self._memo.clear()

    async def close(self) -> None:
        """Fail waiting texts, let the model finish its batch, end the thread. Idempotent."""
        self._closed = True
        while self._queue:
            self._fail(self._queue.popleft(), Closed("the batcher was closed"))
        self._batches.put(None)
        if self._worker.ident is not None:  # it was started
            await asyncio.to_thread(self._worker.join)

    def _next(self) -> None:
        """Give the model the waiting texts, unless it is busy: then its end calls this again."""
        if self._busy or not (batch := self._take()):
            return
        self._busy = True
        if self._worker.ident is None:
            self._worker.start()
        self._batches.put((asyncio.get_running_loop(), batch))

    def _take(self) -> list[str]:
        """Remove from the queue and return the oldest texts that a caller still waits for."""
        batch: list[str] = []
        while self._queue and len(batch) < self._max_batch:
            text = self._queue.popleft()
            if all(waiter.done() for waiter in self._askers[text]):
                del self._askers[text]  # all of them hung up
            else:
                batch.append(text)
        return batch

    def _work(self, nice: int) -> None:
        """Run the model in the worker thread, until `close`."""
        _stand_back(nice)
        while (work := self._batches.get()) is not None:
            loop, batch = work
            outcomes: list[Outcome] | BaseException
            try:
                outcomes = self._embed(batch)
            except BaseException as error:  # it belongs to who waits
                outcomes = error
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle, batch, outcomes)

    def _settle(self, batch: Sequence[str], outcomes: list[Outcome] | BaseException) -> None:
        self._busy = False
        if isinstance(outcomes, BaseException):
            for text in batch:
                self._fail(text, outcomes)
        else:
            for text, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, IndexingError):
                    self._fail(text, outcome)
                else:
                    self._answer(text, outcome)
        self._next()

    def _answer(self, text: str, vector: Vectors) -> None:
        self._remember(text, vector)
        for waiter in self._askers.pop(text):
            if not waiter.done():  # the asker may have hung up
                waiter.set_result(vector)

    def _fail(self, text: str, problem: BaseException) -> None:
        for waiter in self._askers.pop(text):
            if not waiter.done():
                waiter.set_exception(problem)

    def _remember(self, text: str, vector: Vectors) -> None:
        if not self._memo_size:
            return
        self._memo[text] = vector
        self._memo.move_to_end(text)
        while len(self._memo) > self._memo_size:
            self._memo.popitem(last=False)

    def _embed(self, texts: Sequence[str]) -> list[Outcome]:
        """Embed all together, in the worker thread; in halves if an unknown one is at fault."""
        try:
            return _rows(self._embedder.embed(texts), len(texts))
        except Unreadable as unreadable:
            if (at := unreadable.at) is not None:
                made = self._embed([*texts[:at], *texts[at + 1 :]]) if len(texts) > 1 else []
                return [*made[:at], unreadable, *made[at:]]
            problem: IndexingError = unreadable
        except IndexingError as failed:
            return [failed] * len(texts)
        except Exception as error:  # a library's own, perhaps about one text
            if len(texts) == 1:
                logger.error("the embedder raised %s", type(error).__name__)
            problem = EmbedderFailed(f"the embedder raised {type(error).__name__}")
        if len(texts) == 1:
            return [problem]
        half = len(texts) // 2
        return [*self._embed(texts[:half]), *self._embed(texts[half:])]


def _stand_back(nice: int) -> None:
    """Lower the calling thread's priority. Linux has one a thread, others one a process."""
    if nice and sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + nice)


def _rows(vectors: Vectors, count: int) -> list[Outcome]:
    if len(vectors) != count:
        raise EmbedderFailed(f"the embedder made {len(vectors)} vectors of {count} texts")
    rows: list[Outcome] = []
    for vector in vectors:
        row = vector.copy()  # a view would keep its whole batch in memory
        row.flags.writeable = False
        rows.append(row)
    return rows
