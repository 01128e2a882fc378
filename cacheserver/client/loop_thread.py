"""Event loop in a thread of its own, for callers that have none, or inside one that runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Running event loop. `close` cancels what is left in it and ends the thread."""

    def __init__(self, what: str) -> None:
        """`what` runs in it, for errors and the thread's name."""
        self._what = what
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        # A daemon: a process that forgets to close it must end nevertheless.
        self._thread = threading.Thread(target=self._main, name=f"{what}:loop", daemon=True)
        self._closing = threading.Lock()
        self._closed = False
        self._thread.start()

    @property
    def here(self) -> bool:
        """Return True in the thread of the loop."""
        return threading.current_thread() is self._thread

    @property
    def forked(self) -> bool:
        """Return True in a child that was forked: the thread is not there."""
        return os.getpid() != self._pid

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`, which runs in the loop. An interrupt cancels it.

        Raises `RuntimeError` after `close`, after a fork, and in the loop's own thread, which would
        wait for itself.
        """
        try:
            self._check()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, work: Callable[[], T]) -> T:
        """Return the result of a function that runs between the loop's tasks."""
        if self.here:
            return work()
        self._check()
        future: Future[T] = Future()

        def do() -> None:
            try:
                future.set_result(work())
            except BaseException as error:  # for who waits
                future.set_exception(error)

        self._loop.call_soon_threadsafe(do)
        return future.result()

    def close(self) -> None:
        """End the loop. Idempotent; does nothing in a forked child."""
        if self.forked:
            return
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _check(self) -> None:
        if self.forked:
            raise RuntimeError(
                f"the {self._what} was opened before this process was forked; open one in each "
                "process"
            )
        if self._closed:
            raise RuntimeError(f"the {self._what} is closed")
        if self.here:
            raise RuntimeError(f"the {self._what} cannot wait for its own thread")

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
